package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
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
