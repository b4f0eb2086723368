package sim

import (
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// tick is how long changes gather before they are reported.
	tick = 20 * time.Millisecond
	// pageSize is vCenter's default and greatest number of object updates in one answer.
	pageSize = 100
)

// Collector replaces the simulator's PropertyCollector. The original collects every filter again for each single
// change, misses changes that were not announced, and forgets what it sent when the answer is lost on the way.
// This one keeps what each filter last reported, reads again only what the journal names, and reports the
// difference; a client that repeats a version gets what it missed.
//
// The simulator makes one by reflection for each session, so the zero value is ready for use.
type Collector struct {
	simulator.PropertyCollector

	mu       sync.Mutex
	reader   *reader
	filters  []*Filter
	version  int           // of the last answer
	base     string        // the version that answer started from
	canceled chan struct{} // closed to end the wait in progress
	working  sync.Mutex    // held by the one wait that reads and reports
}

// Filter is one property filter: what to watch, what it looks like now and what the client was told.
type Filter struct {
	mo.PropertyFilter

	collector *Collector
	stale     bool // read everything again
	current   view
	reported  view // as of version
	previous  view // as of the version before
}

// view is a set of objects as one filter sees them. Objects in it are never modified, only replaced.
type view struct {
	order   []types.ManagedObjectReference
	objects map[types.ManagedObjectReference]*types.ObjectContent
}

func (c *Collector) open(ctx *simulator.Context) *reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reader == nil {
		c.reader = ctx.Map.Get(journalRef).(*journal).open()
	}
	return c.reader
}

func (c *Collector) close(ctx *simulator.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reader != nil {
		ctx.Map.Get(journalRef).(*journal).close(c.reader)
		c.reader = nil
	}
	c.interrupt()
}

// interrupt ends the wait in progress; the caller holds mu.
func (c *Collector) interrupt() {
	if c.canceled != nil {
		close(c.canceled)
		c.canceled = nil
	}
}

// CreatePropertyCollector makes one more collector in the session.
func (c *Collector) CreatePropertyCollector(ctx *simulator.Context, _ *types.CreatePropertyCollector) soap.HasFault {
	created := &Collector{}
	created.Self.Type = "PropertyCollector"
	return &methods.CreatePropertyCollectorBody{
		Res: &types.CreatePropertyCollectorResponse{Returnval: ctx.Session.Put(created).Reference()},
	}
}

// DestroyPropertyCollector ends the collector, its wait and its filters.
func (c *Collector) DestroyPropertyCollector(ctx *simulator.Context, req *types.DestroyPropertyCollector) soap.HasFault {
	c.close(ctx)
	c.mu.Lock()
	filters := c.filters
	c.filters, c.Filter = nil, nil
	c.mu.Unlock()
	for _, f := range filters {
		ctx.Session.Remove(ctx, f.Self)
	}
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyCollectorBody{Res: new(types.DestroyPropertyCollectorResponse)}
}

// CreateFilter adds a filter, which the next wait reports whole.
func (c *Collector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	body := new(methods.CreateFilterBody)
	f := &Filter{collector: c, stale: true}
	f.Self.Type = "PropertyFilter"
	f.Spec, f.PartialUpdates = req.Spec, req.PartialUpdates
	// A spec that cannot be collected is refused here, not at the first wait.
	if _, fault := c.retrieve(ctx, members(f.Spec)); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	ctx.Session.Put(f)
	reader := c.open(ctx)
	c.mu.Lock()
	c.filters = append(c.filters, f)
	c.Filter = append(c.Filter, f.Self)
	c.mu.Unlock()
	reader.note(f.Self, true)
	body.Res = &types.CreateFilterResponse{Returnval: f.Self}
	return body
}

// DestroyPropertyFilter removes the filter from its collector.
func (f *Filter) DestroyPropertyFilter(ctx *simulator.Context, req *types.DestroyPropertyFilter) soap.HasFault {
	c := f.collector
	c.mu.Lock()
	c.filters = slices.DeleteFunc(c.filters, func(other *Filter) bool { return other == f })
	simulator.RemoveReference(&c.Filter, f.Self)
	c.mu.Unlock()
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyFilterBody{Res: new(types.DestroyPropertyFilterResponse)}
}

// CancelWaitForUpdates ends the wait in progress, if there is one, with RequestCanceled.
func (c *Collector) CancelWaitForUpdates(*types.CancelWaitForUpdates) soap.HasFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupt()
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// WaitForUpdatesEx answers with what has changed since the given version, waiting for a change if need be.
// A second wait on one collector ends the first.
func (c *Collector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	body := new(methods.WaitForUpdatesExBody)
	limit := pageSize
	var timeout <-chan time.Time
	atOnce := false
	if o := req.Options; o != nil {
		if o.MaxObjectUpdates > 0 && int(o.MaxObjectUpdates) < limit {
			limit = int(o.MaxObjectUpdates)
		}
		if o.MaxWaitSeconds != nil {
			atOnce = *o.MaxWaitSeconds <= 0
			if !atOnce {
				timer := time.NewTimer(time.Duration(*o.MaxWaitSeconds) * time.Second)
				defer timer.Stop()
				timeout = timer.C
			}
		}
	}

	reader := c.open(ctx)
	canceled := make(chan struct{})
	c.mu.Lock()
	c.interrupt()
	c.canceled = canceled
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.canceled == canceled {
			c.canceled = nil
		}
	}()
	c.working.Lock()
	defer c.working.Unlock()

	if fault := c.rewind(req.Version); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	heartbeat := time.NewTicker(tick)
	defer heartbeat.Stop()
	for {
		set, fault := c.difference(ctx, reader, limit)
		if fault != nil {
			body.Fault_ = simulator.Fault("", fault)
			return body
		}
		if set != nil {
			c.version++
			c.base = req.Version
			set.Version = strconv.Itoa(c.version)
			body.Res = &types.WaitForUpdatesExResponse{Returnval: set}
			return body
		}
		if atOnce {
			body.Res = new(types.WaitForUpdatesExResponse)
			return body
		}
		for pending := false; !pending; {
			select {
			case <-canceled:
				body.Fault_ = simulator.Fault("", new(types.RequestCanceled))
				return body
			case <-timeout:
				body.Res = new(types.WaitForUpdatesExResponse)
				return body
			case <-heartbeat.C:
				if !alive(ctx) {
					body.Fault_ = simulator.Fault("", &types.NotAuthenticated{
						NoPermission: types.NoPermission{Object: &req.This, PrivilegeId: "System.View"},
					})
					return body
				}
				select {
				case <-reader.wake:
					pending = true
				default:
				}
			}
		}
	}
}

// WaitForUpdates is the older form, without options.
func (c *Collector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	body := new(methods.WaitForUpdatesBody)
	res := c.WaitForUpdatesEx(ctx, &types.WaitForUpdatesEx{This: req.This, Version: req.Version})
	if body.Fault_ = res.Fault(); body.Fault_ == nil {
		body.Res = &types.WaitForUpdatesResponse{Returnval: *res.(*methods.WaitForUpdatesExBody).Res.Returnval}
	}
	return body
}

// rewind makes reported what the client of this version knows.
func (c *Collector) rewind(version string) types.BaseMethodFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.filters {
		switch {
		case version == "":
			f.reported = view{}
		case version == strconv.Itoa(c.version):
		case version == c.base: // the last answer was lost
			f.reported = f.previous
		default:
			return new(types.InvalidCollectorVersion)
		}
		f.previous = f.reported
	}
	return nil
}

// difference brings the filters up to date and returns one page of what the client does not know, or nil.
func (c *Collector) difference(ctx *simulator.Context, reader *reader, limit int) (*types.UpdateSet, types.BaseMethodFault) {
	c.mu.Lock()
	filters := slices.Clone(c.filters)
	c.mu.Unlock()
	changed, shape := reader.take()
	set := new(types.UpdateSet)
	for _, f := range filters {
		if fault := f.refresh(ctx, changed, shape); fault != nil {
			reader.note(types.ManagedObjectReference{}, true)
			return nil, fault
		}
		before := f.reported
		updates, more := f.report(limit)
		f.previous = before
		if more {
			set.Truncated = types.NewBool(true)
		}
		limit -= len(updates)
		if len(updates) > 0 {
			set.FilterSet = append(set.FilterSet, types.PropertyFilterUpdate{Filter: f.Self, ObjectSet: updates})
		}
	}
	if len(set.FilterSet) == 0 {
		return nil, nil
	}
	return set, nil
}

// refresh reads again what the journal named.
func (f *Filter) refresh(ctx *simulator.Context, changed map[types.ManagedObjectReference]struct{}, shape bool) types.BaseMethodFault {
	if len(changed) == 0 && !f.stale {
		return nil
	}
	next := f.current
	if shape || f.stale {
		found, fault := f.collector.retrieve(ctx, members(f.Spec))
		if fault != nil {
			return fault
		}
		next = view{objects: make(map[types.ManagedObjectReference]*types.ObjectContent, len(found))}
		for _, o := range found {
			if _, twice := next.objects[o.Obj]; !twice {
				next.order = append(next.order, o.Obj)
				next.objects[o.Obj] = f.current.objects[o.Obj]
			}
		}
	}

	var again []types.ObjectSpec
	for _, ref := range next.order {
		_, named := changed[ref]
		// What has children changes with the shape, and says so only sometimes.
		container := shape && ref.Type != "VirtualMachine" && ref.Type != "Task"
		if named || container || f.stale || next.objects[ref] == nil {
			again = append(again, types.ObjectSpec{Obj: ref})
		}
	}
	f.stale = true // unless all goes well
	if len(again) > 0 {
		content, fault := f.collector.retrieve(ctx, types.PropertyFilterSpec{
			PropSet:                       f.Spec.PropSet,
			ObjectSet:                     again,
			ReportMissingObjectsInResults: types.NewBool(true),
		})
		if fault != nil {
			return fault
		}
		if !shape {
			next = view{order: next.order, objects: make(map[types.ManagedObjectReference]*types.ObjectContent, len(next.order))}
			for ref, o := range f.current.objects {
				next.objects[ref] = o
			}
		}
		for i := range content {
			next.objects[content[i].Obj] = &content[i]
		}
		// Gone between the two reads.
		next.order = slices.DeleteFunc(next.order, func(ref types.ManagedObjectReference) bool {
			return next.objects[ref] == nil
		})
	}
	f.current, f.stale = next, false
	return nil
}

// report moves reported towards current by at most limit objects and returns the steps.
func (f *Filter) report(limit int) (updates []types.ObjectUpdate, more bool) {
	told := view{order: f.current.order, objects: make(map[types.ManagedObjectReference]*types.ObjectContent, len(f.current.objects))}
	for ref, o := range f.reported.objects {
		told.objects[ref] = o
	}
	add := func(update types.ObjectUpdate) bool {
		if len(updates) >= limit {
			more = true
			return false
		}
		updates = append(updates, update)
		return true
	}
	for _, ref := range f.current.order {
		now, was := f.current.objects[ref], f.reported.objects[ref]
		if now == was {
			continue
		}
		if was == nil {
			if !add(entered(now)) {
				break
			}
		} else if changes := modified(was, now); len(changes) > 0 {
			if !add(types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: ref, ChangeSet: changes}) {
				break
			}
		}
		told.objects[ref] = now
	}
	for ref := range f.reported.objects {
		if f.current.objects[ref] != nil {
			continue
		}
		if !add(types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: ref}) {
			break
		}
		delete(told.objects, ref)
	}
	f.reported = told
	return updates, more
}

func entered(o *types.ObjectContent) types.ObjectUpdate {
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindEnter, Obj: o.Obj, MissingSet: o.MissingSet}
	for _, p := range o.PropSet {
		update.ChangeSet = append(update.ChangeSet, assign(p.Name, p.Val))
	}
	return update
}

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
	for name := range old { // no longer set
		changes = append(changes, assign(name, nil))
	}
	return changes
}

func assign(name string, val types.AnyType) types.PropertyChange {
	return types.PropertyChange{Name: name, Op: types.PropertyChangeOpAssign, Val: val}
}

// members is the spec with no properties: it selects the same objects at a fraction of the cost.
func members(spec types.PropertyFilterSpec) types.PropertyFilterSpec {
	kinds := make([]types.PropertySpec, len(spec.PropSet))
	for i, p := range spec.PropSet {
		kinds[i] = types.PropertySpec{Type: p.Type}
	}
	spec.PropSet = kinds
	return spec
}

func (c *Collector) retrieve(ctx *simulator.Context, spec types.PropertyFilterSpec) ([]types.ObjectContent, types.BaseMethodFault) {
	res := c.PropertyCollector.RetrievePropertiesEx(ctx, &types.RetrievePropertiesEx{This: c.Self, SpecSet: []types.PropertyFilterSpec{spec}})
	if fault := res.Fault(); fault != nil {
		return nil, fault.VimFault().(types.BaseMethodFault)
	}
	return res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects, nil
}
