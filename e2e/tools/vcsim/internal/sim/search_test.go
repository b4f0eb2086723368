package sim

import (
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const biosUUID = "4230c6a1-0000-4000-8000-00000000000a"

// node adds a machine with a guest.
func (v *vcenter) node(folder, name, uuid, address string) types.ManagedObjectReference {
	v.t.Helper()
	v.must(v.inventory.addVMs(folder, []NewVM{{Name: name, On: true}}))
	v.must(v.inventory.setGuest(folder+"/"+name, Guest{HostName: name, UUID: uuid, NICs: []NIC{{Addresses: []string{address}}}}))
	return v.vmRef(name)
}

func (v *vcenter) datacenter(name string) *object.Datacenter {
	v.t.Helper()
	ref, err := v.inventory.find("Datacenter", "/"+name)
	v.must(err)
	return object.NewDatacenter(v.client, ref)
}

func TestSearchesRespectTheDatacenter(t *testing.T) {
	v := start(t, func(c *Config) { c.Datacenters = 2 })
	ctx := t.Context()
	ref := v.node("/DC0/vm", "node-1", biosUUID, "10.0.0.1")
	index := object.NewSearchIndex(v.client)
	dc0, dc1 := v.datacenter("DC0"), v.datacenter("DC1")
	none := object.NewDatacenter(v.client, types.ManagedObjectReference{Type: "Datacenter", Value: "datacenter-none"})
	searches := map[string]func(dc *object.Datacenter) (object.Reference, error){
		"uuid": func(dc *object.Datacenter) (object.Reference, error) {
			return index.FindByUuid(ctx, dc, biosUUID, true, nil)
		},
		"upper-case uuid": func(dc *object.Datacenter) (object.Reference, error) {
			return index.FindByUuid(ctx, dc, strings.ToUpper(biosUUID), true, nil)
		},
		"name": func(dc *object.Datacenter) (object.Reference, error) {
			return index.FindByDnsName(ctx, dc, "node-1", true)
		},
		"ip": func(dc *object.Datacenter) (object.Reference, error) {
			return index.FindByIp(ctx, dc, "10.0.0.1", true)
		},
		"all by uuid": func(dc *object.Datacenter) (object.Reference, error) {
			return one(index.FindAllByUuid(ctx, dc, biosUUID, true, nil))
		},
		"all by name": func(dc *object.Datacenter) (object.Reference, error) {
			return one(index.FindAllByDnsName(ctx, dc, "node-1", true))
		},
		"all by ip": func(dc *object.Datacenter) (object.Reference, error) {
			return one(index.FindAllByIp(ctx, dc, "10.0.0.1", true))
		},
	}
	for name, search := range searches {
		for place, dc := range map[string]*object.Datacenter{"DC0": dc0, "all": nil} {
			found, err := search(dc)
			v.must(err)
			if found == nil || found.Reference() != ref {
				t.Errorf("by %s in %s: %v", name, place, found)
			}
		}
		if found, err := search(dc1); err != nil || found != nil {
			t.Errorf("by %s in DC1: %v %v", name, found, err)
		}
		if _, err := search(none); !isFault[*types.ManagedObjectNotFound](err) {
			t.Errorf("by %s in a datacenter that does not exist: %v", name, err)
		}
	}
}

func one(found []object.Reference, err error) (object.Reference, error) {
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func TestSearchesOfTheSimulatorPassOurObjects(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	index := object.NewSearchIndex(v.client)
	instance := true
	// Those that are not replaced look at every object of the registry.
	for range 2 {
		if found, err := index.FindByUuid(ctx, nil, biosUUID, false, nil); err != nil || found != nil {
			t.Fatalf("host by uuid: %v %v", found, err)
		}
		found, err := index.FindByUuid(ctx, nil, v.vm("/DC0/vm/photon").InstanceUUID, true, &instance)
		v.must(err)
		if found == nil || found.Reference() != v.vmRef("photon") {
			t.Fatalf("machine by instance uuid: %v", found)
		}
		path, err := methods.FindByDatastorePath(ctx, v.client, &types.FindByDatastorePath{
			This: index.Reference(), Datacenter: v.datacenter("DC0").Reference(), Path: "[LocalDS_0] none/none.vmx",
		})
		v.must(err)
		if path.Returnval != nil {
			t.Fatalf("by path: %v", path.Returnval)
		}
	}
}

func TestOfTwoMachinesWithOneHostNameTheFirstIsFound(t *testing.T) {
	v := start(t, nil)
	v.node(root, "a", biosUUID, "10.0.0.1")
	v.node(root, "b", biosUUID, "10.0.0.1")
	v.must(v.inventory.setGuest(root+"/b", Guest{HostName: "a"}))
	index := object.NewSearchIndex(v.client)
	all, err := index.FindAllByDnsName(t.Context(), nil, "a", true)
	v.must(err)
	if len(all) != 2 {
		t.Fatalf("%v", all)
	}
	for range 5 {
		found, err := index.FindByDnsName(t.Context(), nil, "a", true)
		v.must(err)
		if found.Reference() != all[0].Reference() {
			t.Errorf("%v, not %v", found, all[0])
		}
	}
}
