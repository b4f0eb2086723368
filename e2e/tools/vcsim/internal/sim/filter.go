package sim

import (
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Filter is one property filter: its members, their properties as last read, and what the client has been sent. All of
// it is updated in proportion to what has changed, not to the number of members.
type Filter struct {
	mo.PropertyFilter

	collector *Collector
	sources   []*source
	stale     bool // read everything again
	members   map[types.ManagedObjectReference]int
	current   map[types.ManagedObjectReference]*types.ObjectContent
	reported  map[types.ManagedObjectReference]*types.ObjectContent
	pending   refSet     // the members and former members in which current and reported may differ
	undo      []replaced // what the last answer has changed in reported, in that order
}

// replaced is an entry of a filter's reported as it was before an answer.
type replaced struct {
	ref     types.ManagedObjectReference
	content *types.ObjectContent // nil if there was none
}

func newFilter(ctx *simulator.Context, collector *Collector, req *types.CreateFilter) *Filter {
	f := &Filter{
		collector: collector,
		sources:   sources(ctx, req.Spec),
		stale:     true,
		members:   map[types.ManagedObjectReference]int{},
		current:   map[types.ManagedObjectReference]*types.ObjectContent{},
		reported:  map[types.ManagedObjectReference]*types.ObjectContent{},
	}
	f.Self.Type = "PropertyFilter"
	f.Spec, f.PartialUpdates = req.Spec, req.PartialUpdates
	return f
}

// DestroyPropertyFilter removes the filter from its collector.
func (f *Filter) DestroyPropertyFilter(ctx *simulator.Context, req *types.DestroyPropertyFilter) soap.HasFault {
	f.collector.remove(f)
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyFilterBody{Res: new(types.DestroyPropertyFilterResponse)}
}

// restart makes the next report describe everything, as it is then.
func (f *Filter) restart() {
	f.stale, f.undo = true, nil
	f.reported = map[types.ManagedObjectReference]*types.ObjectContent{}
}

// confirm records that the client has received the last answer.
func (f *Filter) confirm() { f.undo = nil }

// repeat makes the next report begin with the last answer, which was lost.
func (f *Filter) repeat() {
	var again refSet
	for _, entry := range f.undo {
		again.add(entry.ref)
	}
	for i := len(f.undo) - 1; i >= 0; i-- {
		setOrDelete(f.reported, f.undo[i].ref, f.undo[i].content)
	}
	for _, ref := range f.pending.list {
		again.add(ref)
	}
	f.pending, f.undo = again, nil
}

// refresh reads again what has changed. Objects in lost stay as they are, unless the filter starts from the beginning.
func (f *Filter) refresh(ctx *simulator.Context, changed refSet, shape bool, lost map[types.ManagedObjectReference]struct{}) types.BaseMethodFault {
	if len(changed.list) == 0 && !f.stale {
		return nil
	}
	work := refSet{}
	for _, ref := range changed.list {
		work.add(ref)
	}
	if fault := f.trace(ctx, &work, changed, shape); fault != nil {
		f.stale = true
		return fault
	}
	var again []types.ManagedObjectReference
	for _, ref := range work.list {
		known := f.current[ref] != nil
		_, isLost := lost[ref]
		switch {
		case known && isLost && !f.stale:
		case f.members[ref] > 0:
			again = append(again, ref)
		case known:
			f.update(ref, nil)
		}
	}
	contents, fault := f.collector.read(ctx, f.Spec.PropSet, again)
	if fault != nil {
		f.stale = true
		return fault
	}
	for _, ref := range again {
		if content := contents[ref]; content != nil || f.current[ref] != nil {
			f.update(ref, content)
		}
	}
	f.stale = false
	return nil
}

// trace brings the members up to date and adds to work those that joined or left, and those that may have changed
// without a note in the journal.
func (f *Filter) trace(ctx *simulator.Context, work *refSet, changed refSet, shape bool) types.BaseMethodFault {
	if f.stale {
		f.members = map[types.ManagedObjectReference]int{}
	}
	for _, source := range f.sources {
		if f.stale {
			source.members = nil
		} else if !source.concerned(changed, shape) {
			continue
		}
		joined, left, fault := source.update(ctx, f.collector, f.Spec)
		if fault != nil {
			return fault
		}
		for _, ref := range left {
			if f.members[ref]--; f.members[ref] == 0 {
				delete(f.members, ref)
				work.add(ref)
			}
		}
		for _, ref := range joined {
			if f.members[ref]++; f.members[ref] == 1 {
				work.add(ref)
			}
		}
		if source.traversal && shape {
			for ref := range source.members {
				if !journalled(ref.Type) {
					work.add(ref)
				}
			}
		}
	}
	if f.stale {
		for ref := range f.current { // those that are no longer members
			work.add(ref)
		}
	}
	return nil
}

// update replaces what is known of an object; nil removes it.
func (f *Filter) update(ref types.ManagedObjectReference, content *types.ObjectContent) {
	setOrDelete(f.current, ref, content)
	f.pending.add(ref)
}

// report moves reported towards current by at most limit objects and returns the steps, and whether there are more.
func (f *Filter) report(limit int) (updates []types.ObjectUpdate, more bool) {
	for len(f.pending.list) > 0 {
		ref := f.pending.list[0]
		was, now := f.reported[ref], f.current[ref]
		update := step(ref, was, now)
		if update != nil && len(updates) >= limit {
			return updates, true
		}
		f.pending.pop()
		if was != now {
			f.undo = append(f.undo, replaced{ref: ref, content: was})
			setOrDelete(f.reported, ref, now)
		}
		if update != nil {
			updates = append(updates, *update)
		}
	}
	return updates, false
}

// step returns the update that turns was into now; nil if the client would see no difference.
func step(ref types.ManagedObjectReference, was, now *types.ObjectContent) *types.ObjectUpdate {
	switch {
	case was == now:
		return nil
	case now == nil:
		return &types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: ref}
	case was == nil:
		update := &types.ObjectUpdate{Kind: types.ObjectUpdateKindEnter, Obj: ref, MissingSet: now.MissingSet}
		for _, p := range now.PropSet {
			update.ChangeSet = append(update.ChangeSet, assign(p.Name, p.Val))
		}
		return update
	}
	changes := modified(was, now)
	if len(changes) == 0 {
		return nil
	}
	return &types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: ref, ChangeSet: changes}
}

// modified returns the changes of properties from was to now.
func modified(was, now *types.ObjectContent) (changes []types.PropertyChange) {
	old := make(map[string]types.AnyType, len(was.PropSet))
	for _, p := range was.PropSet {
		old[p.Name] = p.Val
	}
	for _, p := range now.PropSet {
		if val, ok := old[p.Name]; !ok || !reflect.DeepEqual(val, p.Val) {
			changes = append(changes, assign(p.Name, p.Val))
		}
		delete(old, p.Name)
	}
	for name := range old { // unset
		change := assign(name, nil)
		if strings.Contains(name, ".") {
			// The simulator unsets a nested property only with what contains it.
			change.Op = types.PropertyChangeOpIndirectRemove
		}
		changes = append(changes, change)
	}
	return changes
}

func assign(name string, val types.AnyType) types.PropertyChange {
	return types.PropertyChange{Name: name, Op: types.PropertyChangeOpAssign, Val: val}
}

func setOrDelete(m map[types.ManagedObjectReference]*types.ObjectContent, ref types.ManagedObjectReference, content *types.ObjectContent) {
	if content == nil {
		delete(m, ref)
	} else {
		m[ref] = content
	}
}
