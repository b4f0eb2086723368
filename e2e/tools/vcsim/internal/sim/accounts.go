package sim

import (
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Account is who can log in, and what the account may not.
type Account struct {
	User     string `json:"user"`
	Password string `json:"password"`
	// Hidden are inventory paths: the account sees no machine, folder or datacenter at or below them, as one without System.View there. Its searches find
	// none, and its reads and waits have none; a vCenter reports no error either.
	Hidden []string `json:"hidden"`
	// Lacks are the ids of privileges that the account has nowhere. Only queries of privileges say so: calls are not refused.
	Lacks []string `json:"lacks"`
}

// accounts holds the accounts by the names that a vCenter shows.
type accounts struct {
	mu  sync.Mutex
	all map[string]*account
}

type account struct {
	password string
	hidden   []types.ManagedObjectReference
	lacks    []string
}

func newAccounts() *accounts { return &accounts{all: map[string]*account{}} }

// of returns the account; nil if there is none.
func (a *accounts) of(user string) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[accountName(user)]
}

func (a *accounts) put(user string, made *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[accountName(user)] = made
}

// setAccount adds an account or replaces it. Its sessions stay.
func (s *Server) setAccount(new Account) error {
	made := &account{password: new.Password, lacks: new.Lacks}
	for _, path := range new.Hidden {
		ref, err := s.inventory.find("", path)
		if err != nil {
			return err
		}
		made.hidden = append(made.hidden, ref)
	}
	s.overrides.accounts.put(new.User, made)
	// What the waits of its sessions have reported may be hidden now, or the reverse.
	for _, kind := range []string{"VirtualMachine", "Folder"} {
		for _, ref := range s.registry.AllReference(kind) {
			s.journal.touch(ref.Reference())
		}
	}
	return nil
}

// setPassword sets the password of the administrator; sessions stay.
func (s *Server) setPassword(password string) {
	changed := account{}
	if before := s.overrides.accounts.of(s.user); before != nil {
		changed = *before
	}
	changed.password = password
	s.overrides.accounts.put(s.user, &changed)
}

// passwordNow returns the password of the administrator.
func (s *Server) passwordNow() string { return s.overrides.accounts.of(s.user).password }

// isHidden reports whether the account of the session does not see the object.
func (o *overrides) isHidden(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	if ctx.Session == nil || ref.Type != "VirtualMachine" && ref.Type != "Folder" && ref.Type != "Datacenter" {
		return false
	}
	account := o.accounts.of(ctx.Session.UserName)
	return account != nil && slices.ContainsFunc(account.hidden, func(ancestor types.ManagedObjectReference) bool {
		return o.isIn(ref, ancestor)
	})
}

// isGranted reports whether the account of that name has the privilege on the entity.
func (o *overrides) isGranted(user, privilege string, entity types.ManagedObjectReference) bool {
	account := o.accounts.of(user)
	return account == nil || !slices.Contains(account.lacks, privilege) &&
		!slices.ContainsFunc(account.hidden, func(ancestor types.ManagedObjectReference) bool { return o.isIn(entity, ancestor) })
}

// availability returns which of the privileges the account has on the entities.
func (o *overrides) availability(user string, entities []types.ManagedObjectReference, privileges []string) (found []types.EntityPrivilege) {
	for _, entity := range entities {
		of := types.EntityPrivilege{Entity: entity}
		for _, id := range privileges {
			of.PrivAvailability = append(of.PrivAvailability, types.PrivilegeAvailability{PrivId: id, IsGranted: o.isGranted(user, id, entity)})
		}
		found = append(found, of)
	}
	return found
}

// withoutHidden returns the references to objects that the account of the session sees.
func (o *overrides) withoutHidden(ctx *simulator.Context, refs []types.ManagedObjectReference) []types.ManagedObjectReference {
	if !slices.ContainsFunc(refs, func(ref types.ManagedObjectReference) bool { return o.isHidden(ctx, ref) }) {
		return refs
	}
	return slices.DeleteFunc(slices.Clone(refs), func(ref types.ManagedObjectReference) bool { return o.isHidden(ctx, ref) })
}

// HasPrivilegeOnEntities returns which privileges the account of the session has.
func (o *overrides) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	return &methods.HasPrivilegeOnEntitiesBody{
		Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: o.availability(ctx.Session.UserName, req.Entity, req.PrivId)},
	}
}

// HasUserPrivilegeOnEntities returns which privileges an account has.
func (o *overrides) HasUserPrivilegeOnEntities(_ *simulator.Context, req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	return &methods.HasUserPrivilegeOnEntitiesBody{
		Res: &types.HasUserPrivilegeOnEntitiesResponse{Returnval: o.availability(req.UserName, req.Entities, req.PrivId)},
	}
}

// FetchUserPrivilegeOnEntities returns the privileges that an account has.
func (o *overrides) FetchUserPrivilegeOnEntities(ctx *simulator.Context, req *types.FetchUserPrivilegeOnEntities) soap.HasFault {
	service := ctx.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance)
	manager := ctx.Map.Get(*service.Content.AuthorizationManager).(*simulator.AuthorizationManager)
	body := manager.FetchUserPrivilegeOnEntities(req).(*methods.FetchUserPrivilegeOnEntitiesBody)
	for i, of := range body.Res.Returnval {
		body.Res.Returnval[i].Privileges = slices.DeleteFunc(slices.Clone(of.Privileges), func(id string) bool {
			return !o.isGranted(req.UserName, id, of.Entity)
		})
	}
	return body
}
