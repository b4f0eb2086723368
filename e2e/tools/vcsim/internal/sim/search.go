package sim

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The searches of the SearchIndex for machines. The simulator's own ignore the datacenter, compare UUIDs by their case, and return any of
// several machines. Searches for hosts are the simulator's.

// FindByUuid returns a machine with the BIOS or instance UUID.
func (o *overrides) FindByUuid(ctx *simulator.Context, req *types.FindByUuid) soap.HasFault {
	found, fault := o.searchUUID(ctx, types.FindAllByUuid(*req))
	if fault != nil {
		return &methods.FindByUuidBody{Fault_: fault}
	}
	return &methods.FindByUuidBody{Res: &types.FindByUuidResponse{Returnval: first(found)}}
}

// FindAllByUuid returns all machines with the BIOS or instance UUID.
func (o *overrides) FindAllByUuid(ctx *simulator.Context, req *types.FindAllByUuid) soap.HasFault {
	found, fault := o.searchUUID(ctx, *req)
	if fault != nil {
		return &methods.FindAllByUuidBody{Fault_: fault}
	}
	return &methods.FindAllByUuidBody{Res: &types.FindAllByUuidResponse{Returnval: found}}
}

// FindByDnsName returns a machine whose guest has the host name.
func (o *overrides) FindByDnsName(ctx *simulator.Context, req *types.FindByDnsName) soap.HasFault {
	found, fault := o.searchName(ctx, types.FindAllByDnsName(*req))
	if fault != nil {
		return &methods.FindByDnsNameBody{Fault_: fault}
	}
	return &methods.FindByDnsNameBody{Res: &types.FindByDnsNameResponse{Returnval: first(found)}}
}

// FindAllByDnsName returns all machines whose guests have the host name.
func (o *overrides) FindAllByDnsName(ctx *simulator.Context, req *types.FindAllByDnsName) soap.HasFault {
	found, fault := o.searchName(ctx, *req)
	if fault != nil {
		return &methods.FindAllByDnsNameBody{Fault_: fault}
	}
	return &methods.FindAllByDnsNameBody{Res: &types.FindAllByDnsNameResponse{Returnval: found}}
}

// FindByIp returns a machine whose guest has the primary address.
func (o *overrides) FindByIp(ctx *simulator.Context, req *types.FindByIp) soap.HasFault {
	found, fault := o.searchIP(ctx, types.FindAllByIp(*req))
	if fault != nil {
		return &methods.FindByIpBody{Fault_: fault}
	}
	return &methods.FindByIpBody{Res: &types.FindByIpResponse{Returnval: first(found)}}
}

// FindAllByIp returns all machines whose guests have the primary address.
func (o *overrides) FindAllByIp(ctx *simulator.Context, req *types.FindAllByIp) soap.HasFault {
	found, fault := o.searchIP(ctx, *req)
	if fault != nil {
		return &methods.FindAllByIpBody{Fault_: fault}
	}
	return &methods.FindAllByIpBody{Res: &types.FindAllByIpResponse{Returnval: found}}
}

func (o *overrides) searchUUID(ctx *simulator.Context, req types.FindAllByUuid) ([]types.ManagedObjectReference, *soap.Fault) {
	return o.search(ctx, req.Datacenter, func(vm *simulator.VirtualMachine) bool {
		uuid := vm.Config.Uuid
		if req.InstanceUuid != nil && *req.InstanceUuid {
			uuid = vm.Config.InstanceUuid
		}
		return strings.EqualFold(uuid, req.Uuid)
	})
}

func (o *overrides) searchName(ctx *simulator.Context, req types.FindAllByDnsName) ([]types.ManagedObjectReference, *soap.Fault) {
	return o.search(ctx, req.Datacenter, func(vm *simulator.VirtualMachine) bool {
		return vm.Guest.HostName != "" && vm.Guest.HostName == req.DnsName
	})
}

func (o *overrides) searchIP(ctx *simulator.Context, req types.FindAllByIp) ([]types.ManagedObjectReference, *soap.Fault) {
	return o.search(ctx, req.Datacenter, func(vm *simulator.VirtualMachine) bool {
		return vm.Guest.IpAddress != "" && vm.Guest.IpAddress == req.Ip
	})
}

// search returns the machines in the datacenter, or in all if it is nil, that match and that the caller sees, in the order of their references. It locks one
// machine at a time.
func (o *overrides) search(caller *simulator.Context, datacenter *types.ManagedObjectReference, matches func(*simulator.VirtualMachine) bool) ([]types.ManagedObjectReference, *soap.Fault) {
	if datacenter != nil && o.registry.Get(*datacenter) == nil {
		return nil, missing(*datacenter)
	}
	ctx := outside(o.registry)
	var found []types.ManagedObjectReference
	for _, ref := range o.registry.AllReference("VirtualMachine") {
		vm, ok := ref.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		is := false
		ctx.WithLock(vm.Self, func() { is = matches(vm) })
		if is && (datacenter == nil || o.isIn(vm.Self, *datacenter)) && !o.isHidden(caller, vm.Self) {
			found = append(found, vm.Self)
		}
	}
	slices.SortFunc(found, func(a, b types.ManagedObjectReference) int { return strings.Compare(a.Value, b.Value) })
	return found, nil
}

// isIn reports whether the ancestor is one of the entity.
func (o *overrides) isIn(ref, ancestor types.ManagedObjectReference) bool {
	ctx := outside(o.registry)
	for ref != ancestor {
		entity, ok := o.registry.Get(ref).(mo.Entity)
		if !ok {
			return false
		}
		var parent *types.ManagedObjectReference
		ctx.WithLock(ref, func() { parent = entity.Entity().Parent })
		if parent == nil {
			return false
		}
		ref = *parent
	}
	return true
}

// first returns the first reference; nil if there is none.
func first(refs []types.ManagedObjectReference) *types.ManagedObjectReference {
	if len(refs) == 0 {
		return nil
	}
	return &refs[0]
}

// isMachineSearch reports whether the call searches for machines.
func isMachineSearch(body any) bool {
	switch req := body.(type) {
	case *types.FindByUuid:
		return req.VmSearch
	case *types.FindAllByUuid:
		return req.VmSearch
	case *types.FindByDnsName:
		return req.VmSearch
	case *types.FindAllByDnsName:
		return req.VmSearch
	case *types.FindByIp:
		return req.VmSearch
	case *types.FindAllByIp:
		return req.VmSearch
	}
	return false
}
