package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// PortGroup is a distributed port group as a test wants to see it.
type PortGroup struct {
	MoRef string `json:"moref"`
	// Name is as a person typed it; Path has it escaped, as the inventory has.
	Name string `json:"name"`
	Path string `json:"path"`
	// Switch is its switch's path.
	Switch string `json:"switch"`
	// VLAN is 0 for untagged traffic and for trunks.
	VLAN  int32    `json:"vlan"`
	Hosts []string `json:"hosts"` // managed objects' values
}

// portGroups are the distributed port groups by path, without those of the switches' uplinks: nobody attaches to them.
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
			continue // being made
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

// inStep carries out one of the simulator's own tasks, shown to nobody, with its entity locked.
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
