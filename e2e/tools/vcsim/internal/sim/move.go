package sim

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// MoveIntoFolderTask starts a task that moves machines and folders into a folder for machines.
func (o *overrides) MoveIntoFolderTask(_ *simulator.Context, req *types.MoveIntoFolder_Task) soap.HasFault {
	body := new(methods.MoveIntoFolder_TaskBody)
	if _, ok := o.registry.Get(req.This).(*simulator.Folder); !ok {
		body.Fault_ = missing(req.This)
		return body
	}
	run := func() (types.AnyType, types.BaseMethodFault) {
		for _, ref := range req.List {
			if fault := o.move(ref, req.This); fault != nil {
				return nil, fault
			}
		}
		return nil, nil
	}
	task := o.tasks.start(o.registry, job{entity: req.This, method: "MoveIntoFolder_Task", run: run})
	body.Res = &types.MoveIntoFolder_TaskResponse{Returnval: task}
	return body
}

// movable reports whether the objects are machines and folders, which this package moves itself.
func movable(list []types.ManagedObjectReference) bool {
	return !slices.ContainsFunc(list, func(ref types.ManagedObjectReference) bool {
		return ref.Type != "VirtualMachine" && ref.Type != "Folder"
	})
}

// move moves a machine or a folder into another folder. The collectors and views learn of it as of a creation.
func (o *overrides) move(ref, target types.ManagedObjectReference) types.BaseMethodFault {
	ctx := outside(o.registry)
	o.tree.Lock()
	defer o.tree.Unlock()
	entity, ok := o.registry.Get(ref).(mo.Entity)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: ref}
	}
	folder, ok := o.registry.Get(target).(*simulator.Folder)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: target}
	}
	if !slices.Contains(folder.ChildType, ref.Type) || o.isBelow(target, ref) {
		return new(types.NotSupported)
	}
	if moved, ok := entity.(*simulator.Folder); ok && !slices.Equal(moved.ChildType, folder.ChildType) {
		return new(types.NotSupported)
	}
	var fault types.BaseMethodFault
	ctx.WithLock(ref, func() {
		from := *entity.Entity().Parent
		parent, ok := o.registry.Get(from).(*simulator.Folder)
		if !ok { // a vm folder of a datacenter
			fault = new(types.NotSupported)
			return
		}
		if from == target {
			return
		}
		ctx.WithLock(target, func() {
			if other := o.registry.FindByName(entity.Entity().Name, folder.ChildEntity); other != nil {
				fault = &types.DuplicateName{Name: entity.Entity().Name, Object: other.Reference()}
				return
			}
			folder.ChildEntity = append(folder.ChildEntity, ref)
		})
		if fault != nil {
			return
		}
		ctx.WithLock(from, func() { simulator.RemoveReference(&parent.ChildEntity, ref) })
		o.registry.PutEntity(folder, entity)
		o.journal.touch(from)
		o.journal.touch(target)
	})
	return fault
}

// isBelow reports whether the entity is the ancestor or below it; the caller holds the tree's lock.
func (o *overrides) isBelow(ref, ancestor types.ManagedObjectReference) bool {
	for ref != ancestor {
		entity, ok := o.registry.Get(ref).(mo.Entity)
		if !ok || entity.Entity().Parent == nil {
			return false
		}
		ref = *entity.Entity().Parent
	}
	return true
}
