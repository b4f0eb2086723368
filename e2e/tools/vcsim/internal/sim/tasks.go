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

// recentTasks is the number of tasks that vCenter lists; running tasks are listed beyond it.
const recentTasks = 200

// tasks maintains TaskManager.recentTask as vCenter does: all tasks that run, and the latest of those that ended. The
// simulator's own list drops running tasks in a burst, and shows the steps that a task consists of as tasks.
type tasks struct {
	manager *simulator.TaskManager
	user    string       // who starts tasks through the API: the one account that can log in
	offset  atomic.Int64 // time.Duration that the vCenter's clock is ahead
	last    atomic.Int64

	mu       sync.Mutex
	recent   []types.ManagedObjectReference
	finished map[types.ManagedObjectReference]bool
	steps    map[types.ManagedObjectReference]chan types.ManagedObjectReference // by entity: receives the task of a step
	waiting  map[types.ManagedObjectReference]chan struct{}                     // by task of a step: closed when it ends
}

// job is a task to start.
type job struct {
	entity types.ManagedObjectReference
	method string
	user   string // empty for the account that can log in
	delay  time.Duration
	run    func() (types.AnyType, types.BaseMethodFault) // called after the delay, without any lock
}

func newTasks(manager *simulator.TaskManager, user string, offset time.Duration) *tasks {
	t := &tasks{
		manager:  manager,
		user:     user,
		finished: map[types.ManagedObjectReference]bool{},
		steps:    map[types.ManagedObjectReference]chan types.ManagedObjectReference{},
		waiting:  map[types.ManagedObjectReference]chan struct{}{},
	}
	t.offset.Store(int64(offset))
	return t
}

// Reference returns the reference of the TaskManager, so that registering this handler replaces the simulator's.
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
		return // a step of destroying a machine: it deletes the machine's files
	}
	// No collector reads the task before it is listed.
	t.shift(&task.Info.QueueTime)
	t.shift(task.Info.StartTime)
	if reason, ok := task.Info.Reason.(*types.TaskReasonUser); ok && reason.UserName == "vcsim" {
		task.Info.Reason = &types.TaskReasonUser{UserName: t.user}
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

// UpdateObject implements simulator.RegisterObject; the caller holds the task's lock. The journal reports the end of a
// task, see done.
func (t *tasks) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	task, ok := o.(*mo.Task)
	if !ok {
		return
	}
	for _, change := range changes {
		switch change.Name {
		case "info.startTime":
			t.shift(task.Info.StartTime)
		case "info.completeTime":
			t.shift(task.Info.CompleteTime)
		}
	}
}

// shift changes a time of this machine's clock to that of the vCenter's clock.
func (t *tasks) shift(at *time.Time) {
	if at != nil {
		*at = at.Add(time.Duration(t.offset.Load()))
	}
}

// RemoveObject implements simulator.RegisterObject.
func (t *tasks) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// done records that a task has ended.
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

// start starts a task and returns at once. Unlike the simulator's own tasks it holds no lock while it waits or works.
func (t *tasks) start(registry *simulator.Registry, j job) types.ManagedObjectReference {
	task := simulator.CreateTask(j.entity, j.method, nil)
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-s%d", t.last.Add(1))}
	task.Info.Key, task.Info.Task = task.Self.Value, task.Self
	task.Info.Name = j.method
	task.Info.DescriptionId = j.entity.Type + "." + describe(j.method)
	if j.user == "" {
		j.user = t.user
	}
	task.Info.Reason = &types.TaskReasonUser{UserName: j.user}
	now := time.Now()
	task.Info.State, task.Info.StartTime = types.TaskInfoStateRunning, &now

	inside := outside(registry)
	registry.Put(task)
	go func() {
		time.Sleep(j.delay)
		result, fault := j.run()
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

// describe returns the method's part of a task's description id: clone for CloneVM_Task.
func describe(method string) string {
	name := strings.TrimSuffix(strings.TrimSuffix(method, "_Task"), "VM")
	return strings.ToLower(name[:1]) + name[1:]
}

// step runs one of the simulator's own tasks as a hidden part of another task and returns its outcome. The caller
// holds the entity's lock on behalf of ctx, so that no other task of the entity can start.
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
