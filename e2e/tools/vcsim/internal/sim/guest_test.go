package sim

import (
	"fmt"
	"testing"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func TestGuest(t *testing.T) {
	v := start(t, nil)
	v.must(v.inventory.addVMs(root, []NewVM{{Name: "one", On: true}}))
	path := root + "/one"
	read := func() (vm mo.VirtualMachine) {
		t.Helper()
		v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), v.vmRef("one"), []string{"config.uuid", "summary", "guest"}, &vm))
		return vm
	}
	before := read()
	guest := Guest{HostName: "node-1", UUID: biosUUID, NICs: []NIC{
		{Network: "cni", Addresses: []string{}, Virtual: true},
		{Network: "VM Network", Addresses: []string{"10.0.0.1", "fd00::1"}},
	}}
	v.must(v.inventory.setGuest(path, guest))
	vm := read()
	if vm.Config.Uuid != biosUUID || vm.Summary.Config.Uuid != biosUUID {
		t.Errorf("uuids %s and %s", vm.Config.Uuid, vm.Summary.Config.Uuid)
	}
	if vm.Guest.HostName != "node-1" || vm.Summary.Guest.HostName != "node-1" || vm.Guest.IpAddress != "10.0.0.1" || vm.Summary.Guest.IpAddress != "10.0.0.1" {
		t.Errorf("%+v %+v", vm.Guest, vm.Summary.Guest)
	}
	if len(vm.Guest.Net) != 2 || vm.Guest.Net[0].DeviceConfigId != -1 || vm.Guest.Net[1].DeviceConfigId == -1 || fmt.Sprint(vm.Guest.Net[1].IpAddress) != "[10.0.0.1 fd00::1]" {
		t.Errorf("%+v", vm.Guest.Net)
	}
	if vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		t.Errorf("tools %s", vm.Guest.ToolsRunningStatus)
	}
	if shown := v.vm(path); shown.HostName != "node-1" || fmt.Sprint(shown.Addresses) != "[10.0.0.1 fd00::1]" || shown.UUID != biosUUID {
		t.Errorf("%+v", shown)
	}

	guest.ToolsStopped, guest.UUID = true, ""
	v.must(v.inventory.setGuest(path, guest))
	vm = read()
	if vm.Guest.IpAddress != "" || len(vm.Guest.Net) != 0 || vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning) {
		t.Errorf("stopped: %+v", vm.Guest)
	}
	if vm.Config.Uuid != biosUUID || vm.Config.Uuid == before.Config.Uuid {
		t.Errorf("uuid %s", vm.Config.Uuid)
	}
	if v.inventory.setGuest(root+"/none", guest) == nil {
		t.Error("no such machine")
	}
}
