package sim

import (
	"net/url"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// as returns a client of another account.
func (v *vcenter) as(user, password string) *vim25.Client {
	v.t.Helper()
	client := v.connect()
	v.must(session.NewManager(client).Login(v.t.Context(), url.UserPassword(user, password)))
	return client
}

func TestAnAccountSeesNotAllMachines(t *testing.T) {
	v := start(t, func(c *Config) { c.User = "administrator@vsphere.local" })
	ctx := t.Context()
	v.must(v.inventory.createFolder("/DC0/vm", "nodes"))
	hidden, shown := v.node("/DC0/vm/nodes", "node-1", biosUUID, "10.0.0.1"), v.node(root, "node-2", "", "10.0.0.2")
	v.must(v.setAccount(Account{User: "cpi@vsphere.local", Password: "cpi", Hidden: []string{"/DC0/vm/nodes"}}))
	if v.setAccount(Account{User: "x", Hidden: []string{"/DC0/none"}}) == nil {
		t.Error("no such path")
	}
	client := v.as("cpi@vsphere.local", "cpi")
	index := object.NewSearchIndex(client)
	if found, err := index.FindByUuid(ctx, nil, biosUUID, true, nil); err != nil || found != nil {
		t.Errorf("by uuid: %v %v", found, err)
	}
	if found, err := index.FindByDnsName(ctx, nil, "node-2", true); err != nil || found == nil || found.Reference() != shown {
		t.Errorf("by name: %v %v", found, err)
	}
	var vm mo.VirtualMachine
	if err := property.DefaultCollector(client).RetrieveOne(ctx, hidden, []string{"name"}, &vm); err == nil && vm.Name != "" {
		t.Errorf("read %s", vm.Name)
	}
	folder, err := v.inventory.find("Folder", "/DC0/vm/nodes")
	v.must(err)
	var nodes mo.Folder
	v.must(property.DefaultCollector(client).RetrieveOne(ctx, folder, []string{"childEntity"}, &nodes))
	if len(nodes.ChildEntity) != 0 {
		t.Errorf("children %v", nodes.ChildEntity)
	}
	// The administrator sees it.
	if found, err := object.NewSearchIndex(v.client).FindByUuid(ctx, nil, biosUUID, true, nil); err != nil || found == nil {
		t.Errorf("the administrator: %v %v", found, err)
	}
}

func TestAWaitNoticesThatMachinesAreHidden(t *testing.T) {
	v := start(t, nil)
	v.node(root, "one", biosUUID, "10.0.0.1")
	w := v.watch()
	seen := func(is bool) func() bool { return func() bool { return (w.machine("one") != nil) == is } }
	w.until("the machine is seen", seen(true))
	v.must(v.setAccount(Account{User: "user", Password: "secret", Hidden: []string{root}}))
	w.until("the machine is hidden", seen(false))
	v.must(v.setAccount(Account{User: "user", Password: "secret"}))
	w.until("the machine is seen again", seen(true))
}

func TestAnAccountLacksPrivileges(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	const lacking, has = "VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.AddExistingDisk"
	v.must(v.setAccount(Account{User: "csi", Password: "csi", Lacks: []string{lacking}}))
	client := v.as("csi", "csi")
	manager := *client.ServiceContent.AuthorizationManager
	entity := client.ServiceContent.RootFolder
	own, err := methods.HasPrivilegeOnEntities(ctx, client, &types.HasPrivilegeOnEntities{
		This: manager, Entity: []types.ManagedObjectReference{entity}, PrivId: []string{lacking, has},
	})
	v.must(err)
	of, err := methods.HasUserPrivilegeOnEntities(ctx, client, &types.HasUserPrivilegeOnEntities{
		This: manager, Entities: []types.ManagedObjectReference{entity}, UserName: "csi", PrivId: []string{lacking, has},
	})
	v.must(err)
	for _, found := range [][]types.EntityPrivilege{own.Returnval, of.Returnval} {
		if p := found[0].PrivAvailability; p[0].IsGranted || !p[1].IsGranted {
			t.Errorf("%+v", p)
		}
	}
	counts := map[string]int{}
	for _, user := range []string{"csi", "user"} {
		all, err := methods.FetchUserPrivilegeOnEntities(ctx, client, &types.FetchUserPrivilegeOnEntities{
			This: manager, Entities: []types.ManagedObjectReference{entity}, UserName: user,
		})
		v.must(err)
		counts[user] = len(all.Returnval[0].Privileges)
	}
	if counts["csi"] != counts["user"]-1 {
		t.Errorf("%v", counts)
	}
}
