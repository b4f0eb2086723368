package sim

import (
	"fmt"
	"path"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// NewVM describes a machine to add.
type NewVM struct {
	Name         string            `json:"name"`
	InstanceUUID string            `json:"instanceUuid"` // empty: the simulator assigns one
	ExtraConfig  map[string]string `json:"extraConfig"`
	CPU          int32             `json:"cpu"`      // 0: 1
	MemoryMB     int64             `json:"memoryMb"` // 0: 1024
	On           bool              `json:"on"`
}

// addVMs adds machines to a folder, all or, after an error, the first of them.
func (i *inventory) addVMs(folder string, machines []NewVM) error {
	ref, err := i.find("Folder", folder)
	if err != nil {
		return err
	}
	pool, err := i.pool(folder)
	if err != nil {
		return err
	}
	for _, machine := range machines {
		if fault := i.overrides.add(ref, pool, machine); fault != nil {
			return fmt.Errorf("add %s to %s: %T", machine.Name, folder, fault)
		}
	}
	return nil
}

// add adds a machine and powers it on if it is to be on.
func (o *overrides) add(folder, pool types.ManagedObjectReference, machine NewVM) types.BaseMethodFault {
	ctx := outside(o.registry)
	directory := fmt.Sprintf("machine-%d", o.clones.Add(1))
	config := types.VirtualMachineConfigSpec{
		Name:         unescape(machine.Name),
		InstanceUuid: machine.InstanceUUID,
		GuestId:      string(types.VirtualMachineGuestOsIdentifierOtherGuest),
		NumCPUs:      max(machine.CPU, 1),
		MemoryMB:     machine.MemoryMB,
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0] " + directory + "/" + directory + ".vmx"},
	}
	if config.MemoryMB == 0 {
		config.MemoryMB = 1024
	}
	for key, value := range machine.ExtraConfig {
		config.ExtraConfig = append(config.ExtraConfig, &types.OptionValue{Key: key, Value: value})
	}
	ref, release, fault := o.create(ctx, folder, config, pool, nil)
	if fault != nil {
		return fault
	}
	if vm, ok := o.registry.Get(ref).(*simulator.VirtualMachine); ok && machine.On {
		power(ctx, vm, types.VirtualMachinePowerStatePoweredOn)
	}
	release()
	o.journal.touch(ref)
	return nil
}

// copyVM clones a machine as an administrator does: the copy has its extraConfig, UUIDs of its own, and is powered off.
func (i *inventory) copyVM(inventoryPath, folder, name string) error {
	source, req, err := i.cloneRequest(inventoryPath, folder, name)
	if err != nil {
		return err
	}
	made, fault := i.overrides.clone(source, req, 0)
	if fault != nil {
		return fmt.Errorf("copy %s to %s/%s: %T", inventoryPath, folder, name, fault)
	}
	i.journal.touch(made.(types.ManagedObjectReference))
	return nil
}

// startClone starts a clone task of another user that takes that long; the machine appears, powered off, at its end.
func (i *inventory) startClone(template, folder, name, user string, time time.Duration) error {
	source, req, err := i.cloneRequest(template, folder, name)
	if err != nil {
		return err
	}
	i.overrides.startClone(source, req, user, time)
	return nil
}

// cloneRequest returns a request to clone a machine or template, powered off, and its source.
func (i *inventory) cloneRequest(inventoryPath, folder, name string) (*simulator.VirtualMachine, *types.CloneVM_Task, error) {
	ref, err := i.find("VirtualMachine", inventoryPath)
	if err != nil {
		return nil, nil, err
	}
	target, err := i.find("Folder", folder)
	if err != nil {
		return nil, nil, err
	}
	source, ok := i.registry.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return nil, nil, fmt.Errorf("%w: VirtualMachine %s", errNotFound, inventoryPath)
	}
	req := &types.CloneVM_Task{This: ref, Folder: target, Name: name}
	if isTemplate(outside(i.registry), source) { // it has no pool to inherit
		pool, err := i.pool(folder)
		if err != nil {
			return nil, nil, err
		}
		req.Spec.Location.Pool = &pool
	}
	return source, req, nil
}

// isTemplate reports whether the machine is a template.
func isTemplate(ctx *simulator.Context, vm *simulator.VirtualMachine) (template bool) {
	ctx.WithLock(vm.Self, func() { template = vm.Config.Template })
	return template
}

// moveVM moves a machine to another folder.
func (i *inventory) moveVM(inventoryPath, folder string) error {
	return i.moveInto("VirtualMachine", inventoryPath, folder)
}

// moveFolder moves a folder to another folder.
func (i *inventory) moveFolder(inventoryPath, folder string) error {
	return i.moveInto("Folder", inventoryPath, folder)
}

func (i *inventory) moveInto(kind, inventoryPath, folder string) error {
	ref, err := i.find(kind, inventoryPath)
	if err != nil {
		return err
	}
	target, err := i.find("Folder", folder)
	if err != nil {
		return err
	}
	if fault := i.overrides.move(ref, target); fault != nil {
		return fmt.Errorf("move %s to %s: %T", inventoryPath, folder, fault)
	}
	return nil
}

// loseUpdates makes all waits miss the changes of the entity at the path, see journal.lose.
func (i *inventory) loseUpdates(inventoryPath string) error {
	ref, err := i.find("", inventoryPath)
	if err != nil {
		return err
	}
	i.journal.lose(ref)
	return nil
}

// unregisterVM removes a machine from the inventory in one step, whatever its power state.
func (i *inventory) unregisterVM(inventoryPath string) error {
	ref, err := i.find("VirtualMachine", inventoryPath)
	if err != nil {
		return err
	}
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	ctx := outside(i.registry)
	ctx.WithLock(ref, func() {
		if vm, ok := i.registry.Get(ref).(*simulator.VirtualMachine); ok {
			vm.Runtime.PowerState = types.VirtualMachinePowerStatePoweredOff // the simulator refuses one that is on
		}
	})
	if fault := i.overrides.removeVM(ref, false); fault != nil {
		return fmt.Errorf("unregister %s: %T", inventoryPath, fault)
	}
	return nil
}

// renameVM renames a machine.
func (i *inventory) renameVM(inventoryPath, name string) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		folder := i.registry.Get(*vm.Parent).(*simulator.Folder)
		if other := i.registry.FindByName(escape(name), folder.ChildEntity); other != nil {
			return fmt.Errorf("rename %s: %s is taken", inventoryPath, name)
		}
		ctx.Update(vm, []types.PropertyChange{{Name: "name", Val: escape(name)}})
		return nil
	})
}

// renameFolder renames a folder.
func (i *inventory) renameFolder(inventoryPath, name string) error {
	ref, err := i.find("Folder", inventoryPath)
	if err != nil {
		return err
	}
	if _, err := i.find("", path.Join(path.Dir(inventoryPath), escape(name))); err == nil {
		return fmt.Errorf("rename %s: %s is taken", inventoryPath, name)
	}
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	ctx.WithLock(ref, func() {
		folder := i.registry.Get(ref).(mo.Entity)
		ctx.Update(folder, []types.PropertyChange{{Name: "name", Val: escape(name)}})
	})
	i.journal.touch(ref)
	return nil
}

// setTemplate turns a machine that is off into a template, or back into a machine.
func (i *inventory) setTemplate(inventoryPath string, on bool) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
			return fmt.Errorf("%s is not powered off", inventoryPath)
		}
		ctx.Update(vm, []types.PropertyChange{
			{Name: "config.template", Val: on},
			{Name: "summary.config.template", Val: on},
		})
		return nil
	})
}

// setPower powers a machine on or off.
func (i *inventory) setPower(inventoryPath string, on bool) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		state := types.VirtualMachinePowerStatePoweredOff
		if on {
			state = types.VirtualMachinePowerStatePoweredOn
		}
		power(ctx, vm, state)
		return nil
	})
}

// setExtraConfig sets an entry of a machine's extraConfig; a nil or empty value removes it, as in a vCenter.
func (i *inventory) setExtraConfig(inventoryPath, key string, value *string) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		option := &types.OptionValue{Key: key, Value: ""}
		if value != nil {
			option.Value = *value
		}
		entries := mergeExtraConfig(vm.Config.ExtraConfig, []types.BaseOptionValue{option})
		now := time.Now()
		ctx.Update(vm, []types.PropertyChange{
			{Name: "config.extraConfig", Val: entries},
			{Name: "config.changeVersion", Val: fmt.Sprint(now.UnixNano())},
			{Name: "config.modified", Val: now},
		})
		return nil
	})
}

// change calls work with the machine and its folder locked, in the order in which the simulator locks them.
func (i *inventory) change(inventoryPath string, work func(*simulator.Context, *simulator.VirtualMachine) error) error {
	ref, err := i.find("VirtualMachine", inventoryPath)
	if err != nil {
		return err
	}
	folder, err := i.find("Folder", path.Dir(inventoryPath))
	if err != nil {
		return err
	}
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	ctx.WithLock(ref, func() {
		ctx.WithLock(folder, func() {
			vm, ok := i.registry.Get(ref).(*simulator.VirtualMachine)
			if !ok {
				err = fmt.Errorf("%w: VirtualMachine %s", errNotFound, inventoryPath)
				return
			}
			err = work(ctx, vm)
		})
	})
	i.journal.touch(ref)
	i.journal.touch(folder)
	return err
}
