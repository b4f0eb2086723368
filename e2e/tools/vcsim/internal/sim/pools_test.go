package sim

import (
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func TestPoolIsRecreated(t *testing.T) {
	v := start(t, func(c *Config) { c.Pools = []string{"team", "other"} })
	ctx := t.Context()
	const path = "/DC0/host/DC0_C0/Resources/team"
	pool := func() types.ManagedObjectReference {
		t.Helper()
		pool, err := find.NewFinder(v.client).ResourcePool(ctx, path)
		v.must(err)
		return pool.Reference()
	}
	clone := func(name string, pool types.ManagedObjectReference) error {
		return v.waitFor(v.templates[0].Clone(ctx, v.folder, name, types.VirtualMachineCloneSpec{
			Location: types.VirtualMachineRelocateSpec{Pool: &pool},
		}))
	}
	before := pool()
	v.must(clone("one", before))
	// A clone whose pool is destroyed while its task runs: the task fails.
	v.overrides.cloneTime.Store(int64(300 * time.Millisecond))
	late, err := v.templates[0].Clone(ctx, v.folder, "late", types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &before},
	})
	v.must(err)
	v.must(v.inventory.recreatePool("team"))
	if err := v.waitFor(late, nil); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("the clone that ran meanwhile: %v", err)
	}
	v.overrides.cloneTime.Store(0)

	after := pool()
	if after == before {
		t.Fatal("the pool is the same")
	}
	err = clone("two", before)
	if !isFault[*types.ManagedObjectNotFound](err) {
		t.Fatalf("into the old pool: %v", err)
	}
	if fault := soap.ToSoapFault(err).VimFault().(types.ManagedObjectNotFound); fault.Obj != before {
		t.Errorf("the fault names %s", fault.Obj)
	}
	v.must(clone("two", after))
	if vm := v.vm(root + "/one"); vm.Power != "poweredOff" {
		t.Errorf("the machine of the old pool: %+v", vm)
	}
	if v.inventory.recreatePool("none") == nil || v.inventory.recreatePool("Resources") == nil {
		t.Error("a pool that was not added is recreated")
	}
}
