package sim

import (
	"maps"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

var journalRef = types.ManagedObjectReference{Type: "Journal", Value: "journal"}

// journal receives every change in the simulator's registry and notes for each collector which objects to read again.
// It carries no values: the collectors read them under the objects' own locks.
//
// It is registered as an object because the simulator creates the collectors of a session itself, by reflection, and
// they find it in the registry.
type journal struct {
	mo.ExtensibleManagedObject // searches of the simulator look for such a first field in every object

	mu       sync.Mutex
	readers  map[*reader]struct{}
	lost     map[types.ManagedObjectReference]struct{} // objects whose changes no wait reports
	finished func(task types.ManagedObjectReference)   // called for each task that has ended
	pace     pace
}

// reader is the position of one collector in the journal.
type reader struct {
	mu      sync.Mutex
	changed refSet
	shape   bool          // objects came or went, or a property that leads to other objects has changed
	wake    chan struct{} // holds one token while there is something to read
}

func newJournal() *journal {
	return &journal{readers: map[*reader]struct{}{}, lost: map[types.ManagedObjectReference]struct{}{}}
}

func (j *journal) Reference() types.ManagedObjectReference { return journalRef }

// open adds a reader.
func (j *journal) open() *reader {
	r := &reader{wake: make(chan struct{}, 1)}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.readers[r] = struct{}{}
	return r
}

// close removes a reader.
func (j *journal) close(r *reader) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.readers, r)
}

// touch notes a change of the object that the simulator does not announce.
func (j *journal) touch(ref types.ManagedObjectReference) { j.note(true, ref) }

// note notes a change of the objects for all readers.
func (j *journal) note(shape bool, refs ...types.ManagedObjectReference) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for r := range j.readers {
		r.note(shape, refs...)
	}
}

// lose makes the waits of all collectors miss the changes of the object, its removal included, until restore.
func (j *journal) lose(ref types.ManagedObjectReference) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost[ref] = struct{}{}
}

// restore makes the waits report all objects again, beginning with what they have missed.
func (j *journal) restore() {
	j.mu.Lock()
	lost := j.lost
	j.lost = map[types.ManagedObjectReference]struct{}{}
	j.mu.Unlock()
	for ref := range lost {
		j.touch(ref)
	}
}

// lostObjects returns the objects whose changes waits miss.
func (j *journal) lostObjects() map[types.ManagedObjectReference]struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.lost)
}

// note notes a change of the objects.
func (r *reader) note(shape bool, refs ...types.ManagedObjectReference) {
	r.mu.Lock()
	for _, ref := range refs {
		r.changed.add(ref)
	}
	r.shape = r.shape || shape
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns what has changed since the last take.
func (r *reader) take() (changed refSet, shape bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, shape = r.changed, r.shape
	r.changed, r.shape = refSet{}, false
	return changed, shape
}

// PutObject implements simulator.RegisterObject. Its parent has changed too, which the simulator does not announce.
func (j *journal) PutObject(_ *simulator.Context, o mo.Reference) {
	if entity, ok := o.(mo.Entity); ok && entity.Entity().Parent != nil {
		j.note(true, o.Reference(), *entity.Entity().Parent)
	} else {
		j.note(true, o.Reference())
	}
}

// RemoveObject implements simulator.RegisterObject. The parent still lists the object: who removes it notes the parent
// afterwards.
func (j *journal) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	j.note(true, ref)
}

// UpdateObject implements simulator.RegisterObject; the caller holds the object's lock.
func (j *journal) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	task, ok := o.(*mo.Task)
	if !ok {
		ref := o.Reference()
		// Traversals end at machines and tasks; any other object may lead to more.
		j.note(ref.Type != "VirtualMachine", ref)
		return
	}
	j.note(false, task.Self)
	for _, change := range changes {
		if change.Name != "info.state" {
			continue
		}
		if task.Info.State == types.TaskInfoStateSuccess || task.Info.State == types.TaskInfoStateError {
			// The simulator does not announce all that a task changes.
			j.note(true, *task.Info.Entity)
			if j.finished != nil {
				j.finished(task.Self)
			}
		}
	}
}

// refSet is a set of references in the order in which they were first added. The zero value is empty.
type refSet struct {
	list []types.ManagedObjectReference
	in   map[types.ManagedObjectReference]struct{}
}

func (s *refSet) has(ref types.ManagedObjectReference) bool {
	_, ok := s.in[ref]
	return ok
}

func (s *refSet) add(ref types.ManagedObjectReference) {
	if s.has(ref) {
		return
	}
	if s.in == nil {
		s.in = map[types.ManagedObjectReference]struct{}{}
	}
	s.in[ref] = struct{}{}
	s.list = append(s.list, ref)
}

// pop removes the first reference.
func (s *refSet) pop() {
	delete(s.in, s.list[0])
	if s.list = s.list[1:]; len(s.list) == 0 {
		*s = refSet{} // releases the memory of a burst
	}
}
