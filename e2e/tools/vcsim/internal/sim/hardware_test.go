package sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
)

const firstHost, firstStore = "/DC0/host/DC0_C0/DC0_C0_H0", "/DC0/datastore/LocalDS_0"

func TestHardware(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one"}, {Name: "two"}}))
	v.must(v.inventory.setHardware(root+"/one", Hardware{Version: "vmx-14", ChangeTracking: true}))
	for name, changed := range map[string]bool{"one": true, "two": false} {
		var vm mo.VirtualMachine
		v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), v.vmRef(name), []string{"config.version", "config.changeTrackingEnabled"}, &vm))
		tracked := vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled
		if tracked != changed || (vm.Config.Version == "vmx-14") != changed {
			t.Errorf("%s: %s %v", name, vm.Config.Version, tracked)
		}
	}
	if v.inventory.setHardware(root+"/none", Hardware{}) == nil {
		t.Error("no such machine")
	}
}

func TestHostsDiffer(t *testing.T) {
	v := start(t, func(c *Config) { c.Hosts, c.Datastores = 2, 2 })
	read := func(path string) (host mo.HostSystem) {
		t.Helper()
		ref, err := v.inventory.find("HostSystem", path)
		v.must(err)
		v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), ref, []string{"config.product", "datastore"}, &host))
		return host
	}
	before := read("/DC0/host/DC0_C0/DC0_C0_H1")
	v.must(v.inventory.setHostRelease(firstHost, "6.7.0", "14320388"))
	v.must(v.inventory.unmount(firstStore, firstHost))
	store, err := v.inventory.find("Datastore", firstStore)
	v.must(err)
	if host := read(firstHost); host.Config.Product.Version != "6.7.0" || host.Config.Product.Build != "14320388" || len(host.Datastore) != 1 || slices.Contains(host.Datastore, store) {
		t.Errorf("%+v %v", host.Config.Product, host.Datastore)
	}
	if other := read("/DC0/host/DC0_C0/DC0_C0_H1"); other.Config.Product.Version != before.Config.Product.Version || len(other.Datastore) != 2 {
		t.Errorf("the other host: %+v %v", other.Config.Product, other.Datastore)
	}
	if v.inventory.setHostRelease("/DC0/host/none", "", "") == nil || v.inventory.unmount(firstStore, "/DC0/none") == nil || v.inventory.unmount("/DC0/none", firstHost) == nil {
		t.Error("no such host or datastore")
	}
}

func TestStorageClusters(t *testing.T) {
	v := start(t, func(c *Config) { c.Datastores = 2 })
	v.must(v.inventory.balance(firstStore, "pod", true))
	store, err := v.inventory.find("Datastore", "/DC0/datastore/pod/LocalDS_0")
	v.must(err)
	var moved mo.Datastore
	v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), store, []string{"parent"}, &moved))
	var pod mo.StoragePod
	v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), *moved.Parent, []string{"name", "podStorageDrsEntry"}, &pod))
	if moved.Parent.Type != "StoragePod" || pod.Name != "pod" || !pod.PodStorageDrsEntry.StorageDrsConfig.PodConfig.Enabled {
		t.Errorf("%v %+v", moved.Parent, pod)
	}
	if v.inventory.balance("/DC0/datastore/pod/LocalDS_0", "other", true) == nil {
		t.Error("it is in a storage cluster already")
	}
}

func TestStoragePoliciesOverREST(t *testing.T) {
	v := start(t, func(c *Config) { c.User = "administrator@vsphere.local" })
	client := v.restClient()
	get := func() (int, map[string][]policy) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+v.SDKAddress()+policiesPath, nil)
		v.must(err)
		request.Header.Set("vmware-api-session-id", client.SessionID())
		response, err := client.Client.Client.Do(request)
		v.must(err)
		defer func() { _ = response.Body.Close() }()
		found := map[string][]policy{}
		if response.StatusCode == http.StatusOK {
			v.must(json.NewDecoder(response.Body).Decode(&found))
		}
		return response.StatusCode, found
	}
	if status, _ := get(); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
	v.must(client.Login(t.Context(), url.UserPassword(v.Server.user, "secret")))
	status, found := get()
	if !slices.ContainsFunc(found["value"], func(p policy) bool { return p.Name == "vSAN Default Storage Policy" && p.Policy != "" }) {
		t.Errorf("%d %v", status, found)
	}
}
