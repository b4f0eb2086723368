package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// PortGroup is a distributed port group as tests see it.
type PortGroup struct {
	MoRef string `json:"moref"`
	// Name is unescaped; in Path it is escaped, as in the inventory.
	Name string `json:"name"`
	Path string `json:"path"`
	// Switch is the inventory path of its switch.
	Switch string `json:"switch"`
	// VLAN is 0 for untagged traffic and for trunks.
	VLAN        int32    `json:"vlan"`
	Trunk       []string `json:"trunk"` // ranges: 1-20
	Ports       int32    `json:"ports"`
	Binding     string   `json:"binding"`
	AutoExpand  bool     `json:"autoExpand"`
	Description string   `json:"description"`
	Hosts       []string `json:"hosts"` // managed objects' values
}

// portGroups returns the distributed port groups sorted by path, without the switches' uplink port groups, to which
// no machine is attached.
func (i *inventory) portGroups() []PortGroup {
	groups := []PortGroup{}
	ctx := outside(i.registry)
	for _, ref := range i.registry.AllReference("DistributedVirtualPortgroup") {
		group, ok := ref.(*simulator.DistributedVirtualPortgroup)
		if !ok {
			continue
		}
		seen := PortGroup{MoRef: group.Self.Value, Hosts: []string{}, Trunk: []string{}}
		var vswitch *types.ManagedObjectReference
		ctx.WithLock(group.Self, func() {
			seen.Name = unescape(group.Name)
			vswitch = group.Config.DistributedVirtualSwitch
			seen.Ports, seen.Binding, seen.Description = group.Config.NumPorts, group.Config.Type, group.Config.Description
			seen.AutoExpand = group.Config.AutoExpand != nil && *group.Config.AutoExpand
			if ports, ok := group.Config.DefaultPortConfig.(*types.VMwareDVSPortSetting); ok {
				switch vlan := ports.Vlan.(type) {
				case *types.VmwareDistributedVirtualSwitchVlanIdSpec:
					seen.VLAN = vlan.VlanId
				case *types.VmwareDistributedVirtualSwitchTrunkVlanSpec:
					for _, r := range vlan.VlanId {
						seen.Trunk = append(seen.Trunk, fmt.Sprintf("%d-%d", r.Start, r.End))
					}
				}
			}
			for _, host := range group.Host {
				seen.Hosts = append(seen.Hosts, host.Value)
			}
		})
		if vswitch == nil {
			continue // under creation
		}
		seen.Path, seen.Switch = pathOf(i.registry, group.Self), pathOf(i.registry, *vswitch)
		if strings.HasPrefix(seen.Path, seen.Switch+"-DVUplinks") || i.registry.Get(group.Self) == nil {
			continue
		}
		groups = append(groups, seen)
	}
	slices.SortFunc(groups, func(a, b PortGroup) int { return strings.Compare(a.Path, b.Path) })
	return groups
}

// addPortGroup adds a port group to a switch.
func (i *inventory) addPortGroup(switchPath, name string, vlan int32) error {
	ref, err := i.find("DistributedVirtualSwitch", switchPath)
	if err != nil {
		return err
	}
	vswitch := i.registry.Get(ref).(*simulator.DistributedVirtualSwitch)
	spec := types.DVPortgroupConfigSpec{
		Name: escape(name),
		Type: string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding),
		DefaultPortConfig: &types.VMwareDVSPortSetting{
			Vlan: &types.VmwareDistributedVirtualSwitchVlanIdSpec{VlanId: vlan},
		},
	}
	return i.inTree("add port group "+name, func() types.BaseMethodFault {
		return i.overrides.change(ref, func(ctx *simulator.Context) {
			vswitch.AddDVPortgroupTask(ctx, &types.AddDVPortgroup_Task{This: ref, Spec: []types.DVPortgroupConfigSpec{spec}})
		})
	})
}

// removePortGroup removes a port group.
func (i *inventory) removePortGroup(inventoryPath string) error {
	ref, err := i.find("DistributedVirtualPortgroup", inventoryPath)
	if err != nil {
		return err
	}
	return i.inTree("remove "+inventoryPath, func() types.BaseMethodFault { return i.overrides.removePortGroup(ref) })
}

// describePortGroup changes the description of a port group, as an administrator does.
func (i *inventory) describePortGroup(inventoryPath, description string) error {
	ref, err := i.find("DistributedVirtualPortgroup", inventoryPath)
	if err != nil {
		return err
	}
	group := i.registry.Get(ref).(*simulator.DistributedVirtualPortgroup)
	return i.inTree("describe "+inventoryPath, func() types.BaseMethodFault {
		var version string
		outside(i.registry).WithLock(ref, func() { version = group.Config.ConfigVersion })
		spec := &types.DVPortgroupConfigSpec{ConfigVersion: version, Description: description}
		return i.overrides.reconfigurePortGroup(group, spec)
	})
}

// attach attaches a machine to a port group, or detaches it.
func (i *inventory) attach(inventoryPath, vmPath string, on bool) error {
	ref, err := i.find("DistributedVirtualPortgroup", inventoryPath)
	if err != nil {
		return err
	}
	vm, err := i.find("VirtualMachine", vmPath)
	if err != nil {
		return err
	}
	group := i.registry.Get(ref).(*simulator.DistributedVirtualPortgroup)
	machine := i.registry.Get(vm).(*simulator.VirtualMachine)
	change := func(list *[]types.ManagedObjectReference, ref types.ManagedObjectReference) {
		simulator.RemoveReference(list, ref)
		if on {
			*list = append(*list, ref)
		}
	}
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	ctx.WithLock(ref, func() { change(&group.Vm, vm) })
	ctx.WithLock(vm, func() { change(&machine.Network, ref) })
	i.journal.touch(ref)
	i.journal.touch(vm)
	return nil
}

// inTree makes a change with the tree locked.
func (i *inventory) inTree(what string, change func() types.BaseMethodFault) error {
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	if fault := change(); fault != nil {
		return fmt.Errorf("%s: %T", what, fault)
	}
	return nil
}

// inStep runs one of the simulator's own tasks, hidden from the API, with its entity locked.
func (i *inventory) inStep(ref types.ManagedObjectReference, what string, start func(*simulator.Context)) error {
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	var fault types.BaseMethodFault
	ctx.WithLock(ref, func() {
		_, fault = i.overrides.tasks.step(ctx, ref, func() { start(ctx) })
	})
	i.journal.touch(ref)
	if fault != nil {
		return fmt.Errorf("%s: %T", what, fault)
	}
	return nil
}
