package sim

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// options returns entries of extraConfig from pairs of key and value.
func options(pairs ...string) (list []types.BaseOptionValue) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, &types.OptionValue{Key: pairs[i], Value: pairs[i+1]})
	}
	return list
}

func TestCloneCopiesExtraConfig(t *testing.T) {
	v := start(t, nil)
	clone := func(source *object.VirtualMachine, name string, config *types.VirtualMachineConfigSpec) VM {
		t.Helper()
		spec := types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{Pool: &v.pool}, Config: config}
		v.inTask(source.Clone(t.Context(), v.folder, name, spec))
		return v.vm("/DC0/vm/vm-operator/" + name)
	}
	first := clone(v.templates[0], "first", &types.VirtualMachineConfigSpec{
		ExtraConfig: options("infra.owner", "x", "infra.slot", "1", "kept", "ü"),
	})
	source := object.NewVirtualMachine(v.client, v.vmRef("first"))
	copied := clone(source, "copied", nil)
	if copied.ExtraConfig["infra.owner"] != "x" || copied.ExtraConfig["infra.slot"] != "1" || copied.ExtraConfig["kept"] != "ü" {
		t.Errorf("a clone without entries of its own has %v", copied.ExtraConfig)
	}
	const id = "0d9bd1f2-0000-0000-0000-000000000002"
	changed := clone(source, "changed", &types.VirtualMachineConfigSpec{
		InstanceUuid: id,
		ExtraConfig:  options("infra.owner", "y", "infra.slot", "", "absent", "", "own", "z"),
	})
	if changed.ExtraConfig["infra.owner"] != "y" || changed.ExtraConfig["kept"] != "ü" || changed.ExtraConfig["own"] != "z" {
		t.Errorf("a clone with entries of its own has %v", changed.ExtraConfig)
	}
	for _, key := range []string{"infra.slot", "absent"} {
		if value, ok := changed.ExtraConfig[key]; ok {
			t.Errorf("the empty value left %s = %q", key, value)
		}
	}
	if changed.InstanceUUID != id || first.InstanceUUID == copied.InstanceUUID || copied.InstanceUUID == "" {
		t.Errorf("instance UUIDs: %s, %s, %s", first.InstanceUUID, copied.InstanceUUID, changed.InstanceUUID)
	}
	if first.UUID == copied.UUID || copied.UUID == changed.UUID {
		t.Errorf("BIOS UUIDs: %s, %s, %s", first.UUID, copied.UUID, changed.UUID)
	}
	if source := v.vm("/DC0/vm/vm-operator/first"); source.ExtraConfig["infra.owner"] != "x" {
		t.Errorf("cloning changed the source: %v", source.ExtraConfig)
	}
}
