package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// setConnection sets runtime.connectionState of a machine, as when its host or its files are not accessible. Unless
// readable, the collectors show its config as unset.
func (i *inventory) setConnection(inventoryPath string, state types.VirtualMachineConnectionState, readable bool) error {
	if !slices.Contains(state.Values(), state) {
		return fmt.Errorf("unknown connection state %q; use one of %s", state, strings.Join(state.Strings(), ", "))
	}
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		i.overrides.setReadable(vm.Self, readable)
		ctx.Update(vm, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: state},
			{Name: "summary.runtime.connectionState", Val: state},
		})
		return nil
	})
}

// setReadable records whether the collectors show the config of a machine.
func (o *overrides) setReadable(ref types.ManagedObjectReference, readable bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if readable {
		delete(o.unreadable, ref)
	} else {
		o.unreadable[ref] = struct{}{}
	}
}

// checkConnected returns InvalidState if the object is a machine that is not connected: a vCenter can neither run nor
// delete it. It can only unregister it.
func (o *overrides) checkConnected(ref types.ManagedObjectReference) (fault types.BaseMethodFault) {
	vm, ok := o.registry.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return nil
	}
	outside(o.registry).WithLock(ref, func() {
		if vm.Runtime.ConnectionState != types.VirtualMachineConnectionStateConnected {
			fault = new(types.InvalidState)
		}
	})
	return fault
}

// hide returns the contents, which are copies, without the properties that are not readable, and without the objects that the account
// does not see.
func (o *overrides) hide(ctx *simulator.Context, contents []types.ObjectContent) []types.ObjectContent {
	contents = slices.DeleteFunc(contents, func(content types.ObjectContent) bool { return o.isHidden(ctx, content.Obj) })
	for i := range contents {
		o.hideIn(&contents[i])
		for n, property := range contents[i].PropSet {
			if refs, ok := property.Val.(types.ArrayOfManagedObjectReference); ok {
				refs.ManagedObjectReference = o.withoutHidden(ctx, refs.ManagedObjectReference)
				contents[i].PropSet[n].Val = refs
			}
		}
	}
	return contents
}

// hideIn removes the config from the content if it is that of a machine whose config is not readable.
func (o *overrides) hideIn(content *types.ObjectContent) {
	o.mu.Lock()
	_, unreadable := o.unreadable[content.Obj]
	o.mu.Unlock()
	if unreadable {
		content.PropSet = slices.DeleteFunc(content.PropSet, func(p types.DynamicProperty) bool {
			return p.Name == "config" || strings.HasPrefix(p.Name, "config.")
		})
	}
}

// overridesOf returns the overrides of the simulator that serves the call.
func overridesOf(ctx *simulator.Context) *overrides { return ctx.Map.Get(overridesRef).(*overrides) }

// RetrievePropertiesEx returns what the specs select, without what is not readable.
func (c *Collector) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	res := c.PropertyCollector.RetrievePropertiesEx(ctx, req).(*methods.RetrievePropertiesExBody)
	if res.Res != nil && res.Res.Returnval != nil {
		res.Res.Returnval.Objects = overridesOf(ctx).hide(ctx, res.Res.Returnval.Objects)
	}
	return res
}

// ContinueRetrievePropertiesEx returns the next page of a RetrievePropertiesEx.
func (c *Collector) ContinueRetrievePropertiesEx(ctx *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	res := c.PropertyCollector.ContinueRetrievePropertiesEx(ctx, req).(*methods.ContinueRetrievePropertiesExBody)
	if res.Res != nil {
		res.Res.Returnval.Objects = overridesOf(ctx).hide(ctx, res.Res.Returnval.Objects)
	}
	return res
}

// RetrieveProperties is the older form of RetrievePropertiesEx, without pages.
func (c *Collector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	res := c.PropertyCollector.RetrieveProperties(ctx, req).(*methods.RetrievePropertiesBody)
	if res.Res != nil {
		res.Res.Returnval = overridesOf(ctx).hide(ctx, res.Res.Returnval)
	}
	return res
}
