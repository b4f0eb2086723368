package sim

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Hardware is what a machine's configuration says of its virtual hardware.
type Hardware struct {
	Version string `json:"version"` // such as vmx-15
	// ChangeTracking is whether changed blocks of its disks are tracked.
	ChangeTracking bool `json:"changeTracking"`
}

// setHardware sets what a machine's configuration says of its virtual hardware.
func (i *inventory) setHardware(inventoryPath string, hardware Hardware) error {
	return i.change(inventoryPath, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		ctx.Update(vm, []types.PropertyChange{
			{Name: "config.version", Val: hardware.Version},
			{Name: "config.changeTrackingEnabled", Val: hardware.ChangeTracking},
		})
		return nil
	})
}

// setHostRelease sets the version and build of ESXi of a host.
func (i *inventory) setHostRelease(inventoryPath, version, build string) error {
	ref, err := i.find("HostSystem", inventoryPath)
	if err != nil {
		return err
	}
	ctx := outside(i.registry)
	ctx.WithLock(ref, func() {
		host, ok := i.registry.Get(ref).(*simulator.HostSystem)
		if !ok || host.Config == nil {
			err = fmt.Errorf("%w: HostSystem %s", errNotFound, inventoryPath)
			return
		}
		config := *host.Config
		config.Product.Version, config.Product.Build = version, build
		host.Config = &config // hosts share what they start with
	})
	return err
}

// unmount takes a datastore away from a host.
func (i *inventory) unmount(datastore, inventoryPath string) error {
	store, err := i.find("Datastore", datastore)
	if err != nil {
		return err
	}
	host, err := i.find("HostSystem", inventoryPath)
	if err != nil {
		return err
	}
	ctx := outside(i.registry)
	ctx.WithLock(host, func() {
		of := i.registry.Get(host).(*simulator.HostSystem)
		of.Datastore = slices.DeleteFunc(slices.Clone(of.Datastore), func(ref types.ManagedObjectReference) bool { return ref == store })
	})
	ctx.WithLock(store, func() {
		of := i.registry.Get(store).(*simulator.Datastore)
		of.Host = slices.DeleteFunc(slices.Clone(of.Host), func(mount types.DatastoreHostMount) bool { return mount.Key == host })
		of.Summary.MultipleHostAccess = types.NewBool(len(of.Host) > 1)
	})
	return nil
}

// balance moves a datastore into a new storage cluster, whose disks a vCenter moves by itself if automatic is set.
func (i *inventory) balance(datastore, cluster string, automatic bool) error {
	store, err := i.find("Datastore", datastore)
	if err != nil {
		return err
	}
	ctx := outside(i.registry)
	var parent types.ManagedObjectReference
	ctx.WithLock(store, func() { parent = *i.registry.Get(store).(*simulator.Datastore).Parent })
	folder, ok := i.registry.Get(parent).(*simulator.Folder)
	if !ok {
		return fmt.Errorf("%s is in a storage cluster already", datastore)
	}
	ctx.WithLock(parent, func() {
		res := folder.CreateStoragePod(ctx, &types.CreateStoragePod{This: parent, Name: cluster})
		if f := res.Fault(); f != nil {
			err = fmt.Errorf("create storage cluster %s: %T", cluster, f.VimFault())
			return
		}
		folder.ChildEntity = slices.DeleteFunc(slices.Clone(folder.ChildEntity), func(ref types.ManagedObjectReference) bool { return ref == store })
	})
	if err != nil {
		return err
	}
	made := i.child(parent, "StoragePod", cluster)
	if made == nil {
		return fmt.Errorf("%w: StoragePod %s", errNotFound, cluster)
	}
	pod := i.registry.Get(*made).(*simulator.StoragePod)
	ctx.WithLock(*made, func() {
		pod.ChildEntity = append(pod.ChildEntity, store)
		pod.PodStorageDrsEntry = &types.PodStorageDrsEntry{
			StorageDrsConfig: types.StorageDrsConfigInfo{PodConfig: types.StorageDrsPodConfigInfo{Enabled: automatic}},
		}
	})
	ctx.WithLock(store, func() { i.registry.Get(store).(*simulator.Datastore).Parent = made })
	return nil
}
