package sim

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// tick is how long a wait gathers changes before it reports them.
	tick = 20 * time.Millisecond
	// pageSize is the default and the maximum of object updates in one answer, as in a vCenter.
	pageSize = 100
)

// Collector replaces the simulator's PropertyCollector. The original reads every filter again for each change, misses
// changes that the simulator does not announce, and forgets what it sent when the answer is lost on the way. This one
// keeps what each filter last reported, reads again only what the journal names, and reports the difference; a client
// that repeats a version gets what it missed. See Filter.
//
// The simulator creates one by reflection for each session, so the zero value is ready for use.
type Collector struct {
	simulator.PropertyCollector

	mu       sync.Mutex
	reader   *reader
	filters  []*Filter
	version  int              // of the last answer
	base     string           // the version that answer started from
	again    *types.UpdateSet // that answer, if it is to be given twice
	canceled chan struct{}    // closed to end the wait in progress
	working  sync.Mutex       // held by the one wait that reads and reports
}

// open returns the collector's reader of the journal, and creates it at the first call.
func (c *Collector) open(ctx *simulator.Context) *reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reader == nil {
		c.reader = ctx.Map.Get(journalRef).(*journal).open()
	}
	return c.reader
}

// close removes the collector's reader and ends its wait.
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

// CreatePropertyCollector creates another collector in the session.
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
	f := newFilter(ctx, c, req)
	// A spec that cannot be collected is refused here, not at the first wait.
	for _, source := range f.sources {
		if _, fault := source.find(ctx, c, f.Spec); fault != nil {
			body.Fault_ = simulator.Fault("", fault)
			return body
		}
	}
	ctx.Session.Put(f)
	reader := c.open(ctx)
	c.mu.Lock()
	c.filters = append(c.filters, f)
	c.Filter = append(c.Filter, f.Self)
	c.mu.Unlock()
	reader.note(false, f.Self)
	body.Res = &types.CreateFilterResponse{Returnval: f.Self}
	return body
}

// remove removes a filter.
func (c *Collector) remove(f *Filter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filters = slices.DeleteFunc(c.filters, func(other *Filter) bool { return other == f })
	simulator.RemoveReference(&c.Filter, f.Self)
}

// CancelWaitForUpdates ends the wait in progress, if there is one, with RequestCanceled.
func (c *Collector) CancelWaitForUpdates(*types.CancelWaitForUpdates) soap.HasFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupt()
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// waitLimits returns how many objects an answer may contain and how long to wait for a change; negative: without limit.
func waitLimits(options *types.WaitOptions) (objects int, wait time.Duration) {
	objects, wait = pageSize, -1
	if options == nil {
		return objects, wait
	}
	if options.MaxObjectUpdates > 0 {
		objects = min(objects, int(options.MaxObjectUpdates))
	}
	if options.MaxWaitSeconds != nil {
		wait = time.Duration(max(*options.MaxWaitSeconds, 0)) * time.Second
	}
	return objects, wait
}

// begin registers a wait, which ends the one in progress, and returns its cancellation and what to call at its end.
func (c *Collector) begin() (canceled <-chan struct{}, end func()) {
	own := make(chan struct{})
	c.mu.Lock()
	c.interrupt()
	c.canceled = own
	c.mu.Unlock()
	c.working.Lock()
	return own, func() {
		c.working.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.canceled == own {
			c.canceled = nil
		}
	}
}

// WaitForUpdatesEx answers with what has changed since the given version, and waits for a change if there is none.
// A second wait on one collector ends the first.
func (c *Collector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	body := new(methods.WaitForUpdatesExBody)
	reader := c.open(ctx)
	canceled, end := c.begin()
	defer end()
	limit, wait := waitLimits(req.Options)
	var timeout <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	pace := &ctx.Map.Get(journalRef).(*journal).pace
	limit = pace.limit(limit)
	fault := c.rewind(req.Version)
	if again := c.again; fault == nil && again != nil && req.Version == strconv.Itoa(c.version) {
		// The client has received it: the filters stay as they are.
		c.again = nil
		pace.repeated()
		return c.answer(req.Version, again)
	}
	for more := true; more && fault == nil; {
		var set *types.UpdateSet
		if set, fault = c.difference(ctx, reader, limit); fault != nil {
			break
		}
		if set != nil {
			if set.Truncated != nil {
				pace.truncated()
			}
			if pace.repeat() {
				again := *set
				c.again = &again
			}
			return c.answer(req.Version, set)
		}
		more = wait != 0
		if more {
			more, fault = c.pause(ctx, reader, canceled, timeout)
		}
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
	} else {
		body.Res = new(types.WaitForUpdatesExResponse)
	}
	return body
}

// answer gives the set the next version.
func (c *Collector) answer(base string, set *types.UpdateSet) soap.HasFault {
	c.version++
	c.base = base
	set.Version = strconv.Itoa(c.version)
	return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{Returnval: set}}
}

// pause waits until the journal names something, for at least a tick: more is true then, and false after the timeout.
func (c *Collector) pause(ctx *simulator.Context, reader *reader, canceled <-chan struct{}, timeout <-chan time.Time) (more bool, fault types.BaseMethodFault) {
	heartbeat := time.NewTicker(tick)
	defer heartbeat.Stop()
	for {
		select {
		case <-canceled:
			return false, new(types.RequestCanceled)
		case <-timeout:
			return false, nil
		case <-heartbeat.C:
			if !alive(ctx) {
				return false, &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &c.Self, PrivilegeId: "System.View"}}
			}
			select {
			case <-reader.wake:
				return true, nil
			default:
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

// rewind prepares the filters for a client that has received the version.
func (c *Collector) rewind(version string) types.BaseMethodFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.filters {
		switch {
		case version == "":
			f.restart()
		case version == strconv.Itoa(c.version):
			f.confirm()
		case version == c.base: // the last answer was lost
			f.repeat()
		default:
			return new(types.InvalidCollectorVersion)
		}
	}
	return nil
}

// difference brings the filters up to date and returns one page of what the client does not know, or nil.
func (c *Collector) difference(ctx *simulator.Context, reader *reader, limit int) (*types.UpdateSet, types.BaseMethodFault) {
	c.mu.Lock()
	filters := slices.Clone(c.filters)
	c.mu.Unlock()
	changed, shape := reader.take()
	lost := ctx.Map.Get(journalRef).(*journal).lostObjects()
	set := new(types.UpdateSet)
	for _, f := range filters {
		if fault := f.refresh(ctx, changed, shape, lost); fault != nil {
			for _, f := range filters { // the journal does not repeat what it has named
				f.stale = true
			}
			return nil, fault
		}
		updates, more := f.report(limit)
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
