package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// controls returns the handler of the control port: JSON in, JSON out; an error is plain text with status 400 or 404.
func (s *Server) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /calls", answer(func(*http.Request) (any, error) { return s.rules.counted(), nil }))
	mux.HandleFunc("DELETE /calls", answer(func(*http.Request) (any, error) { s.rules.resetCounts(); return nil, nil }))

	mux.HandleFunc("GET /faults", answer(func(*http.Request) (any, error) { return s.rules.pending(), nil }))
	mux.HandleFunc("POST /faults", order(s.rules.add))
	mux.HandleFunc("DELETE /faults", answer(func(*http.Request) (any, error) { s.rules.clear(); return nil, nil }))
	mux.HandleFunc("PUT /outage", order(s.endpoint.set))
	mux.HandleFunc("GET /outage", answer(func(*http.Request) (any, error) { return s.endpoint.cutCalls(), nil }))

	mux.HandleFunc("GET /sessions", answer(func(*http.Request) (any, error) { return s.sessions.count(), nil }))
	mux.HandleFunc("DELETE /sessions", answer(func(*http.Request) (any, error) { return s.sessions.expire(), nil }))
	mux.HandleFunc("DELETE /views", answer(func(*http.Request) (any, error) { return s.sessions.dropViews(), nil }))

	mux.HandleFunc("PUT /instance-uuid", order(func(t struct {
		ID string `json:"id"`
	}) error {
		s.identify(t.ID)
		s.sessions.expire()
		return nil
	}))
	mux.HandleFunc("PUT /about", order(func(a About) error { s.setAbout(a); return nil }))
	mux.HandleFunc("PUT /accounts", order(s.setAccount))
	mux.HandleFunc("PUT /password", order(func(p struct {
		Password string `json:"password"`
	}) error {
		s.setPassword(p.Password)
		return nil
	}))
	mux.HandleFunc("POST /tags", order(func(t struct {
		Category string `json:"category"`
		Tag      string `json:"tag"`
		Path     string `json:"path"`
	}) error {
		return s.attachTag(t.Category, t.Tag, t.Path)
	}))
	mux.HandleFunc("PUT /clone-time", order(func(t struct {
		MS int64 `json:"ms"`
	}) error {
		s.overrides.cloneTime.Store(int64(time.Duration(t.MS) * time.Millisecond))
		return nil
	}))
	mux.HandleFunc("PUT /clock", order(func(t struct {
		MS int64 `json:"ms"` // how far it is ahead
	}) error {
		s.tasks.offset.Store(int64(time.Duration(t.MS) * time.Millisecond))
		return nil
	}))
	mux.HandleFunc("GET /pace", answer(func(*http.Request) (any, error) { return s.journal.pace.counts(), nil }))
	mux.HandleFunc("PUT /pace", order(func(p Pace) error { s.journal.pace.put(p); return nil }))
	mux.HandleFunc("POST /lost-updates", order(func(p place) error { return s.inventory.loseUpdates(p.Path) }))
	mux.HandleFunc("DELETE /lost-updates", answer(func(*http.Request) (any, error) { s.journal.restore(); return nil, nil }))
	s.controlMachines(mux)
	s.controlHosts(mux)
	s.controlPools(mux)
	return mux
}

// place is where a change is made, as far as the change needs it.
type place struct {
	Path   string `json:"path"`
	Folder string `json:"folder"`
	Name   string `json:"name"`
	On     bool   `json:"on"`
}

// controlMachines adds the routes that show and change machines and folders.
func (s *Server) controlMachines(mux *http.ServeMux) {
	i := s.inventory
	mux.HandleFunc("GET /vms", answer(func(*http.Request) (any, error) { return i.vms(), nil }))
	mux.HandleFunc("GET /vms/history", answer(func(*http.Request) (any, error) { return s.overrides.history.all(), nil }))
	mux.HandleFunc("GET /folders", answer(func(*http.Request) (any, error) { return i.folders(), nil }))
	mux.HandleFunc("POST /folders", order(func(p place) error { return i.createFolder(p.Folder, p.Name) }))
	mux.HandleFunc("POST /folders/move", order(func(p place) error { return i.moveFolder(p.Path, p.Folder) }))
	mux.HandleFunc("POST /folders/rename", order(func(p place) error { return i.renameFolder(p.Path, p.Name) }))
	mux.HandleFunc("POST /vms", order(func(p struct {
		Folder   string  `json:"folder"`
		Machines []NewVM `json:"machines"`
	}) error {
		return i.addVMs(p.Folder, p.Machines)
	}))
	mux.HandleFunc("POST /vms/copy", order(func(p place) error { return i.copyVM(p.Path, p.Folder, p.Name) }))
	mux.HandleFunc("POST /vms/move", order(func(p place) error { return i.moveVM(p.Path, p.Folder) }))
	mux.HandleFunc("POST /vms/rename", order(func(p place) error { return i.renameVM(p.Path, p.Name) }))
	mux.HandleFunc("POST /vms/power", order(func(p place) error { return i.setPower(p.Path, p.On) }))
	mux.HandleFunc("POST /vms/template", order(func(p place) error { return i.setTemplate(p.Path, p.On) }))
	mux.HandleFunc("POST /vms/unregister", order(func(p place) error { return i.unregisterVM(p.Path) }))
	mux.HandleFunc("POST /vms/extra-config", order(func(p struct {
		Path  string  `json:"path"`
		Key   string  `json:"key"`
		Value *string `json:"value"` // null removes the entry
	}) error {
		return i.setExtraConfig(p.Path, p.Key, p.Value)
	}))
	mux.HandleFunc("POST /vms/guest", order(func(p struct {
		Path string `json:"path"`
		Guest
	}) error {
		return i.setGuest(p.Path, p.Guest)
	}))
	mux.HandleFunc("POST /vms/hardware", order(func(p struct {
		Path string `json:"path"`
		Hardware
	}) error {
		return i.setHardware(p.Path, p.Hardware)
	}))
	mux.HandleFunc("POST /vms/connection", order(func(p struct {
		Path     string                              `json:"path"`
		State    types.VirtualMachineConnectionState `json:"state"`
		Readable bool                                `json:"readable"`
	}) error {
		return i.setConnection(p.Path, p.State, p.Readable)
	}))
	mux.HandleFunc("POST /clones", order(func(c struct {
		Template string `json:"template"`
		Folder   string `json:"folder"`
		Name     string `json:"name"`
		User     string `json:"user"`
		MS       int64  `json:"ms"`
	}) error {
		return i.startClone(c.Template, c.Folder, c.Name, c.User, time.Duration(c.MS)*time.Millisecond)
	}))
}

// controlHosts adds the routes that change hosts and datastores.
func (s *Server) controlHosts(mux *http.ServeMux) {
	i := s.inventory
	mux.HandleFunc("POST /hosts/release", order(func(h struct {
		Path    string `json:"path"`
		Version string `json:"version"`
		Build   string `json:"build"`
	}) error {
		return i.setHostRelease(h.Path, h.Version, h.Build)
	}))
	mux.HandleFunc("POST /datastores/unmount", order(func(d struct {
		Path string `json:"path"`
		Host string `json:"host"`
	}) error {
		return i.unmount(d.Path, d.Host)
	}))
	mux.HandleFunc("POST /datastores/balance", order(func(d place) error { return i.balance(d.Path, d.Name, d.On) }))
}

// controlPools adds the routes that show and change resource pools and port groups.
func (s *Server) controlPools(mux *http.ServeMux) {
	mux.HandleFunc("POST /datacenters", order(func(p place) error { return s.inventory.addDatacenter(p.Name) }))
	mux.HandleFunc("POST /pools/recreate", order(func(p place) error { return s.inventory.recreatePool(p.Name) }))
	mux.HandleFunc("GET /port-groups", answer(func(*http.Request) (any, error) { return s.inventory.portGroups(), nil }))
	mux.HandleFunc("POST /port-groups", order(func(p struct {
		Switch string `json:"switch"`
		Name   string `json:"name"`
		VLAN   int32  `json:"vlan"`
	}) error {
		return s.inventory.addPortGroup(p.Switch, p.Name, p.VLAN)
	}))
	mux.HandleFunc("POST /port-groups/describe", order(func(p place) error { return s.inventory.describePortGroup(p.Path, p.Name) }))
	mux.HandleFunc("POST /port-groups/attach", order(func(p place) error { return s.inventory.attach(p.Path, p.Name, p.On) }))
	mux.HandleFunc("POST /port-groups/remove", order(func(p place) error { return s.inventory.removePortGroup(p.Path) }))
}

// answer returns a handler that answers with the function's value as JSON.
func answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := f(r)
		switch {
		case errors.Is(err, errNotFound):
			http.Error(w, err.Error(), http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(value)
		}
	}
}

// order returns a handler that calls the function with what the JSON body holds.
func order[T any](f func(T) error) http.HandlerFunc {
	return answer(func(r *http.Request) (any, error) {
		var t T
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&t); err != nil {
			return nil, err
		}
		return nil, f(t)
	})
}
