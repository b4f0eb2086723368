package sim

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func TestUpdatesAreLost(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one", On: true}, {Name: "two", On: true}}))
	w := v.watch()
	w.until("both are seen", func() bool { return w.count("VirtualMachine") == 2 })
	power := func(name string) any { return w.machine(name)["runtime.powerState"] }
	ref := v.vmRef("one")
	v.must(v.inventory.loseUpdates(root + "/one"))
	v.must(v.inventory.setPower(root+"/one", false))
	v.must(v.inventory.setPower(root+"/two", false))
	w.until("the other's change is seen", func() bool { return power("two") == types.VirtualMachinePowerStatePoweredOff })
	w.drain()
	if power("one") != types.VirtualMachinePowerStatePoweredOn {
		t.Error("the change was not lost")
	}
	var vm mo.VirtualMachine
	v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), ref, []string{"runtime.powerState"}, &vm))
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		t.Error("reading does not see the truth")
	}
	other := v.watch() // another collector starts with the truth
	other.until("both are off", func() bool {
		return other.count("VirtualMachine") == 2 && other.machine("one")["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOff
	})
	v.journal.restore()
	w.until("the change is seen", func() bool { return power("one") == types.VirtualMachinePowerStatePoweredOff })
	if v.inventory.loseUpdates(root+"/none") == nil {
		t.Error("losing the updates of nothing was accepted")
	}
}

// The collector still shows a machine that every call says is gone.
func TestRemovalIsLost(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one", On: true}, {Name: "two"}}))
	w := v.watch()
	w.until("both are seen", func() bool { return w.count("VirtualMachine") == 2 })
	vm := object.NewVirtualMachine(v.client, v.vmRef("one"))
	v.must(v.inventory.loseUpdates(root + "/one"))
	v.must(v.inventory.unregisterVM(root + "/one"))
	v.must(v.inventory.unregisterVM(root + "/two"))
	w.until("the other leaves", func() bool { return w.machine("two") == nil })
	w.drain()
	if w.machine("one") == nil {
		t.Fatal("the removal was not lost")
	}
	if _, err := vm.PowerOff(ctx); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("power off: %v", err)
	}
	if _, err := vm.Destroy(ctx); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("destroy: %v", err)
	}
	w.drain()
	if w.machine("one") == nil {
		t.Fatal("the failed calls revealed the removal")
	}
	// A wait that starts from the beginning describes the truth.
	w.version, w.objects = "", map[types.ManagedObjectReference]map[string]types.AnyType{}
	w.drain()
	if w.count("VirtualMachine") != 0 {
		t.Error("the first report describes a machine that is gone")
	}
}

func TestLostRemovalIsReportedLater(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one"}}))
	w := v.watch()
	w.until("it is seen", func() bool { return w.count("VirtualMachine") == 1 })
	v.must(v.inventory.loseUpdates(root + "/one"))
	v.must(v.inventory.unregisterVM(root + "/one"))
	w.drain()
	v.journal.restore()
	w.until("it leaves", func() bool { return w.count("VirtualMachine") == 0 })
}
