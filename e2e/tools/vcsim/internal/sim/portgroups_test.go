package sim

import (
	"fmt"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (v *vcenter) portGroup(path string) (*object.DistributedVirtualPortgroup, mo.DistributedVirtualPortgroup) {
	v.t.Helper()
	network, err := find.NewFinder(v.client).Network(v.t.Context(), path)
	v.must(err)
	group := network.(*object.DistributedVirtualPortgroup)
	var has mo.DistributedVirtualPortgroup
	v.must(group.Properties(v.t.Context(), group.Reference(), []string{"name", "config"}, &has))
	return group, has
}

func vlan(spec types.BaseVmwareDistributedVirtualSwitchVlanSpec) types.BaseDVPortSetting {
	return &types.VMwareDVSPortSetting{Vlan: spec}
}

func TestPortGroupsThroughTheAPI(t *testing.T) {
	v := start(t, func(c *Config) { c.Switch = true })
	network, err := find.NewFinder(v.client).Network(t.Context(), "/DC0/network/DVS0")
	v.must(err)
	vswitch := network.(*object.DistributedVirtualSwitch)
	add := func(spec types.DVPortgroupConfigSpec) error {
		return v.waitFor(vswitch.AddPortgroup(t.Context(), []types.DVPortgroupConfigSpec{spec}))
	}
	ranges := &types.VmwareDistributedVirtualSwitchTrunkVlanSpec{VlanId: []types.NumericRange{{Start: 1, End: 20}}}
	v.must(add(types.DVPortgroupConfigSpec{
		Name: "a/b", Type: "ephemeral", Description: "of a test", DefaultPortConfig: vlan(ranges),
	}))
	seen := func() string {
		for _, g := range v.inventory.portGroups() {
			if g.Name != "DC0_DVPG0" {
				return fmt.Sprintf("%s %d %v %s %q %d", g.Name, g.VLAN, g.Trunk, g.Binding, g.Description, g.Ports)
			}
		}
		return ""
	}
	is := func(want string) {
		t.Helper()
		if got := seen(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	is(`a/b 0 [1-20] ephemeral "of a test" 0`)
	if err := add(types.DVPortgroupConfigSpec{Name: "a/b"}); !isFault[*types.DuplicateName](err) {
		t.Errorf("two of one name: %v", err)
	}
	high := vlan(&types.VmwareDistributedVirtualSwitchVlanIdSpec{VlanId: 4095})
	if err := add(types.DVPortgroupConfigSpec{Name: "high", DefaultPortConfig: high}); !isFault[*types.InvalidArgument](err) {
		t.Errorf("VLAN 4095: %v", err)
	}

	group, has := v.portGroup("/DC0/network/a%2fb")
	change := func(spec types.DVPortgroupConfigSpec) error {
		return v.waitFor(group.Reconfigure(t.Context(), spec))
	}
	version := has.Config.ConfigVersion
	if err := change(types.DVPortgroupConfigSpec{Description: "x"}); !isFault[*types.InvalidArgument](err) {
		t.Errorf("without a version: %v", err)
	}
	v.must(change(types.DVPortgroupConfigSpec{ConfigVersion: version, NumPorts: 4}))
	is(`a/b 0 [1-20] ephemeral "of a test" 4`)
	if err := change(types.DVPortgroupConfigSpec{ConfigVersion: version, NumPorts: 5}); !isFault[*types.ConcurrentAccess](err) {
		t.Errorf("with an old version: %v", err)
	}
	_, has = v.portGroup("/DC0/network/a%2fb")
	version = has.Config.ConfigVersion
	if err := change(types.DVPortgroupConfigSpec{ConfigVersion: version, DefaultPortConfig: high}); !isFault[*types.InvalidArgument](err) {
		t.Errorf("VLAN 4095: %v", err)
	}
	seven := vlan(&types.VmwareDistributedVirtualSwitchVlanIdSpec{VlanId: 7})
	v.must(change(types.DVPortgroupConfigSpec{ConfigVersion: version, Name: "c", DefaultPortConfig: seven}))
	is(`c 7 [] ephemeral "of a test" 4`)

	v.inTask(group.Rename(t.Context(), "d"))
	is(`d 7 [] ephemeral "of a test" 4`)
	v.inTask(group.Rename(t.Context(), "c"))
	v.must(v.inventory.describePortGroup("/DC0/network/c", "of others"))
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "user"}}))
	v.must(v.inventory.attach("/DC0/network/c", root+"/user", true))
	if err := v.waitFor(group.Destroy(t.Context())); !isFault[*types.ResourceInUse](err) {
		t.Errorf("with a machine: %v", err)
	}
	is(`c 7 [] ephemeral "of others" 4`)
	v.must(v.inventory.attach("/DC0/network/c", root+"/user", false))
	v.must(v.waitFor(group.Destroy(t.Context())))
	if seen() != "" {
		t.Error("it was not removed")
	}
	hosts, err := find.NewFinder(v.client).HostSystemList(t.Context(), "*")
	v.must(err)
	for _, host := range hosts {
		var has mo.HostSystem
		v.must(host.Properties(t.Context(), host.Reference(), []string{"network"}, &has))
		for _, network := range has.Network {
			if network == group.Reference() {
				t.Error("the host still has it")
			}
		}
	}
	if err := v.waitFor(group.Destroy(t.Context())); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("removed twice: %v", err)
	}
}
