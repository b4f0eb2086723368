package sim

import (
	"time"

	"github.com/vmware/govmomi/property"
	govmomiview "github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// patience bounds each wait for something that takes less than a second on an idle machine.
const patience = 5 * time.Minute

// watch is one collector on all machines of the root folder and the recent tasks.
type watch struct {
	v       *vcenter
	pc      *property.Collector
	version string
	objects map[types.ManagedObjectReference]map[string]types.AnyType
	updates int
	removed []string // the properties that were unset with what contains them
}

func (v *vcenter) watch() *watch {
	v.t.Helper()
	ctx := v.t.Context()
	container, err := govmomiview.NewManager(v.client).CreateContainerView(ctx, v.folder.Reference(), []string{"VirtualMachine", "Folder"}, true)
	v.must(err)
	pc, err := property.DefaultCollector(v.client).Create(ctx)
	v.must(err)
	spec := types.PropertyFilterSpec{
		PropSet: []types.PropertySpec{
			{Type: "VirtualMachine", PathSet: []string{"name", "parent", "runtime.powerState", "runtime.connectionState", "config.instanceUuid", "config.extraConfig", "config.hardware.numCPU"}},
			{Type: "Folder", PathSet: []string{"name", "childEntity"}},
			{Type: "Task", PathSet: []string{"info.state", "info.result"}},
		},
		ObjectSet: []types.ObjectSpec{
			{Obj: container.Reference(), Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{
				&types.TraversalSpec{Type: "ContainerView", Path: "view"}}},
			{Obj: *v.client.ServiceContent.TaskManager, Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{
				&types.TraversalSpec{Type: "TaskManager", Path: "recentTask"}}},
		},
	}
	_, err = pc.CreateFilter(ctx, types.CreateFilter{Spec: spec})
	v.must(err)
	return &watch{v: v, pc: pc, objects: map[types.ManagedObjectReference]map[string]types.AnyType{}}
}

func (w *watch) wait(options types.WaitOptions) (*types.UpdateSet, error) {
	res, err := methods.WaitForUpdatesEx(w.v.t.Context(), w.v.client, &types.WaitForUpdatesEx{
		This: w.pc.Reference(), Version: w.version, Options: &options,
	})
	if err != nil {
		return nil, err
	}
	set := res.Returnval
	if set == nil {
		return nil, nil
	}
	w.version = set.Version
	for _, f := range set.FilterSet {
		for _, o := range f.ObjectSet {
			w.updates++
			switch o.Kind {
			case types.ObjectUpdateKindEnter:
				w.objects[o.Obj] = map[string]types.AnyType{}
			case types.ObjectUpdateKindLeave:
				if w.objects[o.Obj] == nil {
					w.v.t.Errorf("%s leaves and was not there", o.Obj)
				}
				delete(w.objects, o.Obj)
			default:
				if w.objects[o.Obj] == nil {
					w.v.t.Errorf("%s is modified and was not there", o.Obj)
				}
			}
			for _, change := range o.ChangeSet {
				w.objects[o.Obj][change.Name] = change.Val
				if change.Op == types.PropertyChangeOpIndirectRemove {
					w.removed = append(w.removed, change.Name)
				}
			}
		}
	}
	return set, nil
}

// drain reads until there is nothing more to read, following pages.
func (w *watch) drain() (pages int) {
	w.v.t.Helper()
	for {
		set, err := w.wait(types.WaitOptions{MaxWaitSeconds: types.NewInt32(0)})
		w.v.must(err)
		if set == nil {
			return pages
		}
		pages++
	}
}

func (w *watch) until(what string, f func() bool) {
	w.v.t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			w.v.t.Fatalf("not in %v: %s", patience, what)
		}
		_, err := w.wait(types.WaitOptions{MaxWaitSeconds: types.NewInt32(1)})
		w.v.must(err)
	}
}

func (w *watch) machine(name string) map[string]types.AnyType {
	for ref, o := range w.objects {
		if ref.Type == "VirtualMachine" && o["name"] == name {
			return o
		}
	}
	return nil
}

func (w *watch) count(kind string) (n int) {
	for ref := range w.objects {
		if ref.Type == kind {
			n++
		}
	}
	return n
}

// children returns the childEntity of a folder as the watch knows it.
func (w *watch) children(folder types.ManagedObjectReference) []types.ManagedObjectReference {
	if list, ok := w.objects[folder]["childEntity"].(types.ArrayOfManagedObjectReference); ok {
		return list.ManagedObjectReference
	}
	return nil
}

// extraConfig returns the extraConfig of a machine as the watch knows it.
func (w *watch) extraConfig(name string) []types.BaseOptionValue {
	if list, ok := w.machine(name)["config.extraConfig"].(types.ArrayOfOptionValue); ok {
		return list.OptionValue
	}
	return nil
}
