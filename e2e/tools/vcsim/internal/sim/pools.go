package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

// pool returns the root resource pool of the first cluster of the datacenter that the inventory path is in.
func (i *inventory) pool(inventoryPath string) (types.ManagedObjectReference, error) {
	datacenter := strings.SplitN(inventoryPath, "/", 3)[1]
	pools := map[string]types.ManagedObjectReference{}
	var paths []string
	for _, ref := range i.registry.AllReference("ResourcePool") {
		pool, ok := ref.(*simulator.ResourcePool)
		if !ok || !strings.HasSuffix(pool.Parent.Type, "ComputeResource") {
			continue
		}
		if path := pathOf(i.registry, pool.Self); strings.HasPrefix(path, "/"+datacenter+"/") {
			paths = append(paths, path)
			pools[path] = pool.Self
		}
	}
	if len(paths) == 0 {
		return types.ManagedObjectReference{}, fmt.Errorf("%w: resource pool in %s", errNotFound, datacenter)
	}
	slices.Sort(paths)
	return pools[paths[0]], nil
}

// addPool adds a child pool to a resource pool.
func (i *inventory) addPool(parent types.ManagedObjectReference, name string) error {
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	var err error
	ctx.WithLock(parent, func() {
		pool, ok := i.registry.Get(parent).(*simulator.ResourcePool)
		if !ok {
			err = fmt.Errorf("%w: resource pool %s", errNotFound, parent.Value)
			return
		}
		req := &types.CreateResourcePool{This: parent, Name: escape(name), Spec: types.DefaultResourceConfigSpec()}
		if f := pool.CreateResourcePool(ctx, req).Fault(); f != nil {
			err = fmt.Errorf("add resource pool %s: %T", name, f.VimFault())
		}
	})
	i.journal.touch(parent)
	return err
}

// addDatacenter adds an empty datacenter.
func (i *inventory) addDatacenter(name string) error {
	ctx := outside(i.registry)
	i.overrides.tree.Lock()
	defer i.overrides.tree.Unlock()
	content := i.registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content
	root := i.registry.Get(content.RootFolder).(*simulator.Folder)
	var err error
	ctx.WithLock(root.Self, func() {
		req := &types.CreateDatacenter{This: root.Self, Name: escape(name)}
		if f := root.CreateDatacenter(ctx, req).Fault(); f != nil {
			err = fmt.Errorf("add datacenter %s: %T", name, f.VimFault())
		}
	})
	i.journal.touch(root.Self)
	return err
}

// recreatePool destroys each child pool of that name and creates another one in its place. The machines in it move to
// its parent, as in a vCenter.
func (i *inventory) recreatePool(name string) error {
	found := false
	for _, ref := range i.registry.AllReference("ResourcePool") {
		pool, ok := ref.(*simulator.ResourcePool)
		if !ok || pool.Parent.Type != "ResourcePool" || pool.Name != escape(name) {
			continue
		}
		found = true
		self, parent := pool.Self, *pool.Parent
		err := i.inStep(self, "destroy resource pool "+name, func(ctx *simulator.Context) {
			pool.DestroyTask(ctx, &types.Destroy_Task{This: self})
		})
		if err != nil {
			return err
		}
		if err := i.addPool(parent, name); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%w: resource pool %s; start the simulator with it", errNotFound, name)
	}
	return nil
}
