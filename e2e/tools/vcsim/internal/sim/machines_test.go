package sim

import (
	"fmt"
	"path"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

const root = "/DC0/vm/vm-operator"

func TestCopyOfAMachine(t *testing.T) {
	v := start(t, nil)
	v.must(v.waitFor(v.clone(0, "one", true)))
	v.must(v.inventory.createFolder(root, "other"))
	w := v.watch()
	w.drain()
	v.must(v.inventory.copyVM(root+"/one", root+"/other", "copy/of one"))
	one, made := v.vm(root+"/one"), v.vm(root+"/other/copy%2fof one")
	if made.Power != "poweredOff" || made.ExtraConfig["infra.owner"] != "x" || made.CPU != one.CPU || made.MemoryMB != one.MemoryMB {
		t.Errorf("the copy is %+v", made)
	}
	if made.MoRef == one.MoRef || made.InstanceUUID == one.InstanceUUID || made.UUID == one.UUID || made.InstanceUUID == "" || made.UUID == "" {
		t.Errorf("the copy %+v shares an identity with %+v", made, one)
	}
	w.until("the copy is seen", func() bool { return w.machine("copy%2fof one") != nil })
	v.must(v.inventory.copyVM("/DC0/vm/photon", root, "from-template"))
	if made := v.vm(root + "/from-template"); made.Template || made.Power != "poweredOff" {
		t.Errorf("the copy of a template is %+v", made)
	}
	for _, c := range [][3]string{{root + "/none", root, "x"}, {root + "/one", root + "/none", "x"}, {root + "/one", root, "one"}} {
		if v.inventory.copyVM(c[0], c[1], c[2]) == nil {
			t.Errorf("%v was accepted", c)
		}
	}
}

func TestMoveOfAMachine(t *testing.T) {
	v := start(t, nil)
	v.must(v.waitFor(v.clone(0, "one", true)))
	v.must(v.inventory.createFolder(root, "inside"))
	v.must(v.inventory.createFolder("/DC0/vm", "outside"))
	v.must(v.inventory.createFolder("/DC0/vm/outside", "below"))
	ref := v.vmRef("one")
	w := v.watch()
	w.drain()
	parent := func() any { return w.objects[ref]["parent"] }

	inside, err := v.inventory.find("Folder", root+"/inside")
	v.must(err)
	v.must(v.inventory.moveVM(root+"/one", root+"/inside"))
	w.until("the new parent is seen", func() bool { return parent() == inside })
	w.until("the folder has a child", func() bool { return len(w.children(inside)) == 1 })
	v.must(v.inventory.moveVM(root+"/inside/one", "/DC0/vm/outside/below"))
	w.until("the machine leaves", func() bool { return w.count("VirtualMachine") == 0 && len(w.children(inside)) == 0 })
	if vm := v.vm("/DC0/vm/outside/below/one"); vm.MoRef != ref.Value || vm.Power != "poweredOn" {
		t.Errorf("moved: %+v", vm)
	}
	v.must(v.inventory.moveVM("/DC0/vm/outside/below/one", root))
	w.until("the machine is back", func() bool { return parent() == v.folder.Reference() })

	v.must(v.waitFor(v.clone(0, "two", false)))
	v.must(v.inventory.renameVM(root+"/two", "three"))
	v.must(v.inventory.moveVM(root+"/three", root+"/inside"))
	v.must(v.waitFor(v.clone(0, "three", false)))
	if v.inventory.moveVM(root+"/three", root+"/inside") == nil {
		t.Error("a move to a name that is taken was accepted")
	}
	if v.inventory.moveVM(root+"/none", root) == nil || v.inventory.moveVM(root+"/one", "/DC0/host") == nil {
		t.Error("a move of or to what is no machine and no folder for machines was accepted")
	}
}

// A folder takes what is in it out of the view and back, also when another client moves it.
func TestMoveOfAFolder(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.createFolder(root, "a"))
	v.must(v.inventory.createFolder(root+"/a", "b"))
	v.must(v.inventory.addVMs(root+"/a/b", []NewVM{{Name: "one"}}))
	w := v.watch()
	w.until("all is seen", func() bool { return w.count("Folder") == 2 && w.count("VirtualMachine") == 1 })
	move := func(from, to string) error {
		ref, err := v.inventory.find("Folder", from)
		v.must(err)
		target, err := v.inventory.find("Folder", to)
		v.must(err)
		return v.waitFor(object.NewFolder(v.client, target).MoveInto(t.Context(), []types.ManagedObjectReference{ref}))
	}
	v.must(move(root+"/a", "/DC0/vm"))
	w.until("all has left", func() bool { return w.count("Folder") == 0 && w.count("VirtualMachine") == 0 })
	v.must(v.inventory.moveFolder("/DC0/vm/a", root))
	w.until("all is back", func() bool { return w.count("Folder") == 2 && w.count("VirtualMachine") == 1 })
	// The view's own folder keeps what it shows.
	v.must(v.inventory.createFolder("/DC0/vm", "attic"))
	v.must(v.inventory.moveFolder(root, "/DC0/vm/attic"))
	v.must(v.inventory.addVMs("/DC0/vm/attic/"+path.Base(root), []NewVM{{Name: "two"}}))
	w.until("the new machine is seen", func() bool { return w.count("Folder") == 2 && w.count("VirtualMachine") == 2 })
	v.must(v.inventory.moveFolder("/DC0/vm/attic/"+path.Base(root), "/DC0/vm"))
	if err := move(root+"/a", root+"/a/b"); !isFault[*types.NotSupported](err) {
		t.Errorf("a folder moved into itself: %v", err)
	}
	if got := fmt.Sprint(v.inventory.folders()); got != "[/DC0/vm /DC0/vm/attic "+root+" "+root+"/a "+root+"/a/b]" {
		t.Error(got)
	}
}

func TestExtraConfigIsEdited(t *testing.T) {
	v := start(t, nil)
	v.must(v.waitFor(v.clone(0, "one", true)))
	w := v.watch()
	entry := func(key string) any {
		for _, option := range w.extraConfig("one") {
			if option.GetOptionValue().Key == key {
				return option.GetOptionValue().Value
			}
		}
		return nil
	}
	w.until("the marker is seen", func() bool { return entry("infra.owner") == "x" })
	const strange = "ü\t🦀<&>\"]]>\u00a0\u2028é"
	value := strange
	v.must(v.inventory.setExtraConfig(root+"/one", "infra.owner", &value))
	v.must(v.inventory.setExtraConfig(root+"/one", "key 🦀", &value))
	w.until("both entries are seen", func() bool { return entry("infra.owner") == strange && entry("key 🦀") == strange })
	v.must(v.inventory.setExtraConfig(root+"/one", "infra.owner", nil))
	v.must(v.inventory.setExtraConfig(root+"/one", "absent", nil))
	w.until("the removal is seen", func() bool { return entry("infra.owner") == nil })
	if got := v.vm(root + "/one").ExtraConfig; got["key 🦀"] != strange || len(got) != 2 { // the other one is the simulator's own
		t.Errorf("%q", got)
	}
}

// An administrator turns machines into templates and renames folders; clients tell vCenters apart.
func TestTemplatesFoldersAndIdentity(t *testing.T) {
	v := start(t, func(c *Config) { c.InstanceUUID = "one" })
	root := "/DC0/vm/vm-operator"
	v.must(v.waitFor(v.clone(0, "web", false)))
	v.must(v.inventory.setTemplate(root+"/web", true))
	if !v.vm(root + "/web").Template {
		t.Error("it is no template")
	}
	v.must(v.inventory.setTemplate(root+"/web", false))
	v.must(v.inventory.setPower(root+"/web", true))
	if v.inventory.setTemplate(root+"/web", true) == nil {
		t.Error("a machine that is on was made a template")
	}
	if v.inventory.renameFolder(root, "vm-operator") == nil {
		t.Error("a name that is taken was accepted")
	}
	v.must(v.inventory.renameFolder(root, "old"))
	if v.vm("/DC0/vm/old/web").Template {
		t.Error("it is still a template")
	}
	if uuid := v.connect().ServiceContent.About.InstanceUuid; uuid != "one" {
		t.Errorf("instanceUuid is %q", uuid)
	}
	v.identify("two")
	if uuid := v.connect().ServiceContent.About.InstanceUuid; uuid != "two" {
		t.Errorf("instanceUuid is %q", uuid)
	}
}
