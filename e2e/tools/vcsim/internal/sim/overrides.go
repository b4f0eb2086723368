package sim

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

var overridesRef = types.ManagedObjectReference{Type: "Overrides", Value: "overrides"}

// overrides implements the methods in which govmomi's simulator differs from a vCenter in a way that an operator
// can observe:
//
//   - CloneVM_Task honours powerOn, copies extraConfig, enforces unique names under concurrency, and clones of one
//     template do not queue; a clone becomes visible when it is complete, not half configured;
//   - Destroy_Task of a folder also destroys its machines, UnregisterAndDestroy_Task exists and unregisters them, and
//     both fail while one of them is powered on;
//   - a machine that is not connected can only be unregistered;
//   - CurrentTime is the time of the vCenter's clock, which can be wrong;
//   - names are escaped once, whether the caller escaped them or not;
//   - a port group has a configVersion, which ReconfigureDVPortgroup_Task checks; what its spec omits stays, and its name
//     renames; Destroy_Task fails while a machine is attached, and leaves no reference to it; no VLAN is above 4094: code that
//     relied on the simulator's own answers would overwrite others' changes and remove what is in use;
//   - searches for machines respect their datacenter;
//   - accounts see only their machines, and lack privileges;
//   - views and collectors notice that a machine or a folder was moved.
//
// It also serialises everything that adds, moves or removes machines and folders: views walk the tree without locks,
// and a concurrent write to a list of children would crash the process.
//
// It is registered under its own reference; redirect sends the calls to it.
type overrides struct {
	mo.ExtensibleManagedObject // searches of the simulator look for such a first field in every object

	registry *simulator.Registry
	tasks    *tasks
	journal  *journal
	accounts *accounts
	history  history
	clones   atomic.Int64 // numbers the directories of machines

	cloneTime    atomic.Int64 // time.Duration of a clone task
	ignorePower  bool         // a clone is always powered off, as in govmomi's simulator
	appearsEarly bool         // the machine exists, powered off, from the start of its clone task

	tree sync.Mutex // guards parents and lists of children; taken before the lock of any object

	mu         sync.Mutex
	creating   map[types.ManagedObjectReference]*creation // by folder
	unreadable map[types.ManagedObjectReference]struct{}  // the machines whose config collectors do not show
}

func newOverrides(registry *simulator.Registry, tasks *tasks, journal *journal) *overrides {
	return &overrides{
		registry:   registry,
		tasks:      tasks,
		journal:    journal,
		accounts:   newAccounts(),
		creating:   map[types.ManagedObjectReference]*creation{},
		unreadable: map[types.ManagedObjectReference]struct{}{},
	}
}

func (o *overrides) Reference() types.ManagedObjectReference { return overridesRef }

// Lock and Unlock opt out of the simulator's lock per object: calls must not queue here.
func (o *overrides) Lock()   {}
func (o *overrides) Unlock() {}

// redirect is the registry's hook, called before each method.
func (o *overrides) redirect(method *simulator.Method) {
	if isMachineSearch(method.Body) {
		method.This = overridesRef
		return
	}
	switch body := method.Body.(type) {
	case *types.CloneVM_Task:
		method.This = overridesRef
	case *types.Destroy_Task:
		switch method.This.Type {
		case "Folder", "VirtualMachine", "DistributedVirtualPortgroup":
			method.This = overridesRef
		}
	case *types.AddDVPortgroup_Task, *types.ReconfigureDVPortgroup_Task:
		method.This = overridesRef
	case *types.UnregisterAndDestroy_Task, *types.UnregisterVM:
		method.This = overridesRef
	case *types.CreateFolder:
		body.Name = unescape(body.Name) // the simulator escapes it again
		method.This = overridesRef
	case *types.Rename_Task:
		body.NewName = escape(body.NewName)
		if method.This.Type == "DistributedVirtualPortgroup" {
			method.This = overridesRef
		}
	case *types.MoveIntoFolder_Task:
		if movable(body.List) {
			method.This = overridesRef
		}
	case *types.CurrentTime, *types.HasPrivilegeOnEntities, *types.HasUserPrivilegeOnEntities, *types.FetchUserPrivilegeOnEntities:
		method.This = overridesRef
	case *types.CreateContainerView:
		method.This = overridesRef
	}
}

// CreateFolder creates a folder.
func (o *overrides) CreateFolder(ctx *simulator.Context, req *types.CreateFolder) (body soap.HasFault) {
	o.tree.Lock()
	defer o.tree.Unlock()
	ctx.WithLock(req.This, func() {
		if folder, ok := o.registry.Get(req.This).(*simulator.Folder); ok {
			body = folder.CreateFolder(ctx, req)
		} else {
			body = &methods.CreateFolderBody{Fault_: missing(req.This)}
		}
	})
	return body
}

// CurrentTime returns the time of the vCenter's clock.
func (o *overrides) CurrentTime(*simulator.Context, *types.CurrentTime) soap.HasFault {
	now := time.Now()
	o.tasks.shift(&now)
	return &methods.CurrentTimeBody{Res: &types.CurrentTimeResponse{Returnval: now}}
}

// missing returns the fault for an object that does not exist.
func missing(ref types.ManagedObjectReference) *soap.Fault {
	return simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
}

// PutObject implements simulator.RegisterObject: it locks a machine under creation as soon as it is registered.
func (o *overrides) PutObject(_ *simulator.Context, obj mo.Reference) {
	vm, ok := obj.(*simulator.VirtualMachine)
	if !ok {
		return
	}
	o.mu.Lock()
	made := o.creating[*vm.Parent]
	delete(o.creating, *vm.Parent)
	o.mu.Unlock()
	if made != nil {
		made.unlock = o.registry.AcquireLock(made.ctx, vm.Self)
	}
}

// UpdateObject implements simulator.RegisterObject: it records that a machine was powered on or off, renamed or reconfigured. The
// caller holds the machine's lock, so its folders cannot be read here.
func (o *overrides) UpdateObject(_ *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	vm, ok := obj.(*mo.VirtualMachine)
	if !ok {
		return
	}
	for _, change := range changes {
		event := Event{MoRef: vm.Self.Value}
		switch change.Name {
		case "runtime.powerState":
			event.What = PoweredOff
			if change.Val == types.VirtualMachinePowerStatePoweredOn {
				event.What = PoweredOn
			}
		case "name":
			event.What = Renamed
		case "config.changeVersion", "config.template":
			event.What = Reconfigured
		default:
			continue
		}
		if event.What == Renamed || event.What == Reconfigured {
			if !o.history.isMade(event.MoRef) {
				continue
			}
		}
		event.ExtraConfig = texts(vm.Config.ExtraConfig)
		o.history.add(event)
	}
}

// RemoveObject implements simulator.RegisterObject.
func (o *overrides) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}
