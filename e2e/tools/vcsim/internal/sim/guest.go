package sim

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Guest is what VMware Tools report of a machine's operating system, and the UUID that the machine's BIOS shows it.
type Guest struct {
	HostName string `json:"hostName"`
	UUID     string `json:"uuid"` // empty: config.uuid stays
	NICs     []NIC  `json:"nics"`
	// ToolsStopped is how a machine is shown whose Tools do not run. A vCenter shows no addresses of it.
	ToolsStopped bool `json:"toolsStopped"`
}

// NIC is a network adapter as VMware Tools report it.
type NIC struct {
	Network   string   `json:"network"` // the name of its port group
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"`
	// Virtual is whether the guest made it itself, as container networks do: no device of the machine belongs to it.
	Virtual bool `json:"virtual"`
}

// firstNICKey is the key of a machine's first network adapter.
const firstNICKey = 4000

// setGuest sets what VMware Tools report of a machine.
func (i *inventory) setGuest(inventoryPath string, guest Guest) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		status, running := types.VirtualMachineToolsStatusToolsOk, types.VirtualMachineToolsRunningStatusGuestToolsRunning
		if guest.ToolsStopped {
			status, running = types.VirtualMachineToolsStatusToolsNotRunning, types.VirtualMachineToolsRunningStatusGuestToolsNotRunning
		}
		address := ""
		nics := []types.GuestNicInfo{}
		for n, nic := range guest.NICs {
			if address == "" && len(nic.Addresses) > 0 {
				address = nic.Addresses[0]
			}
			nics = append(nics, nic.info(n))
		}
		if guest.ToolsStopped {
			address, nics = "", []types.GuestNicInfo{}
		}
		changes := []types.PropertyChange{
			{Name: "guest.hostName", Val: guest.HostName},
			{Name: "guest.ipAddress", Val: address},
			{Name: "guest.net", Val: nics},
			{Name: "guest.toolsStatus", Val: status},
			{Name: "guest.toolsRunningStatus", Val: string(running)},
			{Name: "summary.guest.hostName", Val: guest.HostName},
			{Name: "summary.guest.ipAddress", Val: address},
			{Name: "summary.guest.toolsStatus", Val: status},
			{Name: "summary.guest.toolsRunningStatus", Val: string(running)},
		}
		if guest.UUID != "" {
			changes = append(changes,
				types.PropertyChange{Name: "config.uuid", Val: guest.UUID},
				types.PropertyChange{Name: "summary.config.uuid", Val: guest.UUID})
		}
		ctx.Update(vm, changes)
		return nil
	})
}

// info returns the nth adapter as a vCenter shows it.
func (n NIC) info(index int) types.GuestNicInfo {
	key := int32(firstNICKey + index)
	if n.Virtual {
		key = -1
	}
	if n.MAC == "" {
		n.MAC = fmt.Sprintf("00:50:56:00:00:%02x", index)
	}
	return types.GuestNicInfo{
		Network:        n.Network,
		IpAddress:      n.Addresses,
		MacAddress:     n.MAC,
		Connected:      true,
		DeviceConfigId: key,
	}
}
