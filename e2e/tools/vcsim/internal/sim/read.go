package sim

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// read returns the properties of the objects that exist.
func (c *Collector) read(ctx *simulator.Context, properties []types.PropertySpec, refs []types.ManagedObjectReference) (map[types.ManagedObjectReference]*types.ObjectContent, types.BaseMethodFault) {
	contents := make(map[types.ManagedObjectReference]*types.ObjectContent, len(refs))
	rest := types.PropertyFilterSpec{PropSet: properties, ReportMissingObjectsInResults: types.NewBool(true)}
	for _, ref := range refs {
		if content, ok := readQuickly(ctx, ref, properties); !ok {
			rest.ObjectSet = append(rest.ObjectSet, types.ObjectSpec{Obj: ref})
		} else if content != nil && !overridesOf(ctx).isHidden(ctx, ref) {
			overridesOf(ctx).hideIn(content)
			contents[ref] = content
		}
	}
	if len(rest.ObjectSet) == 0 {
		return contents, nil
	}
	found, fault := c.retrieve(ctx, rest)
	for i := range found {
		contents[found[i].Obj] = &found[i]
	}
	return contents, fault
}

// retrieve returns what the spec selects.
func (c *Collector) retrieve(ctx *simulator.Context, spec types.PropertyFilterSpec) ([]types.ObjectContent, types.BaseMethodFault) {
	res := c.RetrievePropertiesEx(ctx, &types.RetrievePropertiesEx{This: c.Self, SpecSet: []types.PropertyFilterSpec{spec}})
	if fault := res.Fault(); fault != nil {
		return nil, fault.VimFault().(types.BaseMethodFault)
	}
	return res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects, nil
}
