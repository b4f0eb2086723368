package sim

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// DestroyTask starts a task that destroys a machine, a port group, or a folder and everything in it, as vCenter does.
func (o *overrides) DestroyTask(_ *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	body := new(methods.Destroy_TaskBody)
	var run func() types.BaseMethodFault
	switch o.registry.Get(req.This).(type) {
	case *simulator.Folder:
		run = func() types.BaseMethodFault { return o.removeFolder(req.This, true) }
	case *simulator.DistributedVirtualPortgroup:
		run = func() types.BaseMethodFault { return o.removePortGroup(req.This) }
	case *simulator.VirtualMachine:
		run = func() types.BaseMethodFault { return o.removeVM(req.This, true) }
	default:
		body.Fault_ = missing(req.This)
		return body
	}
	body.Res = &types.Destroy_TaskResponse{Returnval: o.startInTree(req.This, "Destroy_Task", run)}
	return body
}

// UnregisterAndDestroyTask starts a task that unregisters the machines in a folder and below, and destroys the folder
// and those below. It stops at the first machine that is powered on; what was removed until then stays removed.
func (o *overrides) UnregisterAndDestroyTask(_ *simulator.Context, req *types.UnregisterAndDestroy_Task) soap.HasFault {
	body := new(methods.UnregisterAndDestroy_TaskBody)
	folder, ok := o.registry.Get(req.This).(*simulator.Folder)
	if !ok {
		body.Fault_ = missing(req.This)
		return body
	}
	if !slices.Contains(folder.ChildType, "VirtualMachine") {
		body.Fault_ = simulator.Fault("", new(types.NotSupported))
		return body
	}
	run := func() types.BaseMethodFault { return o.removeFolder(req.This, false) }
	body.Res = &types.UnregisterAndDestroy_TaskResponse{
		Returnval: o.startInTree(req.This, "UnregisterAndDestroy_Task", run),
	}
	return body
}

// UnregisterVM removes a machine from the inventory and leaves its files.
func (o *overrides) UnregisterVM(_ *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	body := new(methods.UnregisterVMBody)
	o.tree.Lock()
	defer o.tree.Unlock()
	if fault := o.removeVM(req.This, false); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
	} else {
		body.Res = new(types.UnregisterVMResponse)
	}
	return body
}

// startInTree starts a task that calls run with the tree locked.
func (o *overrides) startInTree(entity types.ManagedObjectReference, method string, run func() types.BaseMethodFault) types.ManagedObjectReference {
	return o.tasks.start(o.registry, job{entity: entity, method: method, run: func() (types.AnyType, types.BaseMethodFault) {
		o.tree.Lock()
		defer o.tree.Unlock()
		return nil, run()
	}})
}

// removeVM destroys or unregisters a machine; the caller holds the tree's lock.
func (o *overrides) removeVM(ref types.ManagedObjectReference, destroy bool) (fault types.BaseMethodFault) {
	if destroy {
		if fault := o.checkConnected(ref); fault != nil {
			return fault
		}
	}
	ctx := outside(o.registry)
	path := pathOf(o.registry, ref)
	event := Event{What: Unregistered, MoRef: ref.Value, Path: path}
	if destroy {
		event.What = Destroyed
	}
	var folder types.ManagedObjectReference
	ctx.WithLock(ref, func() {
		vm, ok := o.registry.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			fault = &types.ManagedObjectNotFound{Obj: ref}
			return
		}
		folder = *vm.Parent
		event.ExtraConfig = texts(vm.Config.ExtraConfig)
		if destroy {
			_, fault = o.tasks.step(ctx, ref, func() { vm.DestroyTask(ctx, &types.Destroy_Task{This: ref}) })
		} else if f := vm.UnregisterVM(ctx, &types.UnregisterVM{This: ref}).Fault(); f != nil {
			fault = f.VimFault().(types.BaseMethodFault)
		}
	})
	if fault != nil {
		return fault
	}
	o.mu.Lock()
	delete(o.unreadable, ref)
	o.mu.Unlock()
	o.history.add(event)
	o.journal.touch(folder)
	return nil
}

// removeFolder destroys a folder and the folders below it, and destroys or unregisters the machines in them; the
// caller holds the tree's lock.
func (o *overrides) removeFolder(ref types.ManagedObjectReference, destroy bool) types.BaseMethodFault {
	ctx := outside(o.registry)
	var fault types.BaseMethodFault
	var parent types.ManagedObjectReference
	var children []types.ManagedObjectReference
	ctx.WithLock(ref, func() {
		folder, ok := o.registry.Get(ref).(*simulator.Folder)
		if !ok {
			fault = &types.ManagedObjectNotFound{Obj: ref}
			return
		}
		if folder.Parent == nil || folder.Parent.Type != "Folder" { // the root folder, or one that a datacenter owns
			fault = new(types.NotSupported)
			return
		}
		parent = *folder.Parent
		children = append(children, folder.ChildEntity...)
	})
	// Without the folder's lock: code that needs both locks takes a machine's before its folder's.
	for _, child := range children {
		if fault != nil {
			return fault
		}
		if child.Type == "Folder" {
			fault = o.removeFolder(child, destroy)
		} else {
			fault = o.removeVM(child, destroy)
		}
	}
	if fault != nil {
		return fault
	}
	ctx.WithLock(ref, func() {
		if folder, ok := o.registry.Get(ref).(*simulator.Folder); ok {
			_, fault = o.tasks.step(ctx, ref, func() { folder.DestroyTask(ctx, &types.Destroy_Task{This: ref}) })
		}
	})
	o.journal.touch(parent)
	return fault
}
