package sim

import (
	"fmt"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func TestPortGroups(t *testing.T) {
	v := start(t, func(c *Config) { c.Switch, c.Hosts = true, 2 })
	shown := func() (all []string) {
		for _, group := range v.inventory.portGroups() {
			if group.Switch != "/DC0/network/DVS0" || len(group.Hosts) != 2 {
				t.Errorf("%+v", group)
			}
			all = append(all, fmt.Sprintf("%s=%s vlan %d", group.Path, group.Name, group.VLAN))
		}
		return all
	}
	is := func(want ...string) {
		t.Helper()
		if got := shown(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q, not %q", got, want)
		}
	}
	// One under creation: the simulator lists it before it has a switch.
	v.registry.Put(&simulator.DistributedVirtualPortgroup{})
	is("/DC0/network/DC0_DVPG0=DC0_DVPG0 vlan 0")
	v.rules.resetCounts()
	v.must(v.inventory.addPortGroup("/DC0/network/DVS0", "vip/a", 7))
	is("/DC0/network/DC0_DVPG0=DC0_DVPG0 vlan 0", "/DC0/network/vip%2fa=vip/a vlan 7")
	if v.inventory.addPortGroup("/DC0/network/DVS0", "vip/a", 8) == nil {
		t.Error("two of one name")
	}
	if v.inventory.addPortGroup("/DC0/network/none", "x", 0) == nil {
		t.Error("no such switch")
	}
	v.must(v.inventory.removePortGroup("/DC0/network/DC0_DVPG0"))
	if v.inventory.removePortGroup("/DC0/network/DC0_DVPG0") == nil {
		t.Error("removed twice")
	}
	if calls := v.rules.counted(); len(calls) != 0 {
		t.Errorf("calls %v", calls)
	}

	// A port group that was added through the API is listed too.
	network, err := find.NewFinder(v.client).Network(t.Context(), "/DC0/network/DVS0")
	v.must(err)
	vswitch := network.(*object.DistributedVirtualSwitch)
	v.inTask(vswitch.AddPortgroup(t.Context(), []types.DVPortgroupConfigSpec{{Name: "api"}}))
	is("/DC0/network/api=api vlan 0", "/DC0/network/vip%2fa=vip/a vlan 7")
}
