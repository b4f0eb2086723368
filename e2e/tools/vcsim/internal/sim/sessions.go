package sim

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions tracks the sessions of the simulator, and counts logins.
type sessions struct {
	registry *simulator.Registry

	mu     sync.Mutex
	seen   map[string]*simulator.Session
	counts SessionCounts
}

// SessionCounts holds the number of sessions now, the highest number at one time (max), and the number of logins.
type SessionCounts struct {
	Now          int `json:"now"`
	Max          int `json:"max"`
	Logins       int `json:"logins"`
	FailedLogins int `json:"failed_logins"`
}

func newSessions(registry *simulator.Registry) *sessions {
	return &sessions{registry: registry, seen: map[string]*simulator.Session{}}
}

// alive reports whether the session of this call still exists.
func alive(ctx *simulator.Context) bool {
	manager := ctx.Map.SessionManager()
	res := manager.SessionIsActive(ctx, &types.SessionIsActive{
		This:      manager.Self,
		SessionID: ctx.Session.Key,
		UserName:  ctx.Session.UserName,
	})
	return res.(*methods.SessionIsActiveBody).Res.Returnval
}

// note records the session of a client's call.
func (s *sessions) note(session *simulator.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[session.Key]; !known {
		s.seen[session.Key] = session
	}
}

// login counts a Login that was answered.
func (s *sessions) login(ok bool) {
	now := len(s.list())
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		s.counts.Logins++
	} else {
		s.counts.FailedLogins++
	}
	s.counts.Max = max(s.counts.Max, now)
}

// count returns the counts.
func (s *sessions) count() SessionCounts {
	now := len(s.list())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Now = now
	return s.counts
}

// list returns the sessions that the simulator has.
func (s *sessions) list() []types.UserSession {
	outside := &simulator.Session{Registry: simulator.NewRegistry(), Map: s.registry}
	return outside.Get(s.registry.SessionManager().Self).(*simulator.SessionManager).SessionList
}

// expire ends all sessions as an idle timeout does, and returns their number: the next call of each gets
// NotAuthenticated.
func (s *sessions) expire() int {
	manager := s.registry.SessionManager()
	listed := s.list()
	for _, user := range listed {
		s.mu.Lock()
		session := s.seen[user.Key]
		delete(s.seen, user.Key)
		s.mu.Unlock()
		ctx := outside(s.registry)
		if session == nil { // no call since the login
			manager.TerminateSession(ctx, &types.TerminateSession{This: manager.Self, SessionId: []string{user.Key}})
			continue
		}
		ctx.Session = session
		manager.Logout(ctx, &types.Logout{This: manager.Self})
		release(ctx)
	}
	return len(listed)
}

// dropViews removes the container views of all sessions without a word to their collectors, and returns their number.
func (s *sessions) dropViews() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped := 0
	for _, session := range s.seen {
		ctx := outside(s.registry)
		ctx.Session = session
		for _, view := range session.Registry.AllReference("ContainerView") {
			session.Registry.Remove(ctx, view.Reference())
			dropped++
		}
	}
	return dropped
}

// prune releases the sessions that have ended.
func (s *sessions) prune() {
	live := map[string]bool{}
	for _, user := range s.list() {
		live[user.Key] = true
	}
	s.mu.Lock()
	var gone []*simulator.Session
	for key, session := range s.seen {
		if !live[key] {
			gone = append(gone, session)
			delete(s.seen, key)
		}
	}
	s.mu.Unlock()
	for _, session := range gone {
		ctx := outside(s.registry)
		ctx.Session = session
		release(ctx)
	}
}

// release removes the session's collectors from the journal. A wait in progress ends at its next tick.
func release(ctx *simulator.Context) {
	for _, o := range ctx.Session.Registry.AllReference("PropertyCollector") {
		if c, ok := o.(*Collector); ok {
			c.mu.Lock()
			if c.reader != nil {
				ctx.Map.Get(journalRef).(*journal).close(c.reader)
			}
			c.mu.Unlock()
		}
	}
}
