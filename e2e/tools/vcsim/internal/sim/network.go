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
	VLAN  int32    `json:"vlan"`
	Hosts []string `json:"hosts"` // managed objects' values
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
		seen := PortGroup{MoRef: group.Self.Value, Hosts: []string{}}
		var vswitch *types.ManagedObjectReference
		ctx.WithLock(group.Self, func() {
			seen.Name = unescape(group.Name)
			vswitch = group.Config.DistributedVirtualSwitch
			if ports, ok := group.Config.DefaultPortConfig.(*types.VMwareDVSPortSetting); ok {
				if vlan, ok := ports.Vlan.(*types.VmwareDistributedVirtualSwitchVlanIdSpec); ok {
					seen.VLAN = vlan.VlanId
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
	return i.inStep(ref, "add port group "+name, func(ctx *simulator.Context) {
		vswitch.AddDVPortgroupTask(ctx, &types.AddDVPortgroup_Task{This: ref, Spec: []types.DVPortgroupConfigSpec{spec}})
	})
}

// removePortGroup removes a port group.
func (i *inventory) removePortGroup(inventoryPath string) error {
	ref, err := i.find("DistributedVirtualPortgroup", inventoryPath)
	if err != nil {
		return err
	}
	group := i.registry.Get(ref).(*simulator.DistributedVirtualPortgroup)
	return i.inStep(ref, "remove "+inventoryPath, func(ctx *simulator.Context) {
		group.DestroyTask(ctx, &types.Destroy_Task{This: ref})
	})
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
