package sim

import "sync"

// Event is something that was done to a machine, by a call or by a change behind the callers' backs.
type Event struct {
	What  string `json:"what"`
	MoRef string `json:"moref"`
	// Path is where the machine was made or removed; empty for other events.
	Path string `json:"path"`
	// ExtraConfig is the machine's at that time.
	ExtraConfig map[string]string `json:"extraConfig"`
}

// What was done to a machine.
const (
	Made         = "made"
	PoweredOn    = "poweredOn"
	PoweredOff   = "poweredOff"
	Destroyed    = "destroyed"
	Unregistered = "unregistered" // its files are still on the datastore
)

// history is everything that was done to machines since the start. The zero value is empty.
type history struct {
	mu     sync.Mutex
	events []Event
}

func (h *history) add(event Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event)
}

// all returns the events in their order.
func (h *history) all() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Event{}, h.events...)
}
