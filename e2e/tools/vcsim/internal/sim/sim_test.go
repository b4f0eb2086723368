package sim

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/task"
	govmomiview "github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vcenter is a started server with a client that is logged in.
type vcenter struct {
	t *testing.T
	*Server
	client    *vim25.Client
	manager   *session.Manager
	pool      types.ManagedObjectReference
	folder    *object.Folder
	templates []*object.VirtualMachine
}

func start(t *testing.T, change func(*Config)) *vcenter {
	t.Helper()
	config := Config{
		Options: Options{Datacenters: 1, Clusters: 1, Hosts: 1, Templates: []string{"photon"}, RootFolder: "vm-operator"},
		User:    "user", Password: "secret", Listen: "127.0.0.1:0", Control: "127.0.0.1:0",
		CallDelays: map[string]time.Duration{},
	}
	if change != nil {
		change(&config)
	}
	server, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	v := &vcenter{t: t, Server: server}
	v.client, v.manager = v.login("secret")
	ctx := t.Context()
	finder := find.NewFinder(v.client)
	dc, err := finder.Datacenter(ctx, "DC0")
	v.must(err)
	finder.SetDatacenter(dc)
	pool, err := finder.DefaultResourcePool(ctx)
	v.must(err)
	v.pool = pool.Reference()
	v.folder, err = finder.Folder(ctx, "/DC0/vm/vm-operator")
	v.must(err)
	for _, name := range config.Templates {
		vm, err := finder.VirtualMachine(ctx, "/DC0/vm/"+escape(name))
		v.must(err)
		v.templates = append(v.templates, vm)
	}
	return v
}

func (v *vcenter) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *vcenter) connect() *vim25.Client {
	v.t.Helper()
	c := soap.NewClient(&url.URL{Scheme: "https", Host: v.SDKAddress(), Path: vim25.Path}, false)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(v.Identity.CAPEM))
	c.DefaultTransport().TLSClientConfig.RootCAs = roots
	client, err := vim25.NewClient(v.t.Context(), c)
	v.must(err)
	return client
}

func (v *vcenter) login(password string) (*vim25.Client, *session.Manager) {
	v.t.Helper()
	client := v.connect()
	manager := session.NewManager(client)
	v.must(manager.Login(v.t.Context(), url.UserPassword("user", password)))
	return client, manager
}

func (v *vcenter) clone(template int, name string, on bool) (*object.Task, error) {
	return v.templates[template].Clone(v.t.Context(), v.folder, name, types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &v.pool},
		PowerOn:  on,
		Config: &types.VirtualMachineConfigSpec{
			NumCPUs: 2, MemoryMB: 512, InstanceUuid: "0d9bd1f2-0000-0000-0000-000000000001",
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "infra.owner", Value: "x"}},
		},
	})
}

// watch is one collector on all machines of the root folder and the recent tasks.
type watch struct {
	v       *vcenter
	pc      *property.Collector
	version string
	objects map[types.ManagedObjectReference]map[string]types.AnyType
	updates int
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
			{Type: "VirtualMachine", PathSet: []string{"name", "parent", "runtime.powerState", "config.instanceUuid", "config.extraConfig", "config.hardware.numCPU"}},
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
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			w.v.t.Fatalf("not in 20 s: %s", what)
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

func isFault[T types.BaseMethodFault](err error) bool {
	if err == nil {
		return false
	}
	if soap.IsSoapFault(err) {
		_, ok := any(ptr(soap.ToSoapFault(err).VimFault())).(T)
		return ok
	}
	var failed task.Error
	if errors.As(err, &failed) {
		_, ok := failed.Fault().(T)
		return ok
	}
	return false
}

// ptr gives the pointer form of the few faults decoded as values.
func ptr(fault any) any {
	switch f := fault.(type) {
	case types.NoPermission:
		return &f
	case types.NotAuthenticated:
		return &f
	case types.RequestCanceled:
		return &f
	case types.InvalidCollectorVersion:
		return &f
	case types.InvalidLogin:
		return &f
	case types.ManagedObjectNotFound:
		return &f
	case types.DuplicateName:
		return &f
	}
	return fault
}

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

func (v *vcenter) inTask(started *object.Task, err error) {
	v.t.Helper()
	v.must(err)
	v.must(started.Wait(v.t.Context()))
}

func (v *vcenter) vmRef(name string) types.ManagedObjectReference {
	v.t.Helper()
	for _, vm := range v.inventory.vms() {
		if vm.Name == name {
			return types.ManagedObjectReference{Type: "VirtualMachine", Value: vm.MoRef}
		}
	}
	v.t.Fatalf("no machine %s", name)
	return types.ManagedObjectReference{}
}

func TestCollectorPagesAndRepeatsALostAnswer(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	w.drain()
	for i := range 25 {
		_, err := v.inventory.addVM("/DC0/vm/vm-operator", fmt.Sprintf("vm-%02d", i), "")
		v.must(err)
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
		for range lost[len(sizes)] { // as if the answer, and the one to its repetition, had been lost
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
	deadline := time.Now().Add(10 * time.Second)
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
	go wait()
	for v.rules.counted()["WaitForUpdatesEx"] < 4 {
		time.Sleep(time.Millisecond)
	}
	v.sessions.expire()
	if err := <-waiting; !isFault[*types.NotAuthenticated](err) {
		t.Errorf("session expired: %v", err)
	}
	if n := len(v.journal.readers); n != 0 {
		t.Errorf("%d readers left", n)
	}
	// The quirk of vCenter's that a client has to know.
	var folder mo.Folder
	err = property.DefaultCollector(v.client).RetrieveOne(t.Context(), v.folder.Reference(), []string{"name"}, &folder)
	if err == nil || soap.IsSoapFault(err) {
		t.Errorf("read with a dead session: %v, not a missingSet", err)
	}
	if _, err := methods.GetCurrentTime(t.Context(), v.client); !isFault[*types.NotAuthenticated](err) {
		t.Errorf("call with a dead session: %v", err)
	}
}

func TestSessionsAreCounted(t *testing.T) {
	v := start(t, nil)
	_, second := v.login("secret")
	if err := session.NewManager(v.connect()).Login(t.Context(), url.UserPassword("user", "wrong")); !isFault[*types.InvalidLogin](err) {
		t.Errorf("wrong password: %v", err)
	}
	if got, want := v.sessions.count(), (SessionCounts{Now: 2, Max: 2, Logins: 2, FailedLogins: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	v.must(second.Logout(t.Context()))
	if got := v.sessions.count(); got.Now != 1 {
		t.Errorf("after logout: %+v", got)
	}
	if n := v.sessions.expire(); n != 1 {
		t.Errorf("%d sessions expired", n)
	}
	if got := v.sessions.count(); got.Now != 0 || got.Max != 2 {
		t.Errorf("after expiry: %+v", got)
	}
}

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
	// As vCenter, and unlike the simulator: a folder takes its machines along, unless one is on.
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
	v := start(t, func(c *Config) { c.AppearEarly, c.CloneTime = true, 500*time.Millisecond })
	w := v.watch()
	started, err := v.clone(0, "one", true)
	v.must(err)
	w.until("the clone is seen", func() bool { return w.machine("one") != nil })
	if w.machine("one")["runtime.powerState"] != types.VirtualMachinePowerStatePoweredOff {
		t.Error("the clone is on before its task ends")
	}
	v.must(started.Wait(t.Context()))
	w.until("the clone is on", func() bool {
		return w.machine("one")["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOn
	})
}

func (v *vcenter) waitFor(started *object.Task, err error) error {
	if err != nil {
		return err
	}
	return started.Wait(v.t.Context())
}

func (v *vcenter) vm(path string) VM {
	v.t.Helper()
	for _, vm := range v.inventory.vms() {
		if vm.Path == path {
			return vm
		}
	}
	v.t.Fatalf("no machine %s", path)
	return VM{}
}

func TestRules(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	add := func(r Rule) { t.Helper(); v.must(v.rules.add(r)) }

	add(Rule{Method: "CreateFolder", Times: 1, Kind: KindFault, Fault: "NoPermission"})
	if _, err := v.folder.CreateFolder(ctx, "x"); !isFault[*types.NoPermission](err) {
		t.Errorf("fault: %v", err)
	}
	_, err := v.folder.CreateFolder(ctx, "x")
	v.must(err)

	add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindTaskFault, Fault: "NoDiskSpace"})
	started, err := v.clone(0, "one", true)
	v.must(err)
	if err := started.Wait(ctx); !isFault[*types.NoDiskSpace](err) {
		t.Errorf("task_fault: %v", err)
	}

	count := func() int { return len(v.inventory.vms()) }
	had := count()
	add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindCutBefore})
	if _, err := v.clone(0, "one", true); err == nil || soap.IsSoapFault(err) {
		t.Errorf("cut_before: %v", err)
	}
	if count() != had {
		t.Error("cut_before ran the call")
	}
	add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindCutAfter})
	if _, err := v.clone(0, "one", true); err == nil || soap.IsSoapFault(err) {
		t.Errorf("cut_after: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); count() != had+1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("cut_after did not run the call")
		}
	}
	add(Rule{Method: "CurrentTime", Times: 2, Kind: KindStatus, Status: 503})
	for range 2 {
		if _, err := methods.GetCurrentTime(ctx, v.client); err == nil || soap.IsSoapFault(err) {
			t.Errorf("status: %v", err)
		}
	}
	add(Rule{Method: "CurrentTime", Times: 1, Kind: KindDelay, DelayMS: 200})
	began := time.Now()
	_, err = methods.GetCurrentTime(ctx, v.client)
	v.must(err)
	if time.Since(began) < 200*time.Millisecond {
		t.Error("delay did not")
	}

	add(Rule{Method: "CurrentTime", Times: -1, Kind: KindHang})
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := methods.GetCurrentTime(short, v.client); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	answered := make(chan error, 1)
	go func() { _, err := methods.GetCurrentTime(ctx, v.client); answered <- err }()
	for v.rules.counted()["CurrentTime"] < 5 {
		time.Sleep(time.Millisecond)
	}
	v.rules.clear()
	v.must(<-answered)

	for _, bad := range []Rule{{Kind: "x", Times: 1}, {Kind: KindFault, Fault: "Nonsense", Times: 1}, {Kind: KindHang},
		{Kind: KindStatus, Times: 1}, {Method: "CurrentTime", Kind: KindTaskFault, Fault: "NoPermission", Times: 1}} {
		if v.rules.add(bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestOutages(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	now := func(ctx context.Context) error { _, err := methods.GetCurrentTime(ctx, v.client); return err }
	for _, outage := range []Outage{{Kind: OutageRefuse}, {Kind: OutageStatus, Status: 503}} {
		v.must(v.endpoint.set(outage))
		if err := now(ctx); err == nil || soap.IsSoapFault(err) {
			t.Errorf("%s: %v", outage.Kind, err)
		}
		v.must(v.endpoint.set(Outage{Kind: OutageNone}))
		v.must(now(ctx))
	}
	v.must(v.endpoint.set(Outage{Kind: OutageHang}))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := now(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	answered := make(chan error, 1)
	go func() { answered <- now(ctx) }()
	v.must(v.endpoint.set(Outage{Kind: OutageNone}))
	v.must(<-answered)
}

func TestBehindTheOperatorsBack(t *testing.T) {
	v := start(t, nil)
	w := v.watch()
	w.drain()
	v.rules.resetCounts()
	_, err := v.inventory.addVM("/DC0/vm/vm-operator", "foreign", "")
	v.must(err)
	v.must(v.inventory.setPower("/DC0/vm/vm-operator/foreign", true))
	v.must(v.inventory.renameVM("/DC0/vm/vm-operator/foreign", "strange/r"))
	if vm := v.vm("/DC0/vm/vm-operator/strange%2fr"); vm.Power != "poweredOn" {
		t.Errorf("%+v", vm)
	}
	v.must(v.inventory.removeVM("/DC0/vm/vm-operator/strange%2fr"))
	v.must(v.inventory.createFolder("/DC0/vm/vm-operator", "sub"))
	if got := fmt.Sprint(v.inventory.folders()); got != "[/DC0/vm /DC0/vm/vm-operator /DC0/vm/vm-operator/sub]" {
		t.Error(got)
	}
	if calls := v.rules.counted(); len(calls) != 0 || v.sessions.count().Now != 1 {
		t.Errorf("calls %v, %+v", calls, v.sessions.count())
	}
	w.until("only the folder is left", func() bool { return w.count("Folder") == 1 && w.count("VirtualMachine") == 0 })
}

// TestScale has bounds that are generous: it fails when something is an order of magnitude off.
func TestScale(t *testing.T) {
	templates := []string{}
	for i := range 10 {
		templates = append(templates, fmt.Sprintf("template-%d", i))
	}
	v := start(t, func(c *Config) { c.Templates = templates })
	w := v.watch()
	w.drain()
	burst := func(what string, n int, limit time.Duration) {
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
		took := time.Since(began)
		t.Logf("%s: %d clones submitted in %v, all seen in %v, %d object updates", what, n, submitted.Round(time.Millisecond), took.Round(time.Millisecond), w.updates-updates)
		if took > limit {
			t.Errorf("%s: %v is more than %v", what, took, limit)
		}
	}
	burst("instant", 50, 10*time.Second)
	v.overrides.cloneTime.Store(int64(2 * time.Second))
	burst("slow", 200, 20*time.Second)
	if testing.Short() {
		return
	}
	v.overrides.cloneTime.Store(0)
	burst("many", 750, 60*time.Second)
	w.drain()
	one := v.inventory.vms()[500]
	began := time.Now()
	v.must(v.inventory.setPower(one.Path, false))
	w.until("one change", func() bool {
		return w.machine(one.Name)["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOff
	})
	t.Logf("one change among %d machines seen in %v", w.count("VirtualMachine"), time.Since(began).Round(time.Millisecond))
	began = time.Now()
	v.must(v.inventory.createFolder("/DC0/vm/vm-operator", "one-more"))
	w.until("one folder", func() bool { return w.count("Folder") == 1 })
	t.Logf("one folder beside %d machines seen in %v", w.count("VirtualMachine"), time.Since(began).Round(time.Millisecond))
}
