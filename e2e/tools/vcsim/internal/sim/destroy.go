package sim

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// DestroyTask starts a task that destroys a machine, or a folder and everything in it, as vCenter does.
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
	run := func() (types.AnyType, types.BaseMethodFault) {
		o.tree.Lock()
		defer o.tree.Unlock()
		return nil, destroy(outside(o.registry), req.This)
	}
	task := o.tasks.start(o.registry, job{entity: req.This, method: "Destroy_Task", run: run})
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
		// Without the folder's lock: code that needs both locks takes a machine's before its folder's.
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
			return // removed in the meantime
		}
		if f := vm.UnregisterVM(ctx, &types.UnregisterVM{This: ref}).Fault(); f != nil {
			fault = f.VimFault().(types.BaseMethodFault)
		}
	})
	return fault
}
