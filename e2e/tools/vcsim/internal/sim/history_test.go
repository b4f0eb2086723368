package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func TestHistoryOfAMachine(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.createFolder(root, "a"))
	v.must(v.inventory.addVMs(root+"/a", []NewVM{{Name: "web", On: true, ExtraConfig: map[string]string{"owner": "x"}}}))
	path := root + "/a/web"
	vm := object.NewVirtualMachine(v.client, v.vmRef("web"))
	v.must(v.inventory.setPower(path, false))
	y, other := "y", types.VirtualMachineConfigSpec{
		NumCPUs: 3, ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "owner", Value: "z"}},
	}
	v.must(v.inventory.renameVM(path, "new"))
	v.must(v.inventory.setExtraConfig(root+"/a/new", "owner", &y))
	for _, start := range []func() (*object.Task, error){
		func() (*object.Task, error) { return vm.Rename(t.Context(), "web") },
		func() (*object.Task, error) { return vm.Reconfigure(t.Context(), other) },
		func() (*object.Task, error) { return vm.PowerOn(t.Context()) },
		func() (*object.Task, error) { return vm.PowerOff(t.Context()) },
		func() (*object.Task, error) { return vm.Destroy(t.Context()) },
	} {
		v.inTask(start())
	}
	v.must(v.inventory.addVMs(root+"/a", []NewVM{{Name: "again"}}))

	var got []string
	for _, event := range v.overrides.history.all() {
		if event.MoRef == vm.Reference().Value {
			got = append(got, event.What+" "+event.Path+" of "+event.ExtraConfig["owner"])
		}
	}
	want := []string{
		"made " + path + " of x", "poweredOn  of x", "poweredOff  of x", "renamed  of x", "reconfigured  of y", "renamed  of y",
		"reconfigured  of z", "poweredOn  of z", "poweredOff  of z", "destroyed " + path + " of z",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestCallsThatAnOutageCutsAreCounted(t *testing.T) {
	v := start(t, nil)
	v.must(v.rules.add(Rule{Method: "CurrentTime", Times: -1, Kind: KindHang}))
	answered := make(chan error, 1)
	go func() {
		_, err := methods.GetCurrentTime(t.Context(), v.client)
		answered <- err
	}()
	running := func() int { v.endpoint.mu.Lock(); defer v.endpoint.mu.Unlock(); return v.endpoint.running }
	for deadline := time.Now().Add(patience); running() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call does not arrive")
		}
	}
	v.must(v.endpoint.set(Outage{Kind: OutageRefuse, MS: 200}))
	if err := <-answered; err == nil {
		t.Error("the call was answered")
	}
	if got := v.endpoint.cutCalls(); got != 1 {
		t.Errorf("%d calls were cut", got)
	}
	v.rules.clear()
	if _, err := methods.GetCurrentTime(t.Context(), v.client); err == nil {
		t.Error("the port is open during the outage")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := methods.GetCurrentTime(t.Context(), v.client); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the outage does not end")
		}
	}
}
