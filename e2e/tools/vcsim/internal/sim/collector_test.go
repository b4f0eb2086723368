package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func TestCollectorFollowsAMachine(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	w := v.watch()
	w.drain()
	if n := w.count("VirtualMachine"); n != 0 {
		t.Fatalf("%d machines at the start", n)
	}

	started, err := v.clone(0, "one", true)
	v.must(err)
	v.must(started.Wait(ctx))
	w.until("the clone is seen", func() bool { return w.machine("one") != nil })
	one := w.machine("one")
	if one["runtime.powerState"] != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("power %v", one["runtime.powerState"])
	}
	if one["config.instanceUuid"] != "0d9bd1f2-0000-0000-0000-000000000001" || one["config.hardware.numCPU"] != int32(2) {
		t.Errorf("config %v", one)
	}

	vm := object.NewVirtualMachine(v.client, v.vmRef("one"))
	v.inTask(vm.PowerOff(ctx))
	w.until("power off is seen", func() bool { return one["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOff })
	v.inTask(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 4}))
	w.until("a reconfiguration is seen", func() bool { return one["config.hardware.numCPU"] == int32(4) })
	v.inTask(vm.Rename(ctx, "two"))
	w.until("a new name is seen", func() bool { return w.machine("two") != nil })
	v.inTask(vm.Destroy(ctx))
	w.until("the machine leaves", func() bool { return w.count("VirtualMachine") == 0 })

	folder, err := v.folder.CreateFolder(ctx, "a%2fb %25 ü")
	v.must(err)
	w.until("the folder is seen", func() bool { return w.count("Folder") == 1 })
	if name := w.objects[folder.Reference()]["name"]; name != "a%2fb %25 ü" {
		t.Errorf("folder is named %q", name)
	}
	v.inTask(folder.Destroy(ctx))
	w.until("the folder leaves", func() bool { return w.count("Folder") == 0 })
}

func TestCollectorPagesAndRepeatsALostAnswer(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	w.drain()
	for i := range 25 {
		v.must(v.inventory.addVMs(root, []NewVM{{Name: fmt.Sprintf("vm-%02d", i)}}))
	}
	before := w.version
	lost := map[int]int{1: 2} // by page
	sizes := []int{}
	for {
		set, err := w.wait(types.WaitOptions{MaxWaitSeconds: types.NewInt32(5), MaxObjectUpdates: 10})
		v.must(err)
		n := 0
		for _, f := range set.FilterSet {
			n += len(f.ObjectSet)
		}
		sizes = append(sizes, n)
		if set.Truncated == nil || !*set.Truncated {
			break
		}
		for range lost[len(sizes)] { // as if the answer and its repetition had been lost
			w.version, w.objects = before, map[types.ManagedObjectReference]map[string]types.AnyType{}
			set, err := w.wait(types.WaitOptions{MaxWaitSeconds: types.NewInt32(5), MaxObjectUpdates: 10})
			v.must(err)
			if len(set.FilterSet[0].ObjectSet) != 10 {
				t.Fatal("the lost page is not repeated")
			}
		}
	}
	if fmt.Sprint(sizes) != "[10 10 5]" || w.count("VirtualMachine") != 25 {
		t.Errorf("pages %v, %d machines", sizes, w.count("VirtualMachine"))
	}
	w.version = "" // from the start
	w.objects = map[types.ManagedObjectReference]map[string]types.AnyType{}
	w.drain()
	if w.count("VirtualMachine") != 25 {
		t.Errorf("%d machines after version \"\"", w.count("VirtualMachine"))
	}
	w.version = "77"
	if _, err := w.wait(types.WaitOptions{}); !isFault[*types.InvalidCollectorVersion](err) {
		t.Errorf("unknown version: %v", err)
	}
}

func TestWaitEnds(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	w.drain()
	began := time.Now()
	set, err := w.wait(types.WaitOptions{MaxWaitSeconds: types.NewInt32(1)})
	if set != nil || err != nil || time.Since(began) < 900*time.Millisecond {
		t.Errorf("after maxWait: %v, %v", set, err)
	}
	waiting := make(chan error, 1)
	wait := func() { _, err := w.wait(types.WaitOptions{}); waiting <- err }
	go wait()
	deadline := time.Now().Add(patience)
	canceled := false
	for !canceled && time.Now().Before(deadline) {
		v.must(w.pc.CancelWaitForUpdates(t.Context()))
		select {
		case err := <-waiting:
			if !isFault[*types.RequestCanceled](err) {
				t.Errorf("canceled: %v", err)
			}
			canceled = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if !canceled {
		t.Fatal("a wait is not canceled")
	}
	v.rules.resetCounts()
	go wait()
	for v.rules.counted()["WaitForUpdatesEx"] == 0 {
		time.Sleep(time.Millisecond)
	}
	v.sessions.expire()
	if err := <-waiting; !isFault[*types.NotAuthenticated](err) {
		t.Errorf("session expired: %v", err)
	}
	if n := len(v.journal.readers); n != 0 {
		t.Errorf("%d readers left", n)
	}
	// A vCenter reports a dead session here as missing properties.
	var folder mo.Folder
	err = property.DefaultCollector(v.client).RetrieveOne(t.Context(), v.folder.Reference(), []string{"name"}, &folder)
	if err == nil || soap.IsSoapFault(err) {
		t.Errorf("read with a dead session: %v, not a missingSet", err)
	}
	if _, err := methods.GetCurrentTime(t.Context(), v.client); !isFault[*types.NotAuthenticated](err) {
		t.Errorf("call with a dead session: %v", err)
	}
}

// A session may end after the service has looked it up for a wait, and before the wait begins.
func TestWaitOfASessionThatIsOver(t *testing.T) {
	v := start(t, nil)
	ended := make(chan soap.HasFault, 1)
	go func() { ended <- new(Collector).WaitForUpdatesEx(outside(v.registry), &types.WaitForUpdatesEx{}) }()
	select {
	case res := <-ended:
		if f := res.Fault(); f == nil || !isFault[*types.NotAuthenticated](soap.WrapSoapFault(f)) {
			t.Errorf("%+v", res)
		}
	case <-time.After(patience):
		t.Fatal("the wait does not end")
	}
}
