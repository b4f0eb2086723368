package sim

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vmware/govmomi/cns"
	cnstypes "github.com/vmware/govmomi/cns/types"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func TestVolumesAndPolicies(t *testing.T) {
	v := start(t, func(c *Config) { c.About = About{Version: "8.0.3", APIVersion: "8.0.3.0", Build: "24022515"} })
	ctx := t.Context()
	store, err := v.inventory.find("Datastore", "/DC0/datastore/LocalDS_0")
	v.must(err)
	client, err := cns.NewClient(ctx, v.client)
	v.must(err)
	v.rules.resetCounts()
	created, err := client.CreateVolume(ctx, []cnstypes.CnsVolumeCreateSpec{{
		Name:       "pvc-1",
		VolumeType: string(cnstypes.CnsVolumeTypeBlock),
		Datastores: []types.ManagedObjectReference{store},
		Metadata:   cnstypes.CnsVolumeMetadata{ContainerCluster: cnstypes.CnsContainerCluster{ClusterId: "c"}},
		BackingObjectDetails: &cnstypes.CnsBlockBackingDetails{
			CnsBackingObjectDetails: cnstypes.CnsBackingObjectDetails{CapacityInMb: 10},
		},
	}})
	v.must(err)
	v.must(created.Wait(ctx))
	volumes, err := client.QueryVolume(ctx, &cnstypes.CnsQueryFilter{})
	v.must(err)
	if len(volumes.Volumes) != 1 || volumes.Volumes[0].Name != "pvc-1" {
		t.Errorf("%+v", volumes)
	}
	counted := v.rules.counted()
	if counted["CnsCreateVolume"] != 1 || counted["CnsQueryVolume"] != 1 {
		t.Errorf("%v", counted)
	}
	v.must(v.rules.add(Rule{Method: "CnsQueryVolume", Kind: KindFault, Fault: "NoPermission", Times: 1}))
	if _, err := client.QueryVolume(ctx, &cnstypes.CnsQueryFilter{}); !isFault[*types.NoPermission](err) {
		t.Errorf("a rule for CNS: %v", err)
	}

	policies, err := pbm.NewClient(ctx, v.client)
	v.must(err)
	if found, err := policies.QueryProfile(ctx, pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)}, string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT)); err != nil || len(found) == 0 {
		t.Errorf("policies %v %v", found, err)
	}
}

func TestAboutAndServiceVersions(t *testing.T) {
	v := start(t, func(c *Config) { c.About = About{Version: "8.0.3", APIVersion: "8.0.3.0", Build: "24022515"} })
	about := v.connect().ServiceContent.About
	if about.Version != "8.0.3" || about.ApiVersion != "8.0.3.0" || about.Build != "24022515" || !strings.Contains(about.FullName, "8.0.3 build-24022515") {
		t.Errorf("%+v", about)
	}
	for _, file := range []string{"vim", "vsan"} {
		client := v.connect()
		response, err := client.Client.Client.Get("https://" + v.SDKAddress() + "/sdk/" + file + "ServiceVersions.xml")
		v.must(err)
		body, err := io.ReadAll(response.Body)
		v.must(err)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), "<version>8.0.3.0</version>") {
			t.Errorf("%s: %d %s", file, response.StatusCode, body)
		}
	}
}

func TestDatastoresOfSeveralHosts(t *testing.T) {
	for hosts, shared := range map[int]bool{1: false, 3: true} {
		v := start(t, func(c *Config) { c.Hosts, c.Datastores = hosts, 2 })
		for _, name := range []string{"LocalDS_0", "LocalDS_1"} {
			ref, err := v.inventory.find("Datastore", "/DC0/datastore/"+name)
			v.must(err)
			var store mo.Datastore
			v.must(property.DefaultCollector(v.client).RetrieveOne(t.Context(), ref, []string{"summary"}, &store))
			if access := store.Summary.MultipleHostAccess; access == nil || *access != shared {
				t.Errorf("%s of %d hosts: %v", name, hosts, access)
			}
		}
	}
}

func TestTags(t *testing.T) {
	v := start(t, func(c *Config) { c.User = "administrator@vsphere.local" })
	ctx := context.Background()
	v.rules.resetCounts()
	v.must(v.attachTag("k8s-zone", "zone-a", "/DC0/host/DC0_C0"))
	v.must(v.attachTag("k8s-zone", "zone-b", "/DC0/host/DC0_C0/DC0_C0_H0"))
	v.must(v.attachTag("k8s-region", "zone-a", "/DC0"))
	if counted := v.rules.counted(); len(counted) != 0 {
		t.Errorf("calls %v", counted)
	}
	if v.attachTag("k8s-zone", "zone-a", "/DC0/none") == nil {
		t.Error("no such entity")
	}
	client := v.restClient()
	v.must(client.Login(ctx, url.UserPassword(v.Server.user, "secret")))
	host, err := v.inventory.find("HostSystem", "/DC0/host/DC0_C0/DC0_C0_H0")
	v.must(err)
	attached, err := tags.NewManager(client).GetAttachedTags(ctx, host)
	v.must(err)
	if len(attached) != 1 || attached[0].Name != "zone-b" {
		t.Errorf("%+v", attached)
	}
	if v.restClient().Login(ctx, url.UserPassword(v.Server.user, "wrong")) == nil {
		t.Error("a wrong password was accepted")
	}
}

func TestPasswordIsRotated(t *testing.T) {
	v := start(t, nil)
	v.setPassword(`p"a\ss#;wörd`)
	manager := session.NewManager(v.connect())
	if err := manager.Login(t.Context(), url.UserPassword("user", "secret")); !isFault[*types.InvalidLogin](err) {
		t.Errorf("the old password: %v", err)
	}
	v.login(`p"a\ss#;wörd`)
	// A session that exists goes on.
	if active, err := v.manager.SessionIsActive(t.Context()); err != nil || !active {
		t.Errorf("the session of before: %v %v", active, err)
	}
}
