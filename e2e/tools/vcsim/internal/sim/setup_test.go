package sim

import (
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vcenter is a started server with a client that is logged in.
type vcenter struct {
	t *testing.T
	*Server
	user      string
	client    *vim25.Client
	manager   *session.Manager
	pool      types.ManagedObjectReference
	folder    *object.Folder
	templates []*object.VirtualMachine
}

func start(t *testing.T, change func(*Config)) *vcenter {
	t.Helper()
	config := Config{
		Options: Options{Datacenters: 1, Clusters: 1, Hosts: 1, Templates: []string{"photon"}, RootFolder: "vm-operator"},
		User:    "user", Password: "secret", Listen: "127.0.0.1:0", Control: "127.0.0.1:0",
		CallDelays: map[string]time.Duration{},
	}
	if _, err := os.Stat("/dev/shm"); err == nil { // on a disk, creating machines takes ten times as long
		config.Dir = "/dev/shm"
	}
	if change != nil {
		change(&config)
	}
	server, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	v := &vcenter{t: t, Server: server, user: config.User}
	v.client, v.manager = v.login("secret")
	ctx := t.Context()
	finder := find.NewFinder(v.client)
	dc, err := finder.Datacenter(ctx, "DC0")
	v.must(err)
	finder.SetDatacenter(dc)
	pool, err := finder.ResourcePool(ctx, "/DC0/host/DC0_C0/Resources")
	v.must(err)
	v.pool = pool.Reference()
	v.folder, err = finder.Folder(ctx, "/DC0/vm/vm-operator")
	v.must(err)
	for _, name := range config.Templates {
		vm, err := finder.VirtualMachine(ctx, "/DC0/vm/"+escape(name))
		v.must(err)
		v.templates = append(v.templates, vm)
	}
	return v
}

func (v *vcenter) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *vcenter) connect() *vim25.Client {
	v.t.Helper()
	c := soap.NewClient(&url.URL{Scheme: "https", Host: v.SDKAddress(), Path: vim25.Path}, false)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(v.Identity.CAPEM))
	c.DefaultTransport().TLSClientConfig.RootCAs = roots
	client, err := vim25.NewClient(v.t.Context(), c)
	v.must(err)
	return client
}

func (v *vcenter) login(password string) (*vim25.Client, *session.Manager) {
	v.t.Helper()
	client := v.connect()
	manager := session.NewManager(client)
	v.must(manager.Login(v.t.Context(), url.UserPassword(v.user, password)))
	return client, manager
}

func (v *vcenter) clone(template int, name string, on bool) (*object.Task, error) {
	return v.templates[template].Clone(v.t.Context(), v.folder, name, types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &v.pool},
		PowerOn:  on,
		Config: &types.VirtualMachineConfigSpec{
			NumCPUs: 2, MemoryMB: 512, InstanceUuid: "0d9bd1f2-0000-0000-0000-000000000001",
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "infra.owner", Value: "x"}},
		},
	})
}

func isFault[T types.BaseMethodFault](err error) bool {
	if err == nil {
		return false
	}
	if soap.IsSoapFault(err) {
		_, ok := any(ptr(soap.ToSoapFault(err).VimFault())).(T)
		return ok
	}
	var failed task.Error
	if errors.As(err, &failed) {
		_, ok := failed.Fault().(T)
		return ok
	}
	return false
}

// ptr returns the pointer to a fault that was decoded as a value, as the faults of calls are.
func ptr(fault any) any {
	value := reflect.ValueOf(fault)
	if !value.IsValid() || value.Kind() == reflect.Pointer {
		return fault
	}
	pointer := reflect.New(value.Type())
	pointer.Elem().Set(value)
	return pointer.Interface()
}

func (v *vcenter) inTask(started *object.Task, err error) {
	v.t.Helper()
	v.must(err)
	v.must(started.Wait(v.t.Context()))
}

func (v *vcenter) vmRef(name string) types.ManagedObjectReference {
	v.t.Helper()
	for _, vm := range v.inventory.vms() {
		if vm.Name == name {
			return types.ManagedObjectReference{Type: "VirtualMachine", Value: vm.MoRef}
		}
	}
	v.t.Fatalf("no machine %s", name)
	return types.ManagedObjectReference{}
}

func (v *vcenter) waitFor(started *object.Task, err error) error {
	if err != nil {
		return err
	}
	return started.Wait(v.t.Context())
}

func (v *vcenter) vm(path string) VM {
	v.t.Helper()
	for _, vm := range v.inventory.vms() {
		if vm.Path == path {
			return vm
		}
	}
	v.t.Fatalf("no machine %s", path)
	return VM{}
}
