package sim

import (
	"slices"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func TestMachineThatIsNotConnected(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	v.must(v.waitFor(v.clone(0, "one", true)))
	w := v.watch()
	state := func() any { return w.machine("one")["runtime.connectionState"] }
	w.until("the machine is seen", func() bool { return state() == types.VirtualMachineConnectionStateConnected })
	read := func() mo.VirtualMachine {
		t.Helper()
		var vm mo.VirtualMachine
		v.must(property.DefaultCollector(v.client).RetrieveOne(ctx, v.vmRef("one"), []string{"name", "config", "config.instanceUuid"}, &vm))
		return vm
	}
	for _, state := range types.VirtualMachineConnectionState("").Values()[1:] {
		v.must(v.inventory.setConnection(root+"/one", state, true))
		w.until(string(state), func() bool { return w.machine("one")["runtime.connectionState"] == state })
	}
	if w.extraConfig("one") == nil || read().Config == nil {
		t.Error("the config of a readable machine is unset")
	}
	vm := object.NewVirtualMachine(v.client, v.vmRef("one"))
	if _, err := vm.PowerOff(ctx); !isFault[*types.InvalidState](err) {
		t.Errorf("power off: %v", err)
	}
	if _, err := vm.Destroy(ctx); !isFault[*types.InvalidState](err) {
		t.Errorf("destroy: %v", err)
	}
	if err := v.waitFor(v.folder.Destroy(ctx)); !isFault[*types.InvalidState](err) {
		t.Errorf("destroy of the folder: %v", err)
	}

	v.must(v.inventory.setConnection(root+"/one", types.VirtualMachineConnectionStateDisconnected, false))
	w.until("the config is unset", func() bool {
		return state() == types.VirtualMachineConnectionStateDisconnected && w.extraConfig("one") == nil &&
			w.machine("one")["config.instanceUuid"] == nil
	})
	if got := read(); got.Config != nil || got.Name != "one" {
		t.Errorf("%+v", got)
	}
	if !slices.Contains(w.removed, "config.extraConfig") {
		t.Errorf("unset properties: %v", w.removed)
	}
	v.must(v.inventory.setConnection(root+"/one", types.VirtualMachineConnectionStateConnected, true))
	w.until("the config is back", func() bool { return w.extraConfig("one") != nil })
	v.inTask(vm.PowerOff(ctx))

	if v.inventory.setConnection(root+"/one", "away", true) == nil {
		t.Error("an unknown state was accepted")
	}
}

func TestMachineWithoutAConnectionIsUnregistered(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one"}}))
	v.must(v.inventory.setConnection(root+"/one", types.VirtualMachineConnectionStateOrphaned, false))
	v.must(object.NewVirtualMachine(v.client, v.vmRef("one")).Unregister(t.Context()))
	if n := len(v.removals()); n != 1 {
		t.Errorf("%d removals", n)
	}
}
