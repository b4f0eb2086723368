package sim

import "sync"

// Event is something that was done to a machine, by a call or by a change behind the callers' backs.
type Event struct {
	What  string `json:"what"`
	MoRef string `json:"moref"`
	// Path is where the machine was made or removed; empty for other events.
	Path string `json:"path"`
	// ExtraConfig is the machine's at that time; the new one, if that is what was changed.
	ExtraConfig map[string]string `json:"extraConfig"`
}

// What was done to a machine.
const (
	Made         = "made"
	PoweredOn    = "poweredOn"
	PoweredOff   = "poweredOff"
	Destroyed    = "destroyed"
	Unregistered = "unregistered" // its files are still on the datastore
	Renamed      = "renamed"
	Reconfigured = "reconfigured" // its configuration was changed, such as an entry of extraConfig
)

// history is everything that was done to machines since the start. The zero value is empty.
type history struct {
	mu     sync.Mutex
	events []Event
	made   map[string]bool // by moref
}

func (h *history) add(event Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if event.What == Made {
		if h.made == nil {
			h.made = map[string]bool{}
		}
		h.made[event.MoRef] = true
	}
	h.events = append(h.events, event)
}

// isMade reports whether the making of a machine is in the history: before, its changes are parts of that.
func (h *history) isMade(moref string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.made[moref]
}

// all returns the events in their order.
func (h *history) all() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Event{}, h.events...)
}
