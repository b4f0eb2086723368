package sim

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// source is one way in which objects become members of a filter: an object of its spec, what one property of that
// object lists, or, where that is not enough, a traversal of the whole spec.
type source struct {
	object    types.ManagedObjectReference
	list      string // the property; empty for the object itself
	traversal bool

	members map[types.ManagedObjectReference]struct{} // as found last; nil: not yet
	seen    int                                       // the position in a view's log that members corresponds to
}

// lists are the properties whose changes the journal notes, by the type of their object.
var lists = map[string]string{
	"ContainerView": "view",
	"ListView":      "view",
	"TaskManager":   "recentTask",
	"Folder":        "childEntity",
}

// journalled reports whether the journal notes every change of an object of that type. The simulator changes hosts,
// pools, datastores and networks without announcing it.
func journalled(kind string) bool {
	return kind == "VirtualMachine" || kind == "Folder" || kind == "Task" || kind == "ContainerView"
}

// sources returns the sources of a filter's members: one per object and list, or one traversal.
func sources(ctx *simulator.Context, spec types.PropertyFilterSpec) (found []*source) {
	traversal := []*source{{traversal: true}}
	for _, p := range spec.PropSet {
		if !journalled(p.Type) {
			return traversal
		}
	}
	for _, o := range spec.ObjectSet {
		if _, ok := ctx.Session.Get(o.Obj).(*simulator.ContainerView); ok { // see containerView for the other kind
			return traversal
		}
		if len(o.SelectSet) == 0 || o.Skip == nil || !*o.Skip {
			found = append(found, &source{object: o.Obj})
		}
		for _, selection := range o.SelectSet {
			t, ok := selection.(*types.TraversalSpec)
			if !ok || len(t.SelectSet) > 0 || t.Skip != nil && *t.Skip || t.Path != lists[o.Obj.Type] {
				return traversal
			}
			found = append(found, &source{object: o.Obj, list: t.Path})
		}
	}
	return found
}

// concerned reports whether the members may have changed.
func (s *source) concerned(changed refSet, shape bool) bool {
	return s.traversal && shape || !s.traversal && changed.has(s.object)
}

// update brings the members up to date and returns those that joined, in the order of the list, and those that left.
func (s *source) update(ctx *simulator.Context, collector *Collector, spec types.PropertyFilterSpec) (joined, left []types.ManagedObjectReference, fault types.BaseMethodFault) {
	if joined, left, ok := s.follow(ctx, spec); ok {
		return joined, left, nil
	}
	found, fault := s.find(ctx, collector, spec)
	if fault != nil {
		return nil, nil, fault
	}
	before := s.members
	s.members = make(map[types.ManagedObjectReference]struct{}, len(found))
	for _, ref := range found {
		if _, twice := s.members[ref]; twice {
			continue
		}
		s.members[ref] = struct{}{}
		if _, was := before[ref]; !was {
			joined = append(joined, ref)
		}
	}
	for ref := range before {
		if _, is := s.members[ref]; !is {
			left = append(left, ref)
		}
	}
	return joined, left, nil
}

// follow updates the members from the log of a view: at the cost of what has changed, not of the size of the view.
func (s *source) follow(ctx *simulator.Context, spec types.PropertyFilterSpec) (joined, left []types.ManagedObjectReference, ok bool) {
	if s.list == "" {
		return nil, nil, false
	}
	ctx.WithLock(s.object, func() {
		var view *containerView
		if view, ok = ctx.Session.Get(s.object).(*containerView); !ok {
			return
		}
		if ok = s.members != nil && s.seen >= view.dropped; !ok {
			return
		}
		for _, ref := range view.log[s.seen-view.dropped:] {
			_, is := view.present[ref]
			_, was := s.members[ref]
			switch {
			case is == was || !wanted(spec, ref):
			case is:
				s.members[ref] = struct{}{}
				joined = append(joined, ref)
			default:
				delete(s.members, ref)
				left = append(left, ref)
			}
		}
		s.seen = view.position()
	})
	return joined, left, ok
}

// wanted reports whether the spec has properties for objects of that type.
func wanted(spec types.PropertyFilterSpec, ref types.ManagedObjectReference) bool {
	return slices.ContainsFunc(spec.PropSet, func(p types.PropertySpec) bool { return p.Type == ref.Type })
}

// find returns the members as they are now.
func (s *source) find(ctx *simulator.Context, collector *Collector, spec types.PropertyFilterSpec) (found []types.ManagedObjectReference, fault types.BaseMethodFault) {
	if s.traversal {
		contents, fault := collector.retrieve(ctx, withoutProperties(spec))
		for _, content := range contents {
			found = append(found, content.Obj)
		}
		return found, fault
	}
	exists := false
	ctx.WithLock(s.object, func() {
		object := ctx.Session.Get(s.object)
		exists = object != nil
		if s.list == "" {
			return
		}
		switch o := object.(type) {
		case *containerView:
			found = append(found, o.View...)
			s.seen = o.position()
		case *simulator.ListView:
			found = append(found, o.View...)
		case *simulator.TaskManager:
			found = append(found, o.RecentTask...)
		case *simulator.Folder:
			found = append(found, o.ChildEntity...)
		}
	})
	switch {
	case !exists && (spec.ReportMissingObjectsInResults == nil || !*spec.ReportMissingObjectsInResults):
		return nil, &types.ManagedObjectNotFound{Obj: s.object}
	case !exists:
		return nil, nil
	case s.list == "":
		found = []types.ManagedObjectReference{s.object}
	}
	return slices.DeleteFunc(found, func(ref types.ManagedObjectReference) bool { return !wanted(spec, ref) }), nil
}

// withoutProperties returns the spec with no properties: it selects the same objects at a lower cost.
func withoutProperties(spec types.PropertyFilterSpec) types.PropertyFilterSpec {
	kinds := make([]types.PropertySpec, len(spec.PropSet))
	for i, p := range spec.PropSet {
		kinds[i] = types.PropertySpec{Type: p.Type}
	}
	spec.PropSet = kinds
	return spec
}
