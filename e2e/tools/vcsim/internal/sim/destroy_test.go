package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// unregisterAndDestroy calls the method of the folder at the path.
func (v *vcenter) unregisterAndDestroy(path string) error {
	v.t.Helper()
	ref, err := v.inventory.find("Folder", path)
	v.must(err)
	res, err := methods.UnregisterAndDestroy_Task(v.t.Context(), v.client, &types.UnregisterAndDestroy_Task{This: ref})
	if err != nil {
		return err
	}
	return v.waitFor(object.NewTask(v.client, res.Returnval), nil)
}

// removals returns what has left the inventory, as PATH destroyed or PATH unregistered.
func (v *vcenter) removals() (list []string) {
	for _, event := range v.overrides.history.all() {
		if event.What == Destroyed || event.What == Unregistered {
			list = append(list, event.Path+" "+event.What)
		}
	}
	return list
}

func TestUnregisterAndDestroyOfAFolder(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.createFolder(root, "a"))
	v.must(v.inventory.createFolder(root+"/a", "b"))
	v.must(v.inventory.addVMs(root+"/a", []NewVM{{Name: "off"}}))
	v.must(v.inventory.addVMs(root+"/a/b", []NewVM{{Name: "suspended", On: true}, {Name: "on", On: true}}))
	vm := object.NewVirtualMachine(v.client, v.vmRef("suspended"))
	v.inTask(vm.Suspend(t.Context()))
	w := v.watch()
	w.until("all is seen", func() bool { return w.count("Folder") == 2 && w.count("VirtualMachine") == 3 })

	err := v.unregisterAndDestroy(root + "/a")
	if !isFault[*types.InvalidPowerState](err) {
		t.Fatalf("with a machine that is on: %v", err)
	}
	if got := v.vm(root + "/a/b/on"); got.Power != "poweredOn" {
		t.Errorf("%+v", got)
	}
	v.must(v.inventory.setPower(root+"/a/b/on", false))
	v.must(v.unregisterAndDestroy(root + "/a"))
	w.until("nothing is left", func() bool { return w.count("Folder") == 0 && w.count("VirtualMachine") == 0 })
	if got := len(v.removals()); got != 3 {
		t.Errorf("%d removals", got)
	}
	for _, removal := range v.removals() {
		if strings.HasSuffix(removal, Destroyed) {
			t.Error(removal)
		}
	}
	infos := v.recent()
	if last := infos[len(infos)-1]; last.DescriptionId != "Folder.unregisterAndDestroy" {
		t.Errorf("the task is a %s", last.DescriptionId)
	}

	if err := v.unregisterAndDestroy("/DC0/host"); !isFault[*types.NotSupported](err) {
		t.Errorf("of a folder for hosts: %v", err)
	}
	if err := v.unregisterAndDestroy("/DC0/vm"); !isFault[*types.NotSupported](err) {
		t.Errorf("of a datacenter's folder: %v", err)
	}
	v.must(v.inventory.createFolder(root, "empty"))
	v.must(v.unregisterAndDestroy(root + "/empty"))
	if got := fmt.Sprint(v.inventory.folders()); got != "[/DC0/vm "+root+"]" {
		t.Error(got)
	}
}

func TestRemovalsAreRecorded(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.createFolder(root, "a"))
	v.must(v.inventory.addVMs(root+"/a", []NewVM{{Name: "in-folder"}}))
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "destroyed"}, {Name: "unregistered"}, {Name: "by/admin", On: true}}))
	v.inTask(object.NewVirtualMachine(v.client, v.vmRef("destroyed")).Destroy(t.Context()))
	v.must(object.NewVirtualMachine(v.client, v.vmRef("unregistered")).Unregister(t.Context()))
	v.must(v.inventory.unregisterVM(root + "/by%2fadmin"))
	ref, err := v.inventory.find("Folder", root+"/a")
	v.must(err)
	v.inTask(object.NewFolder(v.client, ref).Destroy(t.Context()))
	want := []string{
		root + "/destroyed destroyed", root + "/unregistered unregistered",
		root + "/by%2fadmin unregistered", root + "/a/in-folder destroyed",
	}
	if got := v.removals(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, not %q", got, want)
	}
	if v.inventory.unregisterVM(root+"/destroyed") == nil {
		t.Error("unregistering nothing was accepted")
	}
}
