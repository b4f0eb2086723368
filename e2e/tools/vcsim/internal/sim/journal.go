package sim

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

var journalRef = types.ManagedObjectReference{Type: "Journal", Value: "journal"}

// journal hears of every change in the simulator's registry and tells the collectors which objects to look at again.
// It carries no values: those are read, under the objects' own locks, by whoever wants them.
//
// It is kept in the registry as an object because the simulator makes the per-session collectors itself, by
// reflection, and this is where they can find it.
type journal struct {
	mu       sync.Mutex
	readers  map[*reader]struct{}
	finished func(task types.ManagedObjectReference) // told of each task that ended
}

// reader is one collector's place in the journal.
type reader struct {
	mu      sync.Mutex
	changed map[types.ManagedObjectReference]struct{}
	shape   bool          // objects came or went, or what a traversal starts from has changed
	wake    chan struct{} // holds one token while there is something to read
}

func newJournal() *journal { return &journal{readers: map[*reader]struct{}{}} }

func (j *journal) Reference() types.ManagedObjectReference { return journalRef }

// open adds a reader, whose first look finds everything changed.
func (j *journal) open() *reader {
	r := &reader{wake: make(chan struct{}, 1)}
	r.note(types.ManagedObjectReference{}, true)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.readers[r] = struct{}{}
	return r
}

func (j *journal) close(r *reader) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.readers, r)
}

// touch says that the object may have changed without the simulator saying so.
func (j *journal) touch(ref types.ManagedObjectReference) { j.note(ref, true) }

func (j *journal) note(ref types.ManagedObjectReference, shape bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for r := range j.readers {
		r.note(ref, shape)
	}
}

func (r *reader) note(ref types.ManagedObjectReference, shape bool) {
	r.mu.Lock()
	if r.changed == nil {
		r.changed = map[types.ManagedObjectReference]struct{}{}
	}
	r.changed[ref] = struct{}{}
	r.shape = r.shape || shape
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns what has changed since the last take.
func (r *reader) take() (changed map[types.ManagedObjectReference]struct{}, shape bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, shape = r.changed, r.shape
	r.changed, r.shape = nil, false
	return changed, shape
}

// PutObject implements simulator.RegisterObject.
func (j *journal) PutObject(_ *simulator.Context, o mo.Reference) { j.note(o.Reference(), true) }

// RemoveObject implements simulator.RegisterObject.
func (j *journal) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	j.note(ref, true)
}

// UpdateObject implements simulator.RegisterObject; the caller holds the object's lock.
func (j *journal) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	task, ok := o.(*mo.Task)
	if !ok {
		ref := o.Reference()
		// Machines and tasks are where traversals end; everything else may be where one starts.
		j.note(ref, ref.Type != "VirtualMachine")
		return
	}
	j.note(task.Self, false)
	for _, change := range changes {
		if change.Name != "info.state" {
			continue
		}
		if task.Info.State == types.TaskInfoStateSuccess || task.Info.State == types.TaskInfoStateError {
			// Some of what a task does is never announced (a folder's children, a machine's parent).
			j.note(*task.Info.Entity, true)
			if j.finished != nil {
				j.finished(task.Self)
			}
		}
	}
}
