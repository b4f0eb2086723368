package sim

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// recentTasks is how many finished tasks vCenter lists.
const recentTasks = 200

// tasks keeps TaskManager.recentTask as vCenter does: all that run, and the latest of those that ended. The
// simulator's own list drops running tasks in a burst and shows the steps a task is made of as tasks of their own.
type tasks struct {
	manager *simulator.TaskManager
	last    atomic.Int64

	mu       sync.Mutex
	recent   []types.ManagedObjectReference
	finished map[types.ManagedObjectReference]bool
	steps    map[types.ManagedObjectReference]chan types.ManagedObjectReference // by entity: who waits for a step's task
	waiting  map[types.ManagedObjectReference]chan struct{}                     // by task: closed when it ends
}

func newTasks(manager *simulator.TaskManager) *tasks {
	return &tasks{
		manager:  manager,
		finished: map[types.ManagedObjectReference]bool{},
		steps:    map[types.ManagedObjectReference]chan types.ManagedObjectReference{},
		waiting:  map[types.ManagedObjectReference]chan struct{}{},
	}
}

// Reference is the TaskManager's, so that registering this handler replaces the simulator's.
func (t *tasks) Reference() types.ManagedObjectReference { return t.manager.Self }

// PutObject implements simulator.RegisterObject.
func (t *tasks) PutObject(ctx *simulator.Context, o mo.Reference) {
	task, ok := o.(*simulator.Task)
	if !ok {
		return
	}
	entity := *task.Info.Entity
	t.mu.Lock()
	defer t.mu.Unlock()
	if step := t.steps[entity]; step != nil {
		t.waiting[task.Self] = make(chan struct{})
		step <- task.Self
		return
	}
	if entity.Type == "FileManager" {
		return // destroying a machine deletes its files: no task of anybody's
	}
	t.recent = append(t.recent, task.Self)
	for i := 0; len(t.recent) > recentTasks && i < len(t.recent); {
		if ref := t.recent[i]; t.finished[ref] {
			delete(t.finished, ref)
			t.recent = append(t.recent[:i:i], t.recent[i+1:]...)
		} else {
			i++
		}
	}
	listed := append([]types.ManagedObjectReference(nil), t.recent...)
	ctx.WithLock(t.manager, func() {
		ctx.Update(t.manager, []types.PropertyChange{{Name: "recentTask", Val: listed}})
	})
}

// UpdateObject implements simulator.RegisterObject; the journal's finished is what counts here.
func (t *tasks) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject implements simulator.RegisterObject.
func (t *tasks) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

func (t *tasks) done(task types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := t.waiting[task]; wait != nil {
		close(wait)
		delete(t.waiting, task)
		return
	}
	t.finished[task] = true
}

// run starts a task on the entity and returns at once. Unlike the simulator's own it holds no lock while it sleeps
// or works: work takes those it needs.
func (t *tasks) run(registry *simulator.Registry, entity types.ManagedObjectReference, method string, delay time.Duration,
	work func() (types.AnyType, types.BaseMethodFault)) types.ManagedObjectReference {
	task := simulator.CreateTask(entity, method, nil)
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-s%d", t.last.Add(1))}
	task.Info.Key, task.Info.Task = task.Self.Value, task.Self
	task.Info.Name = method
	task.Info.DescriptionId = entity.Type + "." + describe(method)
	now := time.Now()
	task.Info.State, task.Info.StartTime = types.TaskInfoStateRunning, &now

	inside := outside(registry)
	registry.Put(task)
	go func() {
		time.Sleep(delay)
		result, fault := work()
		changes := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
		if fault == nil {
			changes = append(changes,
				types.PropertyChange{Name: "info.result", Val: result},
				types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
		} else {
			changes = append(changes,
				types.PropertyChange{Name: "info.error", Val: types.LocalizedMethodFault{Fault: fault}},
				types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
		}
		registry.AtomicUpdate(inside, task, changes)
	}()
	return task.Self
}

// describe turns a method into its part of a task's description id: CloneVM_Task into clone.
func describe(method string) string {
	name := strings.TrimSuffix(strings.TrimSuffix(method, "_Task"), "VM")
	return strings.ToLower(name[:1]) + name[1:]
}

// step runs one of the simulator's own tasks as a part of another one, out of sight, and returns its outcome.
// The caller holds the entity's lock on behalf of ctx, so that no one else's task can be taken for it.
func (t *tasks) step(ctx *simulator.Context, entity types.ManagedObjectReference, start func()) (types.AnyType, types.BaseMethodFault) {
	started := make(chan types.ManagedObjectReference, 1)
	t.mu.Lock()
	t.steps[entity] = started
	t.mu.Unlock()
	start()
	t.mu.Lock()
	delete(t.steps, entity)
	t.mu.Unlock()
	var ref types.ManagedObjectReference
	select {
	case ref = <-started:
	default:
		return nil, new(types.InvalidRequest) // refused before there was a task
	}
	t.mu.Lock()
	wait := t.waiting[ref]
	t.mu.Unlock()
	if wait != nil {
		<-wait
	}
	task := ctx.Map.Get(ref).(*simulator.Task)
	var info types.TaskInfo
	ctx.WithLock(ref, func() { info = task.Info })
	if info.Error != nil {
		return nil, info.Error.Fault
	}
	return info.Result, nil
}
