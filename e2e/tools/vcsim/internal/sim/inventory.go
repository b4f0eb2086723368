package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Options are what the simulated vCenter starts with.
type Options struct {
	Datacenters int
	Clusters    int
	Hosts       int // per cluster
	Datastores  int // per datacenter, each of all its hosts; 0: 1
	Templates   []string
	// Pools are the names of the resource pools in each cluster's root pool.
	Pools []string
	// Switch adds a distributed switch DVS0 to each datacenter, with all its hosts and one port group, DC0_DVPG0.
	Switch bool
	// RootFolder is created in each datacenter's vm folder unless empty.
	RootFolder string
	Dir        string // for the datastores' files
}

// build creates the inventory. Names are DC0, DC0_C0, DC0_C0_H0, LocalDS_0; templates are in the vm folders.
func build(options Options) (*simulator.Model, error) {
	if options.Dir != "" {
		// The simulator creates its datastores in the temporary directory.
		if err := os.Setenv("TMPDIR", options.Dir); err != nil {
			return nil, err
		}
	}
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.ClusterHost = options.Datacenters, options.Clusters, options.Hosts
	model.Host, model.Machine, model.Portgroup = 0, 0, 0
	model.Datastore = max(options.Datastores, 1)
	if options.Switch {
		model.Portgroup = 1
	}
	if err := model.Create(); err != nil {
		return nil, err
	}
	return model, nil
}

// outside returns a context for reading or changing the inventory without an API session.
func outside(registry *simulator.Registry) *simulator.Context {
	return &simulator.Context{
		Context: context.Background(),
		Map:     registry,
		Session: &simulator.Session{Registry: simulator.NewRegistry(), Map: registry},
	}
}

// inventory reads and changes the inventory without going through the API: no call is counted, no session is needed.
type inventory struct {
	registry  *simulator.Registry
	overrides *overrides
	journal   *journal
}

// VM is a virtual machine as tests see it.
type VM struct {
	MoRef string `json:"moref"`
	// Name is unescaped.
	Name string `json:"name"`
	// Folder and Path are inventory paths; `%`, `/` and `\` in names are escaped in them.
	Folder       string            `json:"folder"`
	Path         string            `json:"path"`
	Power        string            `json:"power"`
	Connection   string            `json:"connection"`
	InstanceUUID string            `json:"instanceUuid"`
	UUID         string            `json:"uuid"`
	CPU          int32             `json:"cpu"`
	MemoryMB     int32             `json:"memoryMb"`
	ExtraConfig  map[string]string `json:"extraConfig"`
	Template     bool              `json:"template"`
	// HostName and Addresses are those of the guest, as VMware Tools report them.
	HostName  string   `json:"hostName"`
	Addresses []string `json:"addresses"`
}

// populate sets what the datastores say, and adds the pools, the root folder and the templates.
func (i *inventory) populate(options Options) error {
	i.shareDatastores()
	for _, ref := range i.registry.AllReference("ResourcePool") {
		for _, name := range options.Pools {
			if err := i.addPool(ref.Reference(), name); err != nil {
				return err
			}
		}
	}
	for _, dc := range i.registry.All("Datacenter") {
		base := "/" + dc.Entity().Name + "/vm"
		if options.RootFolder != "" {
			if err := i.createFolder(base, options.RootFolder); err != nil {
				return err
			}
		}
		for _, name := range options.Templates {
			if err := i.addTemplate(base, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// addTemplate adds a template to a folder.
func (i *inventory) addTemplate(folder, name string) error {
	if err := i.addVMs(folder, []NewVM{{Name: name}}); err != nil {
		return err
	}
	ref, err := i.find("VirtualMachine", folder+"/"+escape(name))
	if err != nil {
		return err
	}
	outside(i.registry).WithLock(ref, func() {
		res := i.registry.Get(ref).(*simulator.VirtualMachine).MarkAsTemplate(&types.MarkAsTemplate{This: ref})
		if f := res.Fault(); f != nil {
			err = fmt.Errorf("mark %s as a template: %T", name, f.VimFault())
		}
	})
	return err
}

// pathOf returns the inventory path of an entity; "" if one of its ancestors no longer exists.
func pathOf(registry *simulator.Registry, ref types.ManagedObjectReference) string {
	ctx := outside(registry)
	var names []string
	for {
		entity, ok := registry.Get(ref).(mo.Entity)
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

// vms returns all machines, templates included, sorted by path.
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
				Connection:   string(vm.Runtime.ConnectionState),
				InstanceUUID: vm.Config.InstanceUuid,
				UUID:         vm.Config.Uuid,
				CPU:          vm.Config.Hardware.NumCPU,
				MemoryMB:     vm.Config.Hardware.MemoryMB,
				Template:     vm.Config.Template,
				ExtraConfig:  texts(vm.Config.ExtraConfig),
				HostName:     vm.Guest.HostName,
				Addresses:    []string{},
			}
			for _, nic := range vm.Guest.Net {
				seen.Addresses = append(seen.Addresses, nic.IpAddress...)
			}
		})
		folder, known := folders[parent]
		if !known {
			folder = pathOf(i.registry, parent)
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

// texts returns the entries of an extraConfig.
func texts(extraConfig []types.BaseOptionValue) map[string]string {
	entries := map[string]string{}
	for _, option := range extraConfig {
		entries[option.GetOptionValue().Key] = fmt.Sprint(option.GetOptionValue().Value)
	}
	return entries
}

// folders returns the inventory paths of all folders for machines, each datacenter's vm folder included.
func (i *inventory) folders() []string {
	paths := []string{}
	for _, ref := range i.registry.AllReference("Folder") {
		p := pathOf(i.registry, ref.Reference())
		if parts := strings.Split(p, "/"); len(parts) >= 3 && parts[2] == "vm" {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

var errNotFound = errors.New("no such object")

// find returns the entity of the given type, or of any type if kind is empty, at the inventory path. It walks down from the root: its cost grows with the
// number of siblings on the way, not with the inventory.
func (i *inventory) find(kind, inventoryPath string) (types.ManagedObjectReference, error) {
	ref := i.registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.RootFolder
	names := strings.Split(strings.Trim(inventoryPath, "/"), "/")
	for n, name := range names {
		childKind := ""
		if n == len(names)-1 {
			childKind = kind
		}
		child := i.child(ref, childKind, name)
		if child == nil {
			return ref, fmt.Errorf("%w: %s %s", errNotFound, kind, inventoryPath)
		}
		ref = *child
	}
	return ref, nil
}

// child returns the child of that name, of any type if kind is empty; nil if there is none.
func (i *inventory) child(parent types.ManagedObjectReference, kind, name string) *types.ManagedObjectReference {
	ctx := outside(i.registry)
	var children []types.ManagedObjectReference
	object := i.registry.Get(parent)
	if object == nil {
		return nil
	}
	ctx.WithLock(parent, func() {
		switch e := object.(type) {
		case *simulator.Datacenter:
			children = []types.ManagedObjectReference{e.VmFolder, e.HostFolder, e.DatastoreFolder, e.NetworkFolder}
		case *simulator.Folder:
			children = append(children, e.ChildEntity...)
		case *simulator.StoragePod:
			children = append(children, e.ChildEntity...)
		case *simulator.ClusterComputeResource:
			children = append(append(children, *e.ResourcePool), e.Host...)
		case *simulator.ResourcePool:
			children = append(children, e.ResourcePool.ResourcePool...)
		}
	})
	for _, ref := range children {
		entity, ok := i.registry.Get(ref).(mo.Entity)
		if !ok || kind != "" && ref.Type != kind {
			continue
		}
		found := false
		ctx.WithLock(ref, func() { found = entity.Entity().Name == name })
		if found {
			return &ref
		}
	}
	return nil
}

// createFolder creates a folder.
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
