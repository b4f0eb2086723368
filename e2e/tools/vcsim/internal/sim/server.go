// Package sim is a vCenter simulator for tests of an operator: govmomi's, with its differences from a vCenter that
// an operator can see put right, over TLS with a checked login, and with a control port that counts calls, injects
// faults and outages, and changes the inventory behind the operator's back.
//
// It simulates what a vm-operator uses. It does not know REST, VI JSON, permissions or resources.
package sim

import (
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Config is how a Server is started.
type Config struct {
	Options
	User, Password string
	// Listen and Control are addresses; port 0 picks a free one.
	Listen, Control string
	CloneTime       time.Duration
	CallDelays      map[string]time.Duration // by method
	StockPowerOn    bool                     // ignore powerOn in a clone spec, as govmomi's simulator does
	AppearEarly     bool                     // a clone is in the inventory from the start of its task
	NoCreateFolder  bool                     // CreateFolder answers NoPermission
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

	registry := model.Map()
	s := &Server{
		Identity: identity,
		model:    model,
		registry: registry,
		sessions: newSessions(registry),
		journal:  newJournal(),
	}
	s.tasks = newTasks(registry.Get(*registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.TaskManager).(*simulator.TaskManager))
	s.overrides = newOverrides(registry, s.tasks, s.journal)
	s.overrides.cloneTime.Store(int64(config.CloneTime))
	s.overrides.ignorePower, s.overrides.appearsEarly = config.StockPowerOn, config.AppearEarly
	s.inventory = &inventory{registry: registry, overrides: s.overrides, journal: s.journal}
	var fixed []Rule
	if config.NoCreateFolder {
		fixed = append(fixed, Rule{Method: "CreateFolder", Kind: KindFault, Fault: "NoPermission"})
	}
	s.rules = newRules(fixed, config.CallDelays)
	s.extend()

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

// extend puts our own parts in place of the simulator's.
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
			// A collector of a session that is over. Only the one all sessions have answers regardless.
			return nil, &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &method.This, PrivilegeId: "System.View"}}
		}
		s.overrides.redirect(method)
		return nil, nil
	}
}

func (s *Server) open(config Config) error {
	service := s.model.Service
	service.RegisterSDK(s.registry, vim25.Path+"/vimService")
	service.ServeMux.HandleFunc(vim25.Path+"/vimServiceVersions.xml", service.ServiceVersions)
	s.endpoint = newEndpoint(s, service.ServeMux, s.Identity)
	if err := s.endpoint.listen(config.Listen); err != nil {
		return err
	}
	// A user in this URL is what makes the simulator check logins.
	service.Listen = &url.URL{Scheme: "https", Host: s.endpoint.address, Path: vim25.Path, User: url.UserPassword(config.User, config.Password)}
	s.registry.SessionManager().ServiceHostName = s.endpoint.address

	listener, err := net.Listen("tcp", config.Control)
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.control = &http.Server{Handler: s.controls(), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.control.Serve(listener) }()
	return nil
}

// SDKAddress is where the SDK is served: https://ADDRESS/sdk.
func (s *Server) SDKAddress() string { return s.endpoint.address }

// ControlAddress is where the control port is: http://ADDRESS.
func (s *Server) ControlAddress() string { return s.address }

// Close ends both and removes the datastores' files.
func (s *Server) Close() {
	if s.endpoint != nil {
		s.endpoint.close()
	}
	if s.control != nil {
		_ = s.control.Close()
	}
	s.model.Remove()
}

// after is told of each call that was answered, or would have been.
func (s *Server) after(c call, status int) {
	switch {
	case c.method == "Login":
		s.sessions.login(status == http.StatusOK)
	case c.method == "Logout":
		s.sessions.prune()
	case !readOnly(c.method):
		s.journal.touch(c.this) // not every change is announced
	}
}

// failedTask is a task that ends in the fault after the time it would have taken.
func (s *Server) failedTask(c call, fault types.BaseMethodFault) types.ManagedObjectReference {
	delay := time.Duration(0)
	if c.method == "CloneVM_Task" {
		delay = time.Duration(s.overrides.cloneTime.Load())
	}
	return s.tasks.run(s.registry, c.this, c.method, delay, func() (types.AnyType, types.BaseMethodFault) {
		return nil, fault
	})
}
