package sim

import (
	"slices"
	"strconv"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// lastVLAN is the highest VLAN.
const lastVLAN = 4094

// AddDVPortgroupTask starts a task that adds port groups to a switch.
func (o *overrides) AddDVPortgroupTask(_ *simulator.Context, req *types.AddDVPortgroup_Task) soap.HasFault {
	body := new(methods.AddDVPortgroup_TaskBody)
	vswitch, ok := o.registry.Get(req.This).(*simulator.DistributedVirtualSwitch)
	if !ok {
		body.Fault_ = missing(req.This)
		return body
	}
	run := func() types.BaseMethodFault {
		for n := range req.Spec {
			if fault := checkVLAN(req.Spec[n].DefaultPortConfig); fault != nil {
				return fault
			}
			req.Spec[n].Name = escape(req.Spec[n].Name)
		}
		return o.change(vswitch.Self, func(ctx *simulator.Context) { vswitch.AddDVPortgroupTask(ctx, req) })
	}
	body.Res = &types.AddDVPortgroup_TaskResponse{Returnval: o.startInTree(req.This, "AddDVPortgroup_Task", run)}
	return body
}

// ReconfigureDVPortgroupTask starts a task that changes what the spec has of a port group.
func (o *overrides) ReconfigureDVPortgroupTask(_ *simulator.Context, req *types.ReconfigureDVPortgroup_Task) soap.HasFault {
	body := new(methods.ReconfigureDVPortgroup_TaskBody)
	group, ok := o.registry.Get(req.This).(*simulator.DistributedVirtualPortgroup)
	if !ok {
		body.Fault_ = missing(req.This)
		return body
	}
	run := func() types.BaseMethodFault { return o.reconfigurePortGroup(group, &req.Spec) }
	body.Res = &types.ReconfigureDVPortgroup_TaskResponse{
		Returnval: o.startInTree(req.This, "ReconfigureDVPortgroup_Task", run),
	}
	return body
}

// reconfigurePortGroup changes what the spec has of a port group; the caller holds the tree's lock.
func (o *overrides) reconfigurePortGroup(group *simulator.DistributedVirtualPortgroup, spec *types.DVPortgroupConfigSpec) types.BaseMethodFault {
	var now types.DVPortgroupConfigInfo
	var name string
	outside(o.registry).WithLock(group.Self, func() { now, name = group.Config, group.Name })
	switch {
	case o.registry.Get(group.Self) == nil:
		return &types.ManagedObjectNotFound{Obj: group.Self}
	case spec.ConfigVersion == "":
		return &types.InvalidArgument{InvalidProperty: "spec.configVersion"}
	case spec.ConfigVersion != now.ConfigVersion:
		return new(types.ConcurrentAccess)
	}
	if fault := checkVLAN(spec.DefaultPortConfig); fault != nil {
		return fault
	}
	if spec.Name != "" && escape(spec.Name) != name {
		if fault := o.renamePortGroup(group, escape(spec.Name)); fault != nil {
			return fault
		}
	}
	whole := wholeSpec(now, spec)
	fault := o.change(group.Self, func(ctx *simulator.Context) {
		group.ReconfigureDVPortgroupTask(ctx, &types.ReconfigureDVPortgroup_Task{This: group.Self, Spec: whole})
	})
	if fault != nil {
		return fault
	}
	outside(o.registry).WithLock(group.Self, func() {
		version, _ := strconv.Atoi(now.ConfigVersion)
		group.Config.ConfigVersion = strconv.Itoa(version + 1)
		group.PortKeys = nil
		for n := range int(group.Config.NumPorts) {
			group.PortKeys = append(group.PortKeys, strconv.Itoa(n))
		}
	})
	o.journal.touch(group.Self)
	return nil
}

// RenameTask starts a task that renames a port group.
func (o *overrides) RenameTask(_ *simulator.Context, req *types.Rename_Task) soap.HasFault {
	body := new(methods.Rename_TaskBody)
	group, ok := o.registry.Get(req.This).(*simulator.DistributedVirtualPortgroup)
	if !ok {
		body.Fault_ = missing(req.This)
		return body
	}
	run := func() types.BaseMethodFault { return o.renamePortGroup(group, req.NewName) }
	body.Res = &types.Rename_TaskResponse{Returnval: o.startInTree(req.This, "Rename_Task", run)}
	return body
}

// renamePortGroup renames a port group, which has its name twice; the caller holds the tree's lock.
func (o *overrides) renamePortGroup(group *simulator.DistributedVirtualPortgroup, name string) types.BaseMethodFault {
	rename := &types.Rename_Task{This: group.Self, NewName: name}
	fault := o.change(group.Self, func(ctx *simulator.Context) { group.RenameTask(ctx, rename) })
	if fault == nil {
		outside(o.registry).WithLock(group.Self, func() { group.Entity().Name, group.Config.Name = name, name })
	}
	return fault
}

// wholeSpec returns the spec with what it omits as the port group has it: the simulator would clear that.
func wholeSpec(now types.DVPortgroupConfigInfo, spec *types.DVPortgroupConfigSpec) types.DVPortgroupConfigSpec {
	whole := types.DVPortgroupConfigSpec{
		Name: now.Name, NumPorts: now.NumPorts, PortNameFormat: now.PortNameFormat, DefaultPortConfig: now.DefaultPortConfig,
		Description: now.Description, Type: now.Type, BackingType: now.BackingType, Policy: now.Policy,
		AutoExpand: now.AutoExpand, VmVnicNetworkResourcePoolKey: now.VmVnicNetworkResourcePoolKey,
		LogicalSwitchUuid: now.LogicalSwitchUuid, SegmentId: now.SegmentId, SubnetId: now.SubnetId,
	}
	if spec.Name != "" {
		whole.Name = escape(spec.Name)
	}
	if spec.NumPorts != 0 {
		whole.NumPorts = spec.NumPorts
	}
	if spec.Description != "" {
		whole.Description = spec.Description
	}
	if spec.Type != "" {
		whole.Type = spec.Type
	}
	if spec.AutoExpand != nil {
		whole.AutoExpand = spec.AutoExpand
	}
	wanted, _ := spec.DefaultPortConfig.(*types.VMwareDVSPortSetting)
	if has, ok := now.DefaultPortConfig.(*types.VMwareDVSPortSetting); ok && wanted != nil && wanted.Vlan != nil {
		setting := *has
		setting.Vlan = wanted.Vlan
		whole.DefaultPortConfig = &setting
	}
	return whole
}

// checkVLAN returns the fault of a VLAN that does not exist.
func checkVLAN(setting types.BaseDVPortSetting) types.BaseMethodFault {
	ports, ok := setting.(*types.VMwareDVSPortSetting)
	if !ok {
		return nil
	}
	var ranges []types.NumericRange
	switch vlan := ports.Vlan.(type) {
	case *types.VmwareDistributedVirtualSwitchVlanIdSpec:
		ranges = []types.NumericRange{{Start: vlan.VlanId, End: vlan.VlanId}}
	case *types.VmwareDistributedVirtualSwitchTrunkVlanSpec:
		ranges = vlan.VlanId
	}
	for _, r := range ranges {
		if r.Start < 0 || r.End > lastVLAN || r.Start > r.End {
			return &types.InvalidArgument{InvalidProperty: "spec.defaultPortConfig.vlan"}
		}
	}
	return nil
}

// removePortGroup removes a port group that no machine is attached to; the caller holds the tree's lock.
func (o *overrides) removePortGroup(ref types.ManagedObjectReference) types.BaseMethodFault {
	group, ok := o.registry.Get(ref).(*simulator.DistributedVirtualPortgroup)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: ref}
	}
	ctx := outside(o.registry)
	var name string
	var hosts []types.ManagedObjectReference
	var used bool
	ctx.WithLock(ref, func() { name, hosts, used = group.Name, slices.Clone(group.Host), len(group.Vm) > 0 })
	if used {
		return &types.ResourceInUse{Type: ref.Type, Name: name}
	}
	if fault := o.change(ref, func(ctx *simulator.Context) { group.DestroyTask(ctx, &types.Destroy_Task{This: ref}) }); fault != nil {
		return fault
	}
	for _, host := range hosts {
		ctx.WithLock(host, func() {
			if host, ok := o.registry.Get(host).(*simulator.HostSystem); ok {
				simulator.RemoveReference(&host.Network, ref)
			}
		})
	}
	return nil
}

// change runs one of the simulator's own tasks as a hidden part of another, with its entity locked, and gives every port
// group a version; the caller holds the tree's lock.
func (o *overrides) change(entity types.ManagedObjectReference, start func(*simulator.Context)) (fault types.BaseMethodFault) {
	ctx := outside(o.registry)
	ctx.WithLock(entity, func() {
		_, fault = o.tasks.step(ctx, entity, func() { start(ctx) })
	})
	o.journal.touch(entity)
	o.versionPortGroups()
	return fault
}

// versionPortGroups gives the port groups that have none a version.
func (o *overrides) versionPortGroups() {
	ctx := outside(o.registry)
	for _, ref := range o.registry.AllReference("DistributedVirtualPortgroup") {
		if group, ok := ref.(*simulator.DistributedVirtualPortgroup); ok {
			ctx.WithLock(group.Self, func() {
				if group.Config.ConfigVersion == "" {
					group.Config.ConfigVersion = "0"
				}
				if group.Config.AutoExpand == nil { // vCenter's default
					group.Config.AutoExpand = types.NewBool(true)
				}
			})
		}
	}
}
