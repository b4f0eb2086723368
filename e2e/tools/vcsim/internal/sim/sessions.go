package sim

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions knows who is logged in, which the simulator does not tell from outside.
type sessions struct {
	registry *simulator.Registry

	mu     sync.Mutex
	seen   map[string]*simulator.Session
	counts SessionCounts
}

// SessionCounts are the logins and the sessions there are (now) and were at most at one time (max).
type SessionCounts struct {
	Now          int `json:"now"`
	Max          int `json:"max"`
	Logins       int `json:"logins"`
	FailedLogins int `json:"failed_logins"`
}

func newSessions(registry *simulator.Registry) *sessions {
	return &sessions{registry: registry, seen: map[string]*simulator.Session{}}
}

// alive says whether the session of this call still exists.
func alive(ctx *simulator.Context) bool {
	manager := ctx.Map.SessionManager()
	res := manager.SessionIsActive(ctx, &types.SessionIsActive{
		This:      manager.Self,
		SessionID: ctx.Session.Key,
		UserName:  ctx.Session.UserName,
	})
	return res.(*methods.SessionIsActiveBody).Res.Returnval
}

// note remembers the session of a call that a client made.
func (s *sessions) note(session *simulator.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[session.Key]; !known {
		s.seen[session.Key] = session
	}
}

// login counts an answered Login.
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

func (s *sessions) count() SessionCounts {
	now := len(s.list())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Now = now
	return s.counts
}

// list is of those logged in, by the simulator's own account.
func (s *sessions) list() []types.UserSession {
	outside := &simulator.Session{Registry: simulator.NewRegistry(), Map: s.registry}
	return outside.Get(s.registry.SessionManager().Self).(*simulator.SessionManager).SessionList
}

// expire ends all sessions as an idle timeout does: the next call of each is not authenticated.
func (s *sessions) expire() int {
	manager := s.registry.SessionManager()
	listed := s.list()
	for _, user := range listed {
		s.mu.Lock()
		session := s.seen[user.Key]
		delete(s.seen, user.Key)
		s.mu.Unlock()
		ctx := outside(s.registry)
		if session == nil { // logged in, and no call since
			manager.TerminateSession(ctx, &types.TerminateSession{This: manager.Self, SessionId: []string{user.Key}})
			continue
		}
		ctx.Session = session
		manager.Logout(ctx, &types.Logout{This: manager.Self})
		release(ctx)
	}
	return len(listed)
}

// prune drops what is kept for sessions that have ended.
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

// release takes the session's collectors off the journal. A wait in progress notices by itself.
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
