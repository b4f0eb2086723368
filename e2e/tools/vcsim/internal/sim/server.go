// Package sim is a vCenter simulator for the tests of operators. It extends govmomi's simulator: it corrects the
// differences from a vCenter that an operator can observe, serves TLS and checks logins, and has a control port that
// counts calls, injects faults and outages, and changes the inventory as other clients do.
//
// It simulates what the operators, vSphere's cloud controller manager and its CSI driver use. It has no VI JSON or resource limits, and
// of permissions only what Account says.
package sim

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Config configures a Server.
type Config struct {
	Options
	User, Password string
	// Listen and Control are addresses; port 0 picks a free one.
	Listen, Control string
	CloneTime       time.Duration
	CallDelays      map[string]time.Duration // by method
	ClockOffset     time.Duration            // how far the vCenter's clock is ahead; negative: behind
	StockPowerOn    bool                     // ignore powerOn in a clone spec, as govmomi's simulator does
	AppearEarly     bool                     // a clone is in the inventory from the start of its task
	NoCreateFolder  bool                     // CreateFolder answers NoPermission
	InstanceUUID    string                   // about.instanceUuid; by default a random one, as vCenters differ
	About           About
}

// Server is one simulated vCenter with its control port.
type Server struct {
	Identity *Identity

	model     *simulator.Model
	registry  *simulator.Registry
	overrides *overrides
	tasks     *tasks
	inventory *inventory
	sessions  *sessions
	journal   *journal
	rules     *rules
	endpoint  *endpoint
	control   *http.Server
	address   string
	user      string // the administrator
}

// Start builds the inventory and opens both ports.
func Start(config Config) (*Server, error) {
	identity, err := NewIdentity()
	if err != nil {
		return nil, err
	}
	model, err := build(config.Options)
	if err != nil {
		return nil, err
	}
	// A task must not hold its object's lock while it is delayed.
	simulator.TaskDelay = simulator.DelayConfig{MethodDelay: map[string]int{"LockHandoff": 0}}

	if config.InstanceUUID == "" {
		config.InstanceUUID = uuid.NewString()
	}
	registry := model.Map()
	s := &Server{
		Identity: identity,
		model:    model,
		registry: registry,
		sessions: newSessions(registry),
		journal:  newJournal(),
		user:     config.User,
	}
	s.tasks = newTasks(registry.Get(*registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.TaskManager).(*simulator.TaskManager), accountName(config.User), config.ClockOffset)
	s.overrides = newOverrides(registry, s.tasks, s.journal)
	s.setPassword(config.Password)
	s.overrides.cloneTime.Store(int64(config.CloneTime))
	s.overrides.ignorePower, s.overrides.appearsEarly = config.StockPowerOn, config.AppearEarly
	s.inventory = &inventory{registry: registry, overrides: s.overrides, journal: s.journal}
	var fixed []Rule
	if config.NoCreateFolder {
		fixed = append(fixed, Rule{Method: "CreateFolder", Kind: KindFault, Fault: "NoPermission"})
	}
	s.rules = newRules(fixed, config.CallDelays)
	s.extend()
	s.identify(config.InstanceUUID)
	s.setAbout(config.About)

	s.overrides.versionPortGroups()
	if err := s.inventory.populate(config.Options); err != nil {
		s.model.Remove()
		return nil, err
	}
	if err := s.open(config); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// extend replaces parts of the simulator by those of this package.
func (s *Server) extend() {
	s.journal.finished = s.tasks.done
	s.registry.Put(s.journal)
	s.registry.Put(s.overrides)
	collector := &Collector{}
	collector.Self = s.registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.PropertyCollector
	s.registry.Put(collector)
	for _, handler := range []simulator.RegisterObject{s.journal, s.tasks, s.overrides} {
		s.registry.AddHandler(handler)
	}
	s.registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if ctx.Session != nil {
			s.sessions.note(ctx.Session)
		} else if method.This.Type == "PropertyCollector" && s.registry.Get(method.This) == nil {
			// A collector that belonged to a session that has ended. The default collector also answers without a session.
			return nil, &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &method.This, PrivilegeId: "System.View"}}
		}
		if login, ok := method.Body.(*types.Login); ok {
			login.UserName = accountName(login.UserName)
		}
		if ctx.Session == nil {
			return nil, nil
		}
		if strings.HasSuffix(method.Name, "_Task") {
			if fault := s.overrides.checkConnected(method.This); fault != nil {
				return nil, fault
			}
		}
		s.overrides.redirect(method)
		return nil, nil
	}
}

// identify sets about.instanceUuid, which tells one vCenter from another.
func (s *Server) identify(instanceUUID string) {
	outside(s.registry).WithLock(vim25.ServiceInstance, func() {
		s.registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.About.InstanceUuid = instanceUUID
	})
}

func (s *Server) open(config Config) error {
	service := s.model.Service
	service.RegisterSDK(s.registry, vim25.Path+"/vimService")
	service.ServeMux.HandleFunc(vim25.Path+"/vimServiceVersions.xml", service.ServiceVersions)
	s.endpoint = newEndpoint(s, service.ServeMux, s.Identity)
	if err := s.endpoint.listen(config.Listen); err != nil {
		return err
	}
	// The simulator checks logins only if this URL has a user.
	service.Listen = &url.URL{Scheme: "https", Host: s.endpoint.address, Path: vim25.Path, User: url.User(config.User)}
	s.serveOthers(service)
	manager := s.registry.SessionManager()
	manager.ServiceHostName = s.endpoint.address
	manager.ValidLogin = func(login *types.Login) bool {
		account := s.overrides.accounts.of(login.UserName)
		return account != nil && login.Password == account.password
	}

	listener, err := net.Listen("tcp", config.Control)
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.control = &http.Server{Handler: s.controls(), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.control.Serve(listener) }()
	return nil
}

// SDKAddress returns the host and port of the SDK: https://ADDRESS/sdk.
func (s *Server) SDKAddress() string { return s.endpoint.address }

// ControlAddress returns the host and port of the control port: http://ADDRESS.
func (s *Server) ControlAddress() string { return s.address }

// Close closes both ports and removes the datastores' files.
func (s *Server) Close() {
	if s.endpoint != nil {
		s.endpoint.close()
	}
	if s.control != nil {
		_ = s.control.Close()
	}
	s.model.Remove()
}

// after updates what depends on calls; the endpoint calls it after each call that was run or answered with a fault.
func (s *Server) after(c call, status int) {
	switch {
	case c.method == "Login":
		s.sessions.login(status == http.StatusOK)
	case c.method == "Logout":
		s.sessions.prune()
	case !readOnly(c.method):
		s.journal.touch(c.this) // the simulator does not announce every change
	}
}

// failedTask starts a task that ends in the fault after the time that the task takes.
func (s *Server) failedTask(c call, fault types.BaseMethodFault) types.ManagedObjectReference {
	delay := time.Duration(0)
	if c.method == "CloneVM_Task" {
		delay = time.Duration(s.overrides.cloneTime.Load())
	}
	return s.tasks.start(s.registry, job{
		entity: c.this, method: c.method, delay: delay,
		run: func() (types.AnyType, types.BaseMethodFault) { return nil, fault },
	})
}
