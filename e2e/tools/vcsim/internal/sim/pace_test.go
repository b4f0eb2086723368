package sim

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func TestAnswersAreCutAndRepeated(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	w.drain()
	v.journal.pace.put(Pace{Objects: 1})
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one"}, {Name: "two"}, {Name: "three"}}))
	w.until("all are seen", func() bool { return w.count("VirtualMachine") == 3 })
	w.drain()
	if counts := v.journal.pace.counts(); counts.Truncated < 2 || counts.Repeated != 0 {
		t.Errorf("three objects in pages of one: %+v", counts)
	}
	v.journal.pace.put(Pace{Repeats: 1})
	v.must(v.inventory.setPower(root+"/one", true))
	before, version := w.updates, w.version
	w.until("the change is seen", func() bool { return w.updates > before })
	first := w.updates - before
	if w.version == version {
		t.Fatal("an answer without a new version")
	}
	// What happens between an answer and its repetition follows.
	v.must(v.inventory.setPower(root+"/one", false))
	w.drain()
	if power := w.machine("one")["runtime.powerState"]; power != types.VirtualMachinePowerStatePoweredOff {
		t.Errorf("the change after the repeated answer is lost: the machine is %v", power)
	}
	if again := w.updates - before - first; again < first {
		t.Errorf("%d objects were reported, and %d of them again", first, again)
	}
	if counts := v.journal.pace.counts(); counts.Repeated != 1 {
		t.Errorf("one repetition: %+v", counts)
	}
	if w.count("VirtualMachine") != 3 {
		t.Error("a repetition has changed what is known")
	}
}
