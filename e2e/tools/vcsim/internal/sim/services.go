package sim

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"

	"github.com/vmware/govmomi/cns"
	cnssimulator "github.com/vmware/govmomi/cns/simulator"
	"github.com/vmware/govmomi/pbm"
	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbmsimulator "github.com/vmware/govmomi/pbm/simulator"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	vapisimulator "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// About is what a vCenter says of its release. Empty fields stay as they are.
type About struct {
	Version    string `json:"version"`    // such as 8.0.3
	APIVersion string `json:"apiVersion"` // such as 8.0.3.0
	Build      string `json:"build"`
}

// soapPaths are the paths of the services that speak SOAP: their calls are counted, and rules apply to them.
var soapPaths = []string{vim25.Path, cns.Path, pbm.Path}

// serveOthers serves what a vCenter has beside the SDK: container volumes, storage policies, and tags over REST.
func (s *Server) serveOthers(service *simulator.Service) {
	service.RegisterSDK(cnssimulator.New())
	policies := pbmsimulator.New()
	service.RegisterSDK(policies)
	patterns, handler := vapisimulator.New(service.Listen, s.registry)
	for _, pattern := range patterns {
		service.Handle(pattern, handler)
	}
	service.ServeMux.HandleFunc("GET "+policiesPath, func(w http.ResponseWriter, r *http.Request) {
		session := r.Clone(r.Context())
		session.URL.Path = sessionPath
		check := httptest.NewRecorder()
		if handler.ServeHTTP(check, session); check.Code != http.StatusOK {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		vapisimulator.OK(w, storagePolicies(policies))
	})
	service.ServeMux.HandleFunc(vim25.Path+"/vsanServiceVersions.xml", service.ServiceVersionsVsan)
}

// Paths over REST: sessions, and the storage policies, which govmomi's simulator does not serve there.
const (
	sessionPath  = rest.Path + "/com/vmware/cis/session"
	policiesPath = rest.Path + "/vcenter/storage/policies"
)

// policy is a storage policy as REST shows it.
type policy struct {
	Policy string `json:"policy"`
	Name   string `json:"name"`
}

// storagePolicies returns the policies that the service of policies has.
func storagePolicies(registry *simulator.Registry) []policy {
	found := []policy{}
	manager, ok := registry.Get(types.ManagedObjectReference{Type: "PbmProfileProfileManager", Value: "ProfileManager"}).(*pbmsimulator.ProfileManager)
	if !ok {
		return found
	}
	all := &pbmtypes.PbmQueryProfile{
		ResourceType:    pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)},
		ProfileCategory: string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT),
	}
	queried := manager.PbmQueryProfile(all).(*pbmmethods.PbmQueryProfileBody)
	content := manager.PbmRetrieveContent(&pbmtypes.PbmRetrieveContent{ProfileIds: queried.Res.Returnval}).(*pbmmethods.PbmRetrieveContentBody)
	if content.Res == nil {
		return found
	}
	for _, profile := range content.Res.Returnval {
		shown := profile.GetPbmProfile()
		found = append(found, policy{Policy: shown.ProfileId.UniqueId, Name: shown.Name})
	}
	return found
}

// isCall reports whether a request is a call of a method.
func isCall(r *http.Request) bool {
	return r.Method == http.MethodPost && slices.Contains(soapPaths, r.URL.Path)
}

// setAbout sets what the vCenter says of its release.
func (s *Server) setAbout(about About) {
	outside(s.registry).WithLock(vim25.ServiceInstance, func() {
		shown := &s.registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.About
		shown.Version = cmp.Or(about.Version, shown.Version)
		shown.ApiVersion = cmp.Or(about.APIVersion, shown.ApiVersion)
		shown.Build = cmp.Or(about.Build, shown.Build)
		shown.FullName = fmt.Sprintf("%s %s build-%s", shown.Name, shown.Version, shown.Build)
	})
}

// shareDatastores makes the datastores say which of them several hosts have, as a vCenter does.
func (i *inventory) shareDatastores() {
	ctx := outside(i.registry)
	for _, ref := range i.registry.AllReference("Datastore") {
		ctx.WithLock(ref.Reference(), func() {
			if store, ok := ref.(*simulator.Datastore); ok {
				store.Summary.MultipleHostAccess = types.NewBool(len(store.Host) > 1)
			}
		})
	}
}

// attachTag attaches a tag to the entity at the path; it creates the tag and its category if they do not exist.
func (s *Server) attachTag(category, tag, inventoryPath string) error {
	ref, err := s.inventory.find("", inventoryPath)
	if err != nil {
		return err
	}
	ctx := context.Background()
	client := s.restClient()
	if err := client.Login(ctx, url.UserPassword(s.user, s.passwordNow())); err != nil {
		return err
	}
	defer func() { _ = client.Logout(ctx) }()
	manager := tags.NewManager(client)
	if _, err := manager.GetCategory(ctx, category); err != nil {
		if _, err := manager.CreateCategory(ctx, &tags.Category{Name: category, Cardinality: "SINGLE"}); err != nil {
			return err
		}
	}
	if _, err := manager.GetTagForCategory(ctx, tag, category); err != nil {
		if _, err := manager.CreateTag(ctx, &tags.Tag{Name: tag, CategoryID: category}); err != nil {
			return err
		}
	}
	made, err := manager.GetTagForCategory(ctx, tag, category)
	if err != nil {
		return err
	}
	return manager.AttachTag(ctx, made.ID, ref)
}

// restClient returns a client of the REST endpoint. It makes no call of the SDK.
func (s *Server) restClient() *rest.Client {
	client := soap.NewClient(&url.URL{Scheme: "https", Host: s.endpoint.address, Path: vim25.Path}, false)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.Identity.CAPEM))
	client.DefaultTransport().TLSClientConfig.RootCAs = roots
	return rest.NewClient(&vim25.Client{Client: client})
}
