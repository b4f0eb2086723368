package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Options are what the simulated vCenter starts with.
type Options struct {
	Datacenters int
	Clusters    int
	Hosts       int // per cluster
	Templates   []string
	// Switch makes a distributed switch DVS0 in each datacenter, with all its hosts and one port group, DC0_DVPG0.
	Switch bool
	// RootFolder is made in each datacenter's vm folder unless empty.
	RootFolder string
	Dir        string // for the datastores' files
}

// build makes the inventory. Names are DC0, DC0_C0, DC0_C0_H0, LocalDS_0; templates are in the vm folders.
func build(options Options) (*simulator.Model, error) {
	if options.Dir != "" {
		// The simulator makes its datastores in the temporary directory.
		if err := os.Setenv("TMPDIR", options.Dir); err != nil {
			return nil, err
		}
	}
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.ClusterHost = options.Datacenters, options.Clusters, options.Hosts
	model.Host, model.Machine, model.Portgroup = 0, 0, 0
	if options.Switch {
		model.Portgroup = 1
	}
	if err := model.Create(); err != nil {
		return nil, err
	}
	return model, nil
}

// outside is a context for a look or a change from behind the API's back.
func outside(registry *simulator.Registry) *simulator.Context {
	return &simulator.Context{
		Context: context.Background(),
		Map:     registry,
		Session: &simulator.Session{Registry: simulator.NewRegistry(), Map: registry},
	}
}

// inventory shows the inventory and changes it without going through the API: no call is counted, no session needed.
type inventory struct {
	registry  *simulator.Registry
	overrides *overrides
	journal   *journal
}

// VM is a virtual machine as a test wants to see it.
type VM struct {
	MoRef string `json:"moref"`
	// Name is as a person typed it, with nothing escaped.
	Name string `json:"name"`
	// Folder and Path are inventory paths; `%`, `/` and `\` in names are escaped in them.
	Folder       string            `json:"folder"`
	Path         string            `json:"path"`
	Power        string            `json:"power"`
	InstanceUUID string            `json:"instanceUuid"`
	UUID         string            `json:"uuid"`
	CPU          int32             `json:"cpu"`
	MemoryMB     int32             `json:"memoryMb"`
	ExtraConfig  map[string]string `json:"extraConfig"`
	Template     bool              `json:"template"`
}

// populate adds the root folder and the templates.
func (i *inventory) populate(options Options) error {
	for _, dc := range i.registry.All("Datacenter") {
		base := "/" + dc.Entity().Name + "/vm"
		if options.RootFolder != "" {
			if err := i.createFolder(base, options.RootFolder); err != nil {
				return err
			}
		}
		for _, name := range options.Templates {
			ref, err := i.addVM(base, name, "")
			if err != nil {
				return err
			}
			ctx := outside(i.registry)
			ctx.WithLock(ref, func() {
				res := i.registry.Get(ref).(*simulator.VirtualMachine).MarkAsTemplate(&types.MarkAsTemplate{This: ref})
				if f := res.Fault(); f != nil {
					err = fmt.Errorf("mark %s as a template: %T", name, f.VimFault())
				}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// pathOf walks up to the root; "" if the entity hangs in the air, as after its folder was destroyed.
func (i *inventory) pathOf(ref types.ManagedObjectReference) string {
	ctx := outside(i.registry)
	var names []string
	for {
		entity, ok := i.registry.Get(ref).(mo.Entity)
		if !ok {
			return ""
		}
		var parent *types.ManagedObjectReference
		var name string
		ctx.WithLock(ref, func() { parent, name = entity.Entity().Parent, entity.Entity().Name })
		if parent == nil {
			break
		}
		names = append(names, name)
		ref = *parent
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

func (i *inventory) vms() []VM {
	vms := []VM{}
	ctx := outside(i.registry)
	folders := map[types.ManagedObjectReference]string{}
	for _, ref := range i.registry.AllReference("VirtualMachine") {
		vm, ok := ref.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		var parent types.ManagedObjectReference
		var seen VM
		ctx.WithLock(vm.Self, func() {
			parent = *vm.Parent
			seen = VM{
				MoRef:        vm.Self.Value,
				Name:         unescape(vm.Name),
				Path:         vm.Name,
				Power:        string(vm.Runtime.PowerState),
				InstanceUUID: vm.Config.InstanceUuid,
				UUID:         vm.Config.Uuid,
				CPU:          vm.Config.Hardware.NumCPU,
				MemoryMB:     vm.Config.Hardware.MemoryMB,
				Template:     vm.Config.Template,
				ExtraConfig:  map[string]string{},
			}
			for _, option := range vm.Config.ExtraConfig {
				seen.ExtraConfig[option.GetOptionValue().Key] = fmt.Sprint(option.GetOptionValue().Value)
			}
		})
		folder, known := folders[parent]
		if !known {
			folder = i.pathOf(parent)
			folders[parent] = folder
		}
		if folder == "" || i.registry.Get(vm.Self) == nil {
			continue
		}
		seen.Folder, seen.Path = folder, folder+"/"+seen.Path
		vms = append(vms, seen)
	}
	slices.SortFunc(vms, func(a, b VM) int { return strings.Compare(a.Path, b.Path) })
	return vms
}

// folders are the inventory paths of the machines' folders, each datacenter's own one included.
func (i *inventory) folders() []string {
	paths := []string{}
	for _, ref := range i.registry.AllReference("Folder") {
		p := i.pathOf(ref.Reference())
		if parts := strings.Split(p, "/"); len(parts) >= 3 && parts[2] == "vm" {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

var errNotFound = errors.New("no such object")

func (i *inventory) find(kind, inventoryPath string) (types.ManagedObjectReference, error) {
	for _, ref := range i.registry.AllReference(kind) {
		if i.pathOf(ref.Reference()) == inventoryPath {
			return ref.Reference(), nil
		}
	}
	return types.ManagedObjectReference{}, fmt.Errorf("%w: %s %s", errNotFound, kind, inventoryPath)
}

func (i *inventory) createFolder(parent, name string) error {
	ref, err := i.find("Folder", parent)
	if err != nil {
		return err
	}
	res := i.overrides.CreateFolder(outside(i.registry), &types.CreateFolder{This: ref, Name: unescape(name)})
	if f := res.Fault(); f != nil {
		err = fmt.Errorf("create folder %s/%s: %T", parent, name, f.VimFault())
	}
	i.journal.touch(ref)
	return err
}

// addVM makes a powered-off machine; an empty instance UUID gives it one of its own.
func (i *inventory) addVM(folder, name, instanceUUID string) (types.ManagedObjectReference, error) {
	none := types.ManagedObjectReference{}
	ref, err := i.find("Folder", folder)
	if err != nil {
		return none, err
	}
	pool, err := i.pool(folder)
	if err != nil {
		return none, err
	}
	directory := fmt.Sprintf("machine-%d", i.overrides.clones.Add(1))
	made, release, fault := i.overrides.create(outside(i.registry), ref, types.VirtualMachineConfigSpec{
		Name:         unescape(name),
		InstanceUuid: instanceUUID,
		GuestId:      string(types.VirtualMachineGuestOsIdentifierOtherGuest),
		NumCPUs:      1,
		MemoryMB:     1024,
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0] " + directory + "/" + directory + ".vmx"},
	}, pool, nil)
	if fault != nil {
		return none, fmt.Errorf("add %s to %s: %T", name, folder, fault)
	}
	release()
	i.journal.touch(made)
	return made, nil
}

// pool is a resource pool of the datacenter that the path is in.
func (i *inventory) pool(inventoryPath string) (types.ManagedObjectReference, error) {
	datacenter := strings.SplitN(inventoryPath, "/", 3)[1]
	for _, ref := range i.registry.AllReference("ResourcePool") {
		if strings.HasPrefix(i.pathOf(ref.Reference()), "/"+datacenter+"/") {
			return ref.Reference(), nil
		}
	}
	return types.ManagedObjectReference{}, fmt.Errorf("%w: resource pool in %s", errNotFound, datacenter)
}

// removeVM removes a machine whatever its power state, in one step.
func (i *inventory) removeVM(inventoryPath string) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		vm.Runtime.PowerState = types.VirtualMachinePowerStatePoweredOff // one that is on would be refused
		if f := vm.UnregisterVM(ctx, &types.UnregisterVM{This: vm.Self}).Fault(); f != nil {
			return fmt.Errorf("remove %s: %T", inventoryPath, f.VimFault())
		}
		return nil
	})
}

func (i *inventory) renameVM(inventoryPath, name string) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		folder := i.registry.Get(*vm.Parent).(*simulator.Folder)
		if other := i.registry.FindByName(escape(name), folder.ChildEntity); other != nil {
			return fmt.Errorf("rename %s: %s is taken", inventoryPath, name)
		}
		ctx.Update(vm, []types.PropertyChange{{Name: "name", Val: escape(name)}})
		return nil
	})
}

func (i *inventory) setPower(inventoryPath string, on bool) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		state := types.VirtualMachinePowerStatePoweredOff
		if on {
			state = types.VirtualMachinePowerStatePoweredOn
		}
		power(ctx, vm, state)
		return nil
	})
}

// change works on a machine with itself and its folder locked, in the order in which the simulator locks them.
func (i *inventory) change(inventoryPath string, work func(*simulator.Context, *simulator.VirtualMachine) error) error {
	ref, err := i.find("VirtualMachine", inventoryPath)
	if err != nil {
		return err
	}
	folder, err := i.find("Folder", path.Dir(inventoryPath))
	if err != nil {
		return err
	}
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	ctx.WithLock(ref, func() {
		ctx.WithLock(folder, func() {
			vm, ok := i.registry.Get(ref).(*simulator.VirtualMachine)
			if !ok {
				err = errNotFound
				return
			}
			err = work(ctx, vm)
		})
	})
	i.journal.touch(ref)
	return err
}
