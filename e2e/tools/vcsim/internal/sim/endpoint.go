package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
)

// Outage is what the whole SDK endpoint does; the inventory lives on.
type Outage struct {
	// Kind is none, refuse (nobody listens, open connections are closed), hang (connections are accepted,
	// nothing is answered until this ends) or status.
	Kind string `json:"kind"`
	// Status is the HTTP status of kind status.
	Status int `json:"status,omitempty"`
}

// The kinds of outage.
const (
	OutageNone   = "none"
	OutageRefuse = "refuse"
	OutageHang   = "hang"
	OutageStatus = "status"
)

// endpoint is the HTTPS side of the SDK: it counts calls, applies rules and outages, and passes on the rest.
type endpoint struct {
	service  *Server
	handler  http.Handler
	identity *tls.Config
	address  string

	mu      sync.Mutex
	outage  Outage
	changed chan struct{} // closed and renewed when the outage changes
	server  *http.Server  // nil while connections are refused
}

func newEndpoint(service *Server, handler http.Handler, identity *Identity) *endpoint {
	return &endpoint{
		service: service,
		handler: handler,
		identity: &tls.Config{
			Certificates: []tls.Certificate{identity.Certificate},
			NextProtos:   []string{"http/1.1"}, // a connection carries one call at a time, so it can be cut
		},
		outage:  Outage{Kind: OutageNone},
		changed: make(chan struct{}),
	}
}

// listen opens the address, and keeps the port it was given for later.
func (e *endpoint) listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	e.address = listener.Addr().String()
	server := &http.Server{
		Handler:           e,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // every cut and every scan of the port would be in it
	}
	e.server = server
	go func() {
		if err := server.Serve(tls.NewListener(listener, e.identity)); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("sdk endpoint: %v", err)
		}
	}()
	return nil
}

func (e *endpoint) set(outage Outage) error {
	switch outage.Kind {
	case OutageNone, OutageRefuse, OutageHang:
	case OutageStatus:
		if http.StatusText(outage.Status) == "" {
			return fmt.Errorf("status %d is no HTTP status", outage.Status)
		}
	default:
		return fmt.Errorf("unknown outage %q", outage.Kind)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if outage.Kind == OutageRefuse && e.server != nil {
		_ = e.server.Close()
		e.server = nil
	}
	if outage.Kind != OutageRefuse && e.server == nil {
		if err := e.listen(e.address); err != nil {
			return err
		}
	}
	e.outage = outage
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		_ = e.server.Close()
	}
}

// admit holds the call back for as long as the outage has it so. It returns the status to answer with
// instead, or 0; and false if the client did not wait.
func (e *endpoint) admit(ctx context.Context) (status int, ok bool) {
	for {
		e.mu.Lock()
		outage, changed := e.outage, e.changed
		e.mu.Unlock()
		switch outage.Kind {
		case OutageStatus:
			return outage.Status, true
		case OutageHang:
			select {
			case <-changed:
			case <-ctx.Done():
				return 0, false
			}
		default:
			return 0, ctx.Err() == nil
		}
	}
}

// cut closes the connection with no answer.
func cut() { panic(http.ErrAbortHandler) }

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, ok := e.admit(r.Context())
	if !ok {
		cut()
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if r.URL.Path != vim25.Path || r.Method != http.MethodPost {
		e.handler.ServeHTTP(w, r)
		return
	}
	// The whole body: net/http notices that a client is gone only after that.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		cut()
	}
	e.serveSDK(w, r, body)
}

func (e *endpoint) serveSDK(w http.ResponseWriter, r *http.Request, body []byte) {
	c := parseCall(body)
	rule, cleared, delay := e.service.rules.decide(c.method)
	run := func() *reply {
		answer := newReply()
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		e.handler.ServeHTTP(answer, again)
		e.service.after(c, answer.status)
		return answer
	}
	var err error
	switch rule.Kind {
	case KindFault:
		fault, _ := newFault(rule.Fault, c.this)
		answer := newReply()
		err = writeFault(answer, fault)
		e.service.after(c, answer.status)
		answer.send(w)
	case KindTaskFault:
		fault, _ := newFault(rule.Fault, c.this)
		err = writeTask(w, c.method, e.service.failedTask(c, fault))
	case KindStatus:
		w.WriteHeader(rule.Status)
	case KindCutBefore:
		cut()
	case KindCutAfter:
		if !pause(r, delay, nil) {
			cut()
		}
		run()
		cut()
	default:
		switch rule.Kind {
		case KindHang:
			ok := pause(r, -1, cleared)
			if !ok {
				cut()
			}
		case KindDelay:
			delay += time.Duration(rule.DelayMS) * time.Millisecond
		}
		if !pause(r, delay, nil) {
			cut()
		}
		answer := run()
		// An outage that began meanwhile takes the answer, too.
		status, ok := e.admit(r.Context())
		switch {
		case !ok:
			cut()
		case status != 0:
			w.WriteHeader(status)
		default:
			answer.send(w)
		}
	}
	if err != nil {
		log.Printf("%s: %v", c.method, err)
	}
}

// pause waits for the time (negative: for ever) or until ended; false if the client is gone.
func pause(r *http.Request, delay time.Duration, ended <-chan struct{}) bool {
	var timer <-chan time.Time
	if delay >= 0 {
		timer = time.After(delay)
	}
	select {
	case <-timer:
		return true
	case <-ended:
		return true
	case <-r.Context().Done():
		return false
	}
}

// readOnly says of a method that it changes nothing in the inventory.
func readOnly(method string) bool {
	for _, prefix := range []string{"Retrieve", "Wait", "Query", "Find", "Current", "Session", "Cancel", "Login", "Continue"} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}
