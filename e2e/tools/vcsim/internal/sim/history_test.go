package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
)

func TestHistoryOfAMachine(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.createFolder(root, "a"))
	v.must(v.inventory.addVMs(root+"/a", []NewVM{{Name: "web", On: true, ExtraConfig: map[string]string{"owner": "x"}}}))
	path := root + "/a/web"
	vm := object.NewVirtualMachine(v.client, v.vmRef("web"))
	v.must(v.inventory.setPower(path, false))
	for _, start := range []func() (*object.Task, error){
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
		"made " + path + " of x", "poweredOn  of x", "poweredOff  of x", "poweredOn  of x", "poweredOff  of x",
		"destroyed " + path + " of x",
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
