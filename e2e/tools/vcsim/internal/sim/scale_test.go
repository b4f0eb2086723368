package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// TestBurstsOfClones bounds the updates per clone: a collector that reports everything at each change reports n times as
// many.
func TestBurstsOfClones(t *testing.T) {
	templates := []string{}
	for i := range 10 {
		templates = append(templates, fmt.Sprintf("template-%d", i))
	}
	v := start(t, func(c *Config) { c.Templates = templates })
	w := v.watch()
	w.drain()
	burst := func(what string, n int) {
		t.Helper()
		began, had, updates := time.Now(), w.count("VirtualMachine"), w.updates
		var calls sync.WaitGroup
		slots := make(chan struct{}, 8)
		for i := range n {
			calls.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; calls.Done() }()
				if _, err := v.clone(i%10, fmt.Sprintf("%s-%d", what, i), true); err != nil {
					t.Error(err)
				}
			}()
		}
		calls.Wait()
		submitted := time.Since(began)
		w.until(what, func() bool { return w.count("VirtualMachine") == had+n })
		reported, took := w.updates-updates, time.Since(began)
		t.Logf("%s: %d clones submitted in %v, all seen in %v, %d object updates", what, n, submitted.Round(time.Millisecond), took.Round(time.Millisecond), reported)
		if reported > 10*n {
			t.Errorf("%s: %d object updates for %d clones", what, reported, n)
		}
	}
	burst("instant", 50)
	v.overrides.cloneTime.Store(int64(2 * time.Second))
	burst("slow", 200)
	if testing.Short() {
		return
	}
	v.overrides.cloneTime.Store(0)
	burst("many", 750)
	w.drain()
	one := v.inventory.vms()[500]
	began := time.Now()
	v.must(v.inventory.setPower(one.Path, false))
	w.until("one change", func() bool {
		return w.machine(one.Name)["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOff
	})
	t.Logf("one change among %d machines seen in %v", w.count("VirtualMachine"), time.Since(began).Round(time.Millisecond))
	began = time.Now()
	v.must(v.inventory.createFolder(root, "one-more"))
	w.until("one folder", func() bool { return w.count("Folder") == 1 })
	t.Logf("one folder beside %d machines seen in %v", w.count("VirtualMachine"), time.Since(began).Round(time.Millisecond))
}

// TestTenThousandMachines adds them as tests do, through the control port, and reads them page by page.
func TestTenThousandMachines(t *testing.T) {
	groups, size := 1000, 10
	if testing.Short() {
		groups = 20
	}
	v := start(t, nil)
	began := time.Now()
	for group := range groups {
		folder := fmt.Sprintf("team.group-%d", group)
		v.post("folders", map[string]any{"folder": root, "name": folder})
		machines := make([]NewVM, size)
		for slot := range machines {
			machines[slot] = NewVM{
				Name: fmt.Sprintf("group-%d-%d", group, slot), On: true,
				InstanceUUID: fmt.Sprintf("0d9bd1f2-0000-0000-0000-%012d", group*size+slot),
				ExtraConfig:  map[string]string{"infra.owner": "cluster/team/group", "infra.slot": strconv.Itoa(slot)},
			}
		}
		v.post("vms", map[string]any{"folder": root + "/" + folder, "machines": machines})
	}
	t.Logf("%d machines in %d folders added in %v", groups*size, groups, time.Since(began).Round(time.Millisecond))

	w := v.watch()
	began = time.Now()
	pages := w.drain()
	t.Logf("read in %d pages in %v", pages, time.Since(began).Round(time.Millisecond))
	if w.count("VirtualMachine") != groups*size || w.count("Folder") != groups {
		t.Fatalf("%d machines, %d folders", w.count("VirtualMachine"), w.count("Folder"))
	}
	if want := (groups*size + groups + pageSize - 1) / pageSize; pages < want || pages > want+1 {
		t.Errorf("%d pages, not %d", pages, want)
	}
	updates := w.updates
	path := root + "/team.group-0/group-0-1"
	began = time.Now()
	v.must(v.inventory.setPower(path, false))
	w.until("one change", func() bool { return w.updates > updates })
	v.must(v.inventory.unregisterVM(path))
	w.until("one removal", func() bool { return w.count("VirtualMachine") == groups*size-1 })
	t.Logf("a change and a removal seen in %v", time.Since(began).Round(time.Millisecond))
	w.drain()
	if n := w.updates - updates; n > 3 { // the change, the removal, and the folder's children
		t.Errorf("%d updates", n)
	}
	if vm := w.machine("group-7-3"); vm["config.instanceUuid"] != fmt.Sprintf("0d9bd1f2-0000-0000-0000-%012d", 73) {
		t.Errorf("%v", vm)
	}
}

// post sends a request to the control port.
func (v *vcenter) post(route string, body any) {
	v.t.Helper()
	encoded, err := json.Marshal(body)
	v.must(err)
	res, err := http.Post("http://"+v.ControlAddress()+"/"+route, "application/json", bytes.NewReader(encoded))
	v.must(err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: %s", route, res.Status)
	}
}

// A change of a large view is read from its log, not from the view.
func TestViewIsFollowed(t *testing.T) {
	v := start(t, nil)
	var machines []NewVM
	for i := range 50 {
		machines = append(machines, NewVM{Name: fmt.Sprintf("vm-%d", i)})
	}
	v.must(v.inventory.addVMs(root, machines))
	ctx := outside(v.registry)
	folder, err := v.inventory.find("Folder", root)
	v.must(err)
	res := v.overrides.CreateContainerView(ctx, &types.CreateContainerView{Container: folder, Type: []string{"VirtualMachine"}, Recursive: true})
	if res.Fault() != nil {
		t.Fatal(res.Fault())
	}
	view := ctx.Session.Registry.AllReference("ContainerView")[0].Reference()
	spec := types.PropertyFilterSpec{
		PropSet: []types.PropertySpec{{Type: "VirtualMachine"}},
		ObjectSet: []types.ObjectSpec{{Obj: view, Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: "ContainerView", Path: "view"}}}},
	}
	list := sources(ctx, spec)
	if len(list) != 1 || list[0].traversal {
		t.Fatalf("%+v", list)
	}
	s := list[0]
	if joined, _, ok := s.follow(ctx, spec); ok {
		t.Fatalf("followed before the first reading: %v", joined)
	}
	if joined, left, _ := s.update(ctx, new(Collector), spec); len(joined) != 50 || len(left) != 0 {
		t.Fatalf("%d joined, %d left", len(joined), len(left))
	}
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "more"}}))
	v.must(v.inventory.unregisterVM(root + "/vm-7"))
	if joined, left, ok := s.follow(ctx, spec); !ok || len(joined) != 1 || len(left) != 1 {
		t.Errorf("%v: %v joined, %v left", ok, joined, left)
	}
	if len(s.members) != 50 {
		t.Errorf("%d members", len(s.members))
	}
}

// Both ways of reading give equal values: a collector that mixes them would report changes that are none.
func TestQuickReadingIsRight(t *testing.T) {
	v := start(t, nil)
	v.must(v.waitFor(v.clone(0, "one", true)))
	ctx := outside(v.registry)
	collector := new(Collector)
	collector.Self = types.ManagedObjectReference{Type: "PropertyCollector", Value: "x"}
	task := v.recent()[0].Task
	for ref, paths := range map[types.ManagedObjectReference][]string{
		v.vmRef("one"): {"name", "parent", "runtime.powerState", "runtime.connectionState", "config.instanceUuid", "config.extraConfig",
			"config.hardware.numCPU", "config.template", "config.changeVersion", "resourcePool", "snapshot.currentSnapshot", "runtime.host", "recentTask"},
		v.folder.Reference(): {"name", "parent", "childEntity"},
		task: {"info.state", "info.descriptionId", "info.entity", "info.queueTime", "info.startTime", "info.completeTime",
			"info.result", "info.error", "info.reason", "info.cancelled"},
	} {
		spec := []types.PropertySpec{{Type: ref.Type, PathSet: paths}}
		quick, ok := readQuickly(ctx, ref, spec)
		if !ok {
			t.Errorf("%s is not read quickly", ref.Type)
			continue
		}
		right, fault := collector.retrieve(ctx, types.PropertyFilterSpec{PropSet: spec, ObjectSet: []types.ObjectSpec{{Obj: ref}}})
		if fault != nil || len(right) != 1 {
			t.Fatalf("%v, %v", right, fault)
		}
		if !reflect.DeepEqual(*quick, right[0]) {
			t.Errorf("%+v\nis not\n%+v", *quick, right[0])
		}
	}
	for _, path := range []string{"config", "config.hardware", "nonsense", "summary"} {
		if content, ok := readQuickly(ctx, v.vmRef("one"), []types.PropertySpec{{Type: "VirtualMachine", PathSet: []string{path}}}); ok {
			t.Errorf("%s: %+v", path, content)
		}
	}
}
