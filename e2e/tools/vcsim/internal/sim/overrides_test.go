package sim

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func TestClone(t *testing.T) {
	v := start(t, func(c *Config) { c.Templates = []string{"photon", "50%/x"} })
	ctx := t.Context()
	v.must(v.waitFor(v.clone(0, "on", true)))
	v.must(v.waitFor(v.clone(1, "a%2fb%25", false)))
	if err := v.waitFor(v.clone(0, "a%2fb%25", false)); !isFault[*types.DuplicateName](err) {
		t.Errorf("same name: %v", err)
	}
	var both sync.WaitGroup
	var faults [2]error
	for i := range 2 {
		both.Add(1)
		go func() { defer both.Done(); faults[i] = v.waitFor(v.clone(i, "racing", false)) }()
	}
	both.Wait()
	if (faults[0] == nil) == (faults[1] == nil) {
		t.Errorf("two of one name: %v, %v", faults[0], faults[1])
	}
	on := v.vm("/DC0/vm/vm-operator/on")
	if on.Power != "poweredOn" || on.CPU != 2 || on.MemoryMB != 512 || on.ExtraConfig["infra.owner"] != "x" {
		t.Errorf("%+v", on)
	}
	if off := v.vm("/DC0/vm/vm-operator/a%2fb%25"); off.Power != "poweredOff" || off.Name != "a/b%" {
		t.Errorf("%+v", off)
	}
	if _, err := v.templates[0].Clone(ctx, object.NewFolder(v.client, types.ManagedObjectReference{Type: "Folder", Value: "group-0"}), "x",
		types.VirtualMachineCloneSpec{}); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("no such folder: %v", err)
	}
	// As in a vCenter, destroying a folder destroys its machines, unless one is powered on.
	gone, err := v.folder.Destroy(ctx)
	if err := v.waitFor(gone, err); !isFault[*types.InvalidPowerState](err) {
		t.Errorf("destroy with a machine on: %v", err)
	}
	v.must(v.inventory.setPower("/DC0/vm/vm-operator/on", false))
	v.inTask(v.folder.Destroy(ctx))
	if n := len(v.inventory.vms()); n != 2 {
		t.Errorf("%d machines left, not the two templates", n)
	}
}

func TestCloneAsTheSimulatorDoes(t *testing.T) {
	v := start(t, func(c *Config) { c.StockPowerOn = true })
	v.must(v.waitFor(v.clone(0, "one", true)))
	if vm := v.vm("/DC0/vm/vm-operator/one"); vm.Power != "poweredOff" {
		t.Errorf("%+v", vm)
	}
}

func TestCloneAppearsEarly(t *testing.T) {
	// The first clone's task does not end during the test, the second's ends at once.
	v := start(t, func(c *Config) { c.AppearEarly, c.CloneTime = true, time.Hour })
	w := v.watch()
	_, err := v.clone(0, "one", true)
	v.must(err)
	w.until("the clone is seen", func() bool { return w.machine("one") != nil })
	if w.machine("one")["runtime.powerState"] != types.VirtualMachinePowerStatePoweredOff {
		t.Error("the clone is on before its task ends")
	}
	v.overrides.cloneTime.Store(0)
	v.must(v.waitFor(v.clone(0, "two", true)))
	w.until("the clone is on", func() bool {
		return w.machine("two")["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOn
	})
}

// The clone's task waits for the machine's lock, and then the machine does not exist.
func TestCloneThatIsRemovedBeforeItsEnd(t *testing.T) {
	const cloneTime = 200 * time.Millisecond
	v := start(t, func(c *Config) { c.AppearEarly, c.CloneTime = true, cloneTime })
	started, err := v.clone(0, "one", true)
	v.must(err)
	w := v.watch()
	w.until("the clone is seen", func() bool { return w.machine("one") != nil })
	ctx := outside(v.registry)
	ref := v.vmRef("one")
	ctx.WithLock(ref, func() {
		time.Sleep(2 * cloneTime) // after that, the clone waits for the lock
		v.registry.Get(ref).(*simulator.VirtualMachine).UnregisterVM(ctx, &types.UnregisterVM{This: ref})
	})
	if err := v.waitFor(started, nil); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("the clone ended with %v", err)
	}
}

func TestBehindTheOperatorsBack(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	w.drain()
	v.rules.resetCounts()
	v.must(v.inventory.addVMs("/DC0/vm/vm-operator", []NewVM{{Name: "foreign"}}))
	v.must(v.inventory.setPower("/DC0/vm/vm-operator/foreign", true))
	v.must(v.inventory.renameVM("/DC0/vm/vm-operator/foreign", "strange/r"))
	if vm := v.vm("/DC0/vm/vm-operator/strange%2fr"); vm.Power != "poweredOn" {
		t.Errorf("%+v", vm)
	}
	v.must(v.inventory.unregisterVM("/DC0/vm/vm-operator/strange%2fr"))
	v.must(v.inventory.createFolder("/DC0/vm/vm-operator", "sub"))
	if got := fmt.Sprint(v.inventory.folders()); got != "[/DC0/vm /DC0/vm/vm-operator /DC0/vm/vm-operator/sub]" {
		t.Error(got)
	}
	if calls := v.rules.counted(); len(calls) != 0 || v.sessions.count().Now != 1 {
		t.Errorf("calls %v, %+v", calls, v.sessions.count())
	}
	w.until("only the folder is left", func() bool { return w.count("Folder") == 1 && w.count("VirtualMachine") == 0 })
}

// Under the race detector, this test finds the races that would crash the simulator during other tests.
func TestTheTreeIsChangedByManyAtOnce(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	ctx := t.Context()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			folder, err := v.folder.CreateFolder(ctx, fmt.Sprintf("f%d", i))
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 10 {
				cloned, err := v.templates[0].Clone(ctx, folder, fmt.Sprintf("m%d", j), types.VirtualMachineCloneSpec{
					Location: types.VirtualMachineRelocateSpec{Pool: &v.pool},
				})
				if err := v.waitFor(cloned, err); err != nil {
					t.Error(err)
					return
				}
				if j%2 == 0 {
					name := fmt.Sprintf("/DC0/vm/vm-operator/f%d/m%d", i, j)
					vm := object.NewVirtualMachine(v.client, types.ManagedObjectReference{Type: "VirtualMachine", Value: v.vm(name).MoRef})
					gone, err := vm.Destroy(ctx)
					if err := v.waitFor(gone, err); err != nil {
						t.Error(err)
					}
				}
			}
			if i%2 == 0 {
				gone, err := folder.Destroy(ctx)
				if err := v.waitFor(gone, err); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	w.until("half of the folders are left, and in them half of the machines", func() bool {
		return w.count("Folder") == 4 && w.count("VirtualMachine") == 20
	})
}
