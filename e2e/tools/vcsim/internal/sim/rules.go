package sim

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Rule makes calls of one method fail. The first rule that matches a call decides it.
type Rule struct {
	// Method is the SOAP method, such as CloneVM_Task; empty for all.
	Method string `json:"method"`
	// Naming limits the rule to calls whose envelope has this reference as a whole element, such as vm-42; empty for all.
	Naming string `json:"naming,omitempty"`
	// Times is the number of calls it decides; negative: all until cleared.
	Times int `json:"times"`
	// Kind is one of the kinds below.
	Kind string `json:"kind"`
	// Fault is the vim type of kinds fault and task_fault.
	Fault string `json:"fault,omitempty"`
	// Status is the HTTP status of kind status.
	Status int `json:"status,omitempty"`
	// DelayMS is for kind delay.
	DelayMS int `json:"delay_ms,omitempty"`
}

// The kinds of rule.
const (
	KindFault     = "fault"      // answer with the fault, run nothing
	KindTaskFault = "task_fault" // answer with a task that ends in the fault
	KindCutBefore = "cut_before" // close the connection, run nothing
	KindCutAfter  = "cut_after"  // run the call, then close the connection without an answer
	KindStatus    = "status"     // answer with an HTTP status, run nothing
	KindHang      = "hang"       // do not answer until cleared; then run, if the client is still there
	KindDelay     = "delay"      // run later
	KindGarbage   = "garbage"    // answer 200 with a page of HTML, run nothing
	KindTruncate  = "truncate"   // run the call, then answer with the first half of the body
)

func (r Rule) check() error {
	if r.Times == 0 {
		return fmt.Errorf("times is 0: the rule would decide no call; set a number, or -1 for all calls until cleared")
	}
	switch r.Kind {
	case KindFault, KindTaskFault:
		if r.Kind == KindTaskFault && !strings.HasSuffix(r.Method, "_Task") {
			return fmt.Errorf("%q returns no task; kind task_fault is for methods that end in _Task", r.Method)
		}
		_, err := newFault(r.Fault, types.ManagedObjectReference{})
		return err
	case KindStatus:
		if http.StatusText(r.Status) == "" {
			return fmt.Errorf("%d is not an HTTP status; set status to one such as 503", r.Status)
		}
	case KindCutBefore, KindCutAfter, KindHang, KindDelay, KindGarbage, KindTruncate:
	default:
		return fmt.Errorf("unknown kind of rule %q; the kinds are in rules.go", r.Kind)
	}
	return nil
}

// names reports whether the envelope has the reference of the rule, if it has one.
func (r Rule) names(envelope []byte) bool {
	return r.Naming == "" || bytes.Contains(envelope, []byte(">"+r.Naming+"<"))
}

// rules holds the fault rules in force, the counts of calls, and the delays of methods.
type rules struct {
	mu      sync.Mutex
	list    []*Rule
	cleared chan struct{} // closed and replaced by clear
	calls   map[string]uint64
	delays  map[string]time.Duration
	fixed   []Rule // set at the start, never cleared
}

func newRules(fixed []Rule, delays map[string]time.Duration) *rules {
	return &rules{cleared: make(chan struct{}), calls: map[string]uint64{}, delays: delays, fixed: fixed}
}

// add adds a rule after the others.
func (r *rules) add(rule Rule) error {
	if err := rule.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, &rule)
	return nil
}

// clear removes all rules but the fixed ones; calls that hang continue.
func (r *rules) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = nil
	close(r.cleared)
	r.cleared = make(chan struct{})
}

// pending returns the rules that still decide calls.
func (r *rules) pending() []Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Rule, 0, len(r.list))
	for _, rule := range r.list {
		list = append(list, *rule)
	}
	return list
}

// decide counts the call with this envelope and returns the rule for it, if any, and how long a call of this method is delayed.
func (r *rules) decide(method string, envelope []byte) (rule Rule, cleared <-chan struct{}, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[method]++
	delay = r.delays[method]
	for i, candidate := range r.list {
		if candidate.Method != "" && candidate.Method != method || !candidate.names(envelope) {
			continue
		}
		rule = *candidate
		if candidate.Times > 0 {
			if candidate.Times--; candidate.Times == 0 {
				r.list = slices.Delete(r.list, i, i+1)
			}
		}
		return rule, r.cleared, delay
	}
	for _, candidate := range r.fixed {
		if candidate.Method == method {
			return candidate, nil, delay
		}
	}
	return Rule{}, nil, delay
}

// counted returns the number of calls by method.
func (r *rules) counted() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.calls)
}

// resetCounts sets all counts to zero.
func (r *rules) resetCounts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.calls)
}
