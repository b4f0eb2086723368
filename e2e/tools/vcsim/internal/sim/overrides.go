package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

var overridesRef = types.ManagedObjectReference{Type: "Overrides", Value: "overrides"}

// overrides carries out the methods where the simulator differs from a vCenter in a way that an operator can see:
//
//   - CloneVM_Task honours powerOn, makes names unique under concurrency, and clones of one template do not queue;
//   - the clone comes into sight whole, not half configured;
//   - Destroy_Task of a folder takes its machines along, and refuses while one is powered on;
//   - names are escaped once, whether the caller escaped them or not.
//
// And what makes and destroys machines and folders goes through it one by one: the simulator's views walk down the
// tree, without locks, each time that something is made, and a list that is written meanwhile would end the process.
//
// It stands in the registry under its own reference; redirect sends those calls to it.
type overrides struct {
	registry *simulator.Registry
	tasks    *tasks
	clones   atomic.Int64

	cloneTime    atomic.Int64 // time.Duration of a clone task
	ignorePower  bool         // as the simulator does: a clone is always powered off
	appearsEarly bool         // the machine exists, powered off, from the start of its clone task

	tree sync.Mutex // who is whose child; taken before any object's lock

	mu       sync.Mutex
	creating map[types.ManagedObjectReference]*creation // by folder
}

// creation is a machine being made: hidden by its own lock until it is whole.
type creation struct {
	ctx    *simulator.Context
	unlock func()
}

func newOverrides(registry *simulator.Registry, tasks *tasks) *overrides {
	return &overrides{registry: registry, tasks: tasks, creating: map[types.ManagedObjectReference]*creation{}}
}

func (o *overrides) Reference() types.ManagedObjectReference { return overridesRef }

// Lock and Unlock opt out of the simulator's one lock for each object: calls must not queue here.
func (o *overrides) Lock()   {}
func (o *overrides) Unlock() {}

// redirect is the registry's hook, called before each method.
func (o *overrides) redirect(method *simulator.Method) {
	switch body := method.Body.(type) {
	case *types.CloneVM_Task:
		method.This = overridesRef
	case *types.Destroy_Task:
		if method.This.Type == "Folder" || method.This.Type == "VirtualMachine" {
			method.This = overridesRef
		}
	case *types.CreateFolder:
		body.Name = unescape(body.Name) // the simulator escapes it again
		method.This = overridesRef
	case *types.Rename_Task:
		body.NewName = escape(body.NewName)
	case *types.CreateContainerView:
		method.This = overridesRef
	}
}

// CreateFolder makes a folder.
func (o *overrides) CreateFolder(ctx *simulator.Context, req *types.CreateFolder) (body soap.HasFault) {
	o.tree.Lock()
	defer o.tree.Unlock()
	ctx.WithLock(req.This, func() {
		if folder, ok := o.registry.Get(req.This).(*simulator.Folder); ok {
			body = folder.CreateFolder(ctx, req)
		} else {
			body = &methods.CreateFolderBody{Fault_: missing(req.This)}
		}
	})
	return body
}

// CreateContainerView makes a view, which walks down the tree.
func (o *overrides) CreateContainerView(ctx *simulator.Context, req *types.CreateContainerView) (body soap.HasFault) {
	o.tree.Lock()
	defer o.tree.Unlock()
	views := o.registry.ViewManager()
	ctx.WithLock(views, func() { body = views.CreateContainerView(ctx, req) })
	return body
}

func missing(ref types.ManagedObjectReference) *soap.Fault {
	return simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
}

// CloneVMTask clones. The clone has the default devices only: nothing here looks at disks.
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
	delay := time.Duration(o.cloneTime.Load())
	before, within := delay, time.Duration(0)
	if o.appearsEarly {
		before, within = 0, delay
	}
	task := o.tasks.run(o.registry, req.This, "CloneVM_Task", before, func() (types.AnyType, types.BaseMethodFault) {
		return o.clone(source, req, within)
	})
	body.Res = &types.CloneVM_TaskResponse{Returnval: task}
	return body
}

func (o *overrides) clone(source *simulator.VirtualMachine, req *types.CloneVM_Task, delay time.Duration) (types.AnyType, types.BaseMethodFault) {
	ctx := outside(o.registry)
	var config types.VirtualMachineConfigSpec
	var host, pool *types.ManagedObjectReference
	var datastore string
	ctx.WithLock(source.Self, func() {
		config = types.VirtualMachineConfigSpec{
			Version:           source.Config.Version,
			GuestId:           source.Config.GuestId,
			NumCPUs:           source.Config.Hardware.NumCPU,
			MemoryMB:          int64(source.Config.Hardware.MemoryMB),
			NumCoresPerSocket: source.Config.Hardware.NumCoresPerSocket,
		}
		host, pool, datastore = source.Runtime.Host, source.ResourcePool, source.Config.Files.VmPathName
	})
	if req.Spec.Location.Host != nil {
		host = req.Spec.Location.Host
	}
	if req.Spec.Location.Pool != nil {
		pool = req.Spec.Location.Pool
	}
	if pool == nil { // a template has none to inherit
		return nil, &types.InvalidArgument{InvalidProperty: "spec.location.pool"}
	}
	if ref := req.Spec.Location.Datastore; ref != nil {
		ds, ok := o.registry.Get(*ref).(*simulator.Datastore)
		if !ok {
			return nil, &types.ManagedObjectNotFound{Obj: *ref}
		}
		datastore = "[" + ds.Name + "] "
	}
	if s := req.Spec.Config; s != nil {
		config.ExtraConfig = s.ExtraConfig
		config.Uuid, config.InstanceUuid = s.Uuid, s.InstanceUuid
		if s.NumCPUs > 0 {
			config.NumCPUs = s.NumCPUs
		}
		if s.MemoryMB > 0 {
			config.MemoryMB = s.MemoryMB
		}
	}
	// Not named after the machine: names are free to hold anything, and to be used again.
	directory := fmt.Sprintf("clone-%d", o.clones.Add(1))
	config.Files = &types.VirtualMachineFileInfo{VmPathName: volume(datastore) + " " + directory + "/" + directory + ".vmx"}
	config.Name = unescape(req.Name)

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

// create makes a machine that nobody sees until release is called.
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
	}
	return ref, made.unlock, fault
}

// PutObject implements simulator.RegisterObject: it locks a machine being made the moment it is put.
func (o *overrides) PutObject(_ *simulator.Context, obj mo.Reference) {
	vm, ok := obj.(*simulator.VirtualMachine)
	if !ok {
		return
	}
	o.mu.Lock()
	made := o.creating[*vm.Parent]
	delete(o.creating, *vm.Parent)
	o.mu.Unlock()
	if made != nil {
		made.unlock = o.registry.AcquireLock(made.ctx, vm.Self)
	}
}

// UpdateObject implements simulator.RegisterObject.
func (o *overrides) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject implements simulator.RegisterObject.
func (o *overrides) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

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

// DestroyTask destroys a machine, or a folder and all that is in it, as vCenter does.
func (o *overrides) DestroyTask(_ *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	body := new(methods.Destroy_TaskBody)
	var destroy func(*simulator.Context, types.ManagedObjectReference) types.BaseMethodFault
	switch o.registry.Get(req.This).(type) {
	case *simulator.Folder:
		destroy = o.destroyFolder
	case *simulator.VirtualMachine:
		destroy = o.destroyVM
	default:
		body.Fault_ = missing(req.This)
		return body
	}
	task := o.tasks.run(o.registry, req.This, "Destroy_Task", 0, func() (types.AnyType, types.BaseMethodFault) {
		o.tree.Lock()
		defer o.tree.Unlock()
		return nil, destroy(outside(o.registry), req.This)
	})
	body.Res = &types.Destroy_TaskResponse{Returnval: task}
	return body
}

func (o *overrides) destroyVM(ctx *simulator.Context, ref types.ManagedObjectReference) (fault types.BaseMethodFault) {
	ctx.WithLock(ref, func() {
		vm, ok := o.registry.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			fault = &types.ManagedObjectNotFound{Obj: ref}
			return
		}
		_, fault = o.tasks.step(ctx, ref, func() { vm.DestroyTask(ctx, &types.Destroy_Task{This: ref}) })
	})
	return fault
}

func (o *overrides) destroyFolder(ctx *simulator.Context, ref types.ManagedObjectReference) types.BaseMethodFault {
	for {
		var fault types.BaseMethodFault
		var children []types.ManagedObjectReference
		ctx.WithLock(ref, func() {
			folder, ok := o.registry.Get(ref).(*simulator.Folder)
			if !ok {
				fault = &types.ManagedObjectNotFound{Obj: ref}
				return
			}
			children = append(children, folder.ChildEntity...)
			if len(children) == 0 {
				_, fault = o.tasks.step(ctx, ref, func() {
					folder.DestroyTask(ctx, &types.Destroy_Task{This: ref})
				})
			}
		})
		if fault != nil || len(children) == 0 {
			return fault
		}
		// Without the folder's lock: a machine is locked before its folder, by all who need both.
		for _, child := range children {
			if fault := o.destroyChild(ctx, child); fault != nil {
				return fault
			}
		}
	}
}

func (o *overrides) destroyChild(ctx *simulator.Context, ref types.ManagedObjectReference) (fault types.BaseMethodFault) {
	if ref.Type == "Folder" {
		return o.destroyFolder(ctx, ref)
	}
	ctx.WithLock(ref, func() {
		vm, ok := o.registry.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			return // gone meanwhile
		}
		if f := vm.UnregisterVM(ctx, &types.UnregisterVM{This: ref}).Fault(); f != nil {
			fault = f.VimFault().(types.BaseMethodFault)
		}
	})
	return fault
}
