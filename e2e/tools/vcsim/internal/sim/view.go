package sim

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// containerView replaces the simulator's ContainerView on machines and folders. The original walks the whole tree for
// each object that is added, and does not notice that an object was moved. This one walks up from the object.
type containerView struct {
	*simulator.ContainerView

	present map[types.ManagedObjectReference]struct{} // the objects in View
	log     []types.ManagedObjectReference            // the objects that entered or left, in order
	dropped int                                       // how many entries were dropped from the start of log
}

// position returns the position after the last entry of the log.
func (v *containerView) position() int { return v.dropped + len(v.log) }

// CreateContainerView creates a view, which walks down the tree once.
func (o *overrides) CreateContainerView(ctx *simulator.Context, req *types.CreateContainerView) (body soap.HasFault) {
	o.tree.Lock()
	defer o.tree.Unlock()
	views := o.registry.ViewManager()
	ctx.WithLock(views, func() { body = views.CreateContainerView(ctx, req) })
	res := body.(*methods.CreateContainerViewBody).Res
	if res == nil || req.Container.Type != "Folder" && req.Container.Type != "Datacenter" || len(req.Type) == 0 {
		return body
	}
	for _, kind := range req.Type {
		if kind != "VirtualMachine" && kind != "Folder" {
			return body
		}
	}
	original := ctx.Session.Registry.Get(res.Returnval).(*simulator.ContainerView)
	view := &containerView{ContainerView: original, present: make(map[types.ManagedObjectReference]struct{}, len(original.View))}
	for _, ref := range original.View {
		view.present[ref] = struct{}{}
	}
	ctx.Session.Registry.Put(view)
	ctx.Map.AddHandler(view) // in place of the original, which has the same reference
	return body
}

// contains reports whether the entity is below the view's container; the caller holds the tree's lock.
func (v *containerView) contains(registry *simulator.Registry, entity mo.Entity) bool {
	for {
		parent := entity.Entity().Parent
		if parent == nil {
			return false
		}
		if *parent == v.Container {
			return true
		}
		ancestor, ok := registry.Get(*parent).(mo.Entity)
		if !ok || !v.Recursive {
			return false
		}
		entity = ancestor
	}
}

// PutObject implements simulator.RegisterObject. It is called for each object that is created or moved.
func (v *containerView) PutObject(ctx *simulator.Context, obj mo.Reference) {
	entity, ok := obj.(mo.Entity)
	if !ok || obj.Reference().Type != "VirtualMachine" && obj.Reference().Type != "Folder" {
		return
	}
	if obj.Reference() == v.Container {
		return // wherever it is, the view shows what is below it
	}
	inside := v.contains(ctx.Map, entity)
	ctx.WithLock(v, func() {
		if v.set(ctx.Map, obj.Reference(), inside) {
			v.announce(ctx)
		}
	})
}

// RemoveObject implements simulator.RegisterObject.
func (v *containerView) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	ctx.WithLock(v, func() {
		if v.set(ctx.Map, ref, false) {
			v.announce(ctx)
		}
	})
}

// UpdateObject implements simulator.RegisterObject.
func (v *containerView) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// set adds the object to the view or removes it, and with a folder everything below it. It returns whether the view
// has changed.
func (v *containerView) set(registry *simulator.Registry, ref types.ManagedObjectReference, inside bool) (changed bool) {
	if len(v.log) > len(v.present)+1000 { // reading the whole view costs less
		v.dropped, v.log = v.position(), nil
	}
	_, present := v.present[ref]
	switch {
	case !slices.Contains(v.Type, ref.Type) || present == inside:
	case inside:
		v.present[ref] = struct{}{}
		v.View = append(v.View, ref)
		v.log = append(v.log, ref)
		changed = true
	default:
		delete(v.present, ref)
		simulator.RemoveReference(&v.View, ref)
		v.log = append(v.log, ref)
		changed = true
	}
	if folder, ok := registry.Get(ref).(*simulator.Folder); ok && (v.Recursive || !inside) {
		for _, child := range folder.ChildEntity {
			changed = v.set(registry, child, inside) || changed
		}
	}
	return changed
}

// announce tells the collectors that the view has changed; the caller holds its lock.
func (v *containerView) announce(ctx *simulator.Context) {
	ctx.Update(v.ContainerView, []types.PropertyChange{{Name: "view", Val: v.View}})
}
