package sim

import (
	"fmt"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// creation is a machine under creation. Its own lock hides it until it is complete.
type creation struct {
	ctx    *simulator.Context
	unlock func()
}

// CloneVMTask starts a task that clones a machine. The clone has the default devices only; disks are not simulated.
func (o *overrides) CloneVMTask(_ *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	body := new(methods.CloneVM_TaskBody)
	source, ok := o.registry.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		body.Fault_ = missing(req.This)
		return body
	}
	if _, ok := o.registry.Get(req.Folder).(*simulator.Folder); !ok {
		body.Fault_ = missing(req.Folder)
		return body
	}
	if pool := req.Spec.Location.Pool; pool != nil && o.registry.Get(*pool) == nil {
		body.Fault_ = missing(*pool)
		return body
	}
	task := o.startClone(source, req, "", time.Duration(o.cloneTime.Load()))
	body.Res = &types.CloneVM_TaskResponse{Returnval: task}
	return body
}

// startClone starts a clone task of that user that takes that long. The machine appears at the end of the task or,
// with appearsEarly, at its start.
func (o *overrides) startClone(source *simulator.VirtualMachine, req *types.CloneVM_Task, user string, delay time.Duration) types.ManagedObjectReference {
	before, within := delay, time.Duration(0)
	if o.appearsEarly {
		before, within = 0, delay
	}
	return o.tasks.start(o.registry, job{
		entity: req.This, method: "CloneVM_Task", user: user, delay: before,
		run: func() (types.AnyType, types.BaseMethodFault) { return o.clone(source, req, within) },
	})
}

// clone creates the clone and, after the delay, applies its power state.
func (o *overrides) clone(source *simulator.VirtualMachine, req *types.CloneVM_Task, delay time.Duration) (types.AnyType, types.BaseMethodFault) {
	ctx := outside(o.registry)
	config, host, pool, fault := o.cloneConfig(ctx, source, req)
	if fault != nil {
		return nil, fault
	}
	ref, release, fault := o.create(ctx, req.Folder, config, *pool, host)
	if fault != nil {
		return nil, fault
	}
	if delay > 0 {
		release()
		time.Sleep(delay)
	} else {
		defer release()
	}
	ctx.WithLock(ref, func() {
		vm, ok := o.registry.Get(ref).(*simulator.VirtualMachine)
		switch {
		case !ok:
			fault = &types.ManagedObjectNotFound{Obj: ref}
		case req.Spec.Template:
			vm.MarkAsTemplate(&types.MarkAsTemplate{This: ref})
		case req.Spec.PowerOn && !o.ignorePower:
			power(ctx, vm, types.VirtualMachinePowerStatePoweredOn)
		}
	})
	return ref, fault
}

// cloneConfig returns the configuration of the clone and where it runs. The BIOS UUID and the instance UUID are left
// empty unless the spec gives them: the simulator then assigns values of its own.
func (o *overrides) cloneConfig(ctx *simulator.Context, source *simulator.VirtualMachine, req *types.CloneVM_Task) (
	config types.VirtualMachineConfigSpec, host, pool *types.ManagedObjectReference, fault types.BaseMethodFault) {
	var datastore string
	var own []types.BaseOptionValue
	spec := req.Spec.Config
	if spec != nil {
		own = spec.ExtraConfig
	}
	ctx.WithLock(source.Self, func() {
		config = types.VirtualMachineConfigSpec{
			Version:           source.Config.Version,
			GuestId:           source.Config.GuestId,
			NumCPUs:           source.Config.Hardware.NumCPU,
			MemoryMB:          int64(source.Config.Hardware.MemoryMB),
			NumCoresPerSocket: source.Config.Hardware.NumCoresPerSocket,
			ExtraConfig:       mergeExtraConfig(source.Config.ExtraConfig, own),
		}
		host, pool, datastore = source.Runtime.Host, source.ResourcePool, source.Config.Files.VmPathName
	})
	location := req.Spec.Location
	if location.Host != nil {
		host = location.Host
	}
	if location.Pool != nil {
		pool = location.Pool
	}
	if pool == nil { // a template has none to inherit
		return config, host, pool, &types.InvalidArgument{InvalidProperty: "spec.location.pool"}
	}
	if ref := location.Datastore; ref != nil {
		ds, ok := o.registry.Get(*ref).(*simulator.Datastore)
		if !ok {
			return config, host, pool, &types.ManagedObjectNotFound{Obj: *ref}
		}
		datastore = "[" + ds.Name + "] "
	}
	if spec != nil {
		config.Uuid, config.InstanceUuid = spec.Uuid, spec.InstanceUuid
		if spec.NumCPUs > 0 {
			config.NumCPUs = spec.NumCPUs
		}
		if spec.MemoryMB > 0 {
			config.MemoryMB = spec.MemoryMB
		}
	}
	// The directory is not named after the machine: a name may contain any character and may be used again.
	directory := fmt.Sprintf("clone-%d", o.clones.Add(1))
	config.Files = &types.VirtualMachineFileInfo{VmPathName: volume(datastore) + " " + directory + "/" + directory + ".vmx"}
	config.Name = unescape(req.Name)
	return config, host, pool, nil
}

// mergeExtraConfig returns the extraConfig of a clone: the source's entries, overridden per key by those of the spec.
// An entry of the spec with an empty value removes its key.
func mergeExtraConfig(source, own []types.BaseOptionValue) []types.BaseOptionValue {
	overridden := map[string]bool{}
	for _, option := range own {
		overridden[option.GetOptionValue().Key] = true
	}
	var merged []types.BaseOptionValue
	for _, option := range source {
		if value := *option.GetOptionValue(); !overridden[value.Key] {
			merged = append(merged, &value)
		}
	}
	for _, option := range own {
		// The simulator would add an entry with an empty value instead of removing it.
		if option.GetOptionValue().Value != "" {
			merged = append(merged, option)
		}
	}
	return merged
}

// create creates a machine, which stays invisible until the caller calls release.
func (o *overrides) create(ctx *simulator.Context, folderRef types.ManagedObjectReference, config types.VirtualMachineConfigSpec,
	pool types.ManagedObjectReference, host *types.ManagedObjectReference) (ref types.ManagedObjectReference, release func(), fault types.BaseMethodFault) {
	made := &creation{ctx: ctx, unlock: func() {}}
	o.tree.Lock()
	defer o.tree.Unlock()
	ctx.WithLock(folderRef, func() {
		folder, ok := o.registry.Get(folderRef).(*simulator.Folder)
		if !ok {
			fault = &types.ManagedObjectNotFound{Obj: folderRef}
			return
		}
		if o.registry.Get(pool) == nil { // destroyed since the task began; the simulator would crash
			fault = &types.ManagedObjectNotFound{Obj: pool}
			return
		}
		if other := o.registry.FindByName(escape(config.Name), folder.ChildEntity); other != nil {
			fault = &types.DuplicateName{Name: escape(config.Name), Object: other.Reference()}
			return
		}
		o.mu.Lock()
		o.creating[folderRef] = made
		o.mu.Unlock()
		var result types.AnyType
		result, fault = o.tasks.step(ctx, folderRef, func() {
			folder.CreateVMTask(ctx, &types.CreateVM_Task{This: folderRef, Config: config, Pool: pool, Host: host})
		})
		o.mu.Lock()
		delete(o.creating, folderRef)
		o.mu.Unlock()
		ref, _ = result.(types.ManagedObjectReference)
	})
	if fault != nil {
		made.unlock()
	} else {
		o.history.add(Event{
			What:        Made,
			MoRef:       ref.Value,
			Path:        pathOf(o.registry, folderRef) + "/" + escape(config.Name),
			ExtraConfig: texts(config.ExtraConfig),
		})
	}
	return ref, made.unlock, fault
}

// power sets a machine's power state without a task; the caller holds its lock.
func power(ctx *simulator.Context, vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) {
	changes := []types.PropertyChange{
		{Name: "runtime.powerState", Val: state},
		{Name: "summary.runtime.powerState", Val: state},
	}
	if state == types.VirtualMachinePowerStatePoweredOn {
		changes = append(changes, types.PropertyChange{Name: "summary.runtime.bootTime", Val: time.Now()})
	}
	ctx.Update(vm, changes)
}
