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

// Outage is a failure of the whole SDK endpoint; the inventory and running tasks are not affected.
type Outage struct {
	// Kind is none, refuse (the port is closed, and so are open connections), hang (connections are accepted, no
	// request is answered until the outage ends) or status.
	Kind string `json:"kind"`
	// Status is the HTTP status of kind status.
	Status int `json:"status,omitempty"`
	// MS is when the outage ends by itself, in milliseconds; 0: it does not.
	MS int64 `json:"ms,omitempty"`
}

// The kinds of outage.
const (
	OutageNone   = "none"
	OutageRefuse = "refuse"
	OutageHang   = "hang"
	OutageStatus = "status"
)

// endpoint is the HTTPS side of the SDK: it counts calls, applies rules and outages, and passes other calls on.
type endpoint struct {
	service  *Server
	handler  http.Handler
	identity *tls.Config
	address  string

	mu      sync.Mutex
	outage  Outage
	changed chan struct{} // closed and replaced when the outage changes
	server  *http.Server  // nil while connections are refused
	running int           // calls that are not answered yet
	cut     int           // calls whose connections an outage closed
}

func newEndpoint(service *Server, handler http.Handler, identity *Identity) *endpoint {
	return &endpoint{
		service: service,
		handler: handler,
		identity: &tls.Config{
			Certificates: []tls.Certificate{identity.Certificate},
			NextProtos:   []string{"http/1.1"}, // a connection carries one call at a time: cutting it affects no other call
		},
		outage:  Outage{Kind: OutageNone},
		changed: make(chan struct{}),
	}
}

// listen opens the address and records it: a later call opens the same port.
func (e *endpoint) listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	e.address = listener.Addr().String()
	server := &http.Server{
		Handler:           e,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // each connection that is cut would be logged
	}
	e.server = server
	go func() {
		if err := server.Serve(tls.NewListener(listener, e.identity)); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("sdk endpoint: %v", err)
		}
	}()
	return nil
}

// set begins an outage or ends it.
func (e *endpoint) set(outage Outage) error {
	switch outage.Kind {
	case OutageNone, OutageRefuse, OutageHang:
	case OutageStatus:
		if http.StatusText(outage.Status) == "" {
			return fmt.Errorf("%d is not an HTTP status; set status to one such as 503", outage.Status)
		}
	default:
		return fmt.Errorf("unknown outage %q; use none, refuse, hang or status", outage.Kind)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if outage.Kind == OutageRefuse && e.server != nil {
		_ = e.server.Close()
		e.server = nil
		e.cut += e.running
	}
	if outage.Kind != OutageRefuse && e.server == nil {
		if err := e.listen(e.address); err != nil {
			return err
		}
	}
	e.outage = outage
	close(e.changed)
	e.changed = make(chan struct{})
	if outage.MS > 0 {
		go e.end(e.changed, time.Duration(outage.MS)*time.Millisecond)
	}
	return nil
}

// end ends the outage after that time, unless another one has begun.
func (e *endpoint) end(changed <-chan struct{}, after time.Duration) {
	select {
	case <-changed:
	case <-time.After(after):
		if err := e.set(Outage{Kind: OutageNone}); err != nil {
			log.Printf("sdk endpoint: %v", err)
		}
	}
}

// cutCalls returns how many calls lost their connection to an outage of kind refuse.
func (e *endpoint) cutCalls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cut
}

// count counts a call from its beginning (1) to its end (-1).
func (e *endpoint) count(change int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running += change
}

// close closes the port and all connections.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		_ = e.server.Close()
	}
}

// admit waits while the outage is a hang. It returns the status to answer instead of running the call, or 0, and false
// if the client has gone away.
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

// cut closes the connection without an answer.
func cut() { panic(http.ErrAbortHandler) }

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.count(1)
	defer e.count(-1)
	status, ok := e.admit(r.Context())
	if !ok {
		cut()
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if !isCall(r) {
		e.handler.ServeHTTP(w, r)
		return
	}
	// Read the whole body: only then does net/http notice that a client has gone away.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		cut()
	}
	e.serveSDK(w, r, body)
}

// serveSDK applies the rule for the call, if there is one, or runs the call.
func (e *endpoint) serveSDK(w http.ResponseWriter, r *http.Request, body []byte) {
	c := parseCall(body)
	rule, cleared, delay := e.service.rules.decide(c.method, body)
	if e.refuse(w, c, rule) {
		return
	}
	switch rule.Kind {
	case KindHang:
		if !pause(r, -1, cleared) {
			cut()
		}
	case KindDelay:
		delay += time.Duration(rule.DelayMS) * time.Millisecond
	}
	if !pause(r, delay, nil) {
		cut()
	}
	answer := e.run(r, c, body)
	if rule.Kind == KindCutAfter {
		cut()
	}
	// An outage that began in the meantime takes the answer, too.
	status, ok := e.admit(r.Context())
	switch {
	case !ok:
		cut()
	case status != 0:
		w.WriteHeader(status)
		return
	case rule.Kind == KindTruncate:
		answer.body.Truncate(answer.body.Len() / 2)
	}
	answer.send(w)
}

// refuse answers the call without running it, if the rule says so.
func (e *endpoint) refuse(w http.ResponseWriter, c call, rule Rule) bool {
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
	case KindGarbage:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, err = io.WriteString(w, garbage)
	case KindCutBefore:
		cut()
	default:
		return false
	}
	if err != nil {
		log.Printf("%s: %v", c.method, err)
	}
	return true
}

// garbage is what a proxy in front of a vCenter may answer.
const garbage = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Sign in to the proxy & continue.<br></body></html>\n"

// run runs the call, also if the client goes away meanwhile, and returns its answer.
func (e *endpoint) run(r *http.Request, c call, body []byte) *reply {
	answer := newReply()
	again := r.Clone(context.WithoutCancel(r.Context()))
	again.Body = io.NopCloser(bytes.NewReader(body))
	e.handler.ServeHTTP(answer, again)
	if r.URL.Path == vim25.Path { // the objects of other services are not in the inventory
		e.service.after(c, answer.status)
	}
	return answer
}

// pause waits for the delay (negative: without limit) or until ended is closed; false if the client has gone away.
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

// readOnly reports whether a method changes nothing in the inventory.
func readOnly(method string) bool {
	for _, prefix := range []string{"Retrieve", "Wait", "Query", "Find", "Fetch", "Has", "Current", "Session", "Cancel", "Login", "Continue"} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}
