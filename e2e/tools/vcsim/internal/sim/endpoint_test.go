package sim

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func TestSessionsAreCounted(t *testing.T) {
	v := start(t, nil)
	_, second := v.login("secret")
	if err := session.NewManager(v.connect()).Login(t.Context(), url.UserPassword("user", "wrong")); !isFault[*types.InvalidLogin](err) {
		t.Errorf("wrong password: %v", err)
	}
	if got, want := v.sessions.count(), (SessionCounts{Now: 2, Max: 2, Logins: 2, FailedLogins: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	v.must(second.Logout(t.Context()))
	if got := v.sessions.count(); got.Now != 1 {
		t.Errorf("after logout: %+v", got)
	}
	if n := v.sessions.expire(); n != 1 {
		t.Errorf("%d sessions expired", n)
	}
	if got := v.sessions.count(); got.Now != 0 || got.Max != 2 {
		t.Errorf("after expiry: %+v", got)
	}
}

func TestRules(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	add := func(r Rule) { t.Helper(); v.must(v.rules.add(r)) }

	add(Rule{Method: "CreateFolder", Times: 1, Kind: KindFault, Fault: "NoPermission"})
	if _, err := v.folder.CreateFolder(ctx, "x"); !isFault[*types.NoPermission](err) {
		t.Errorf("fault: %v", err)
	}
	_, err := v.folder.CreateFolder(ctx, "x")
	v.must(err)

	add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindTaskFault, Fault: "NoDiskSpace"})
	started, err := v.clone(0, "one", true)
	v.must(err)
	if err := started.Wait(ctx); !isFault[*types.NoDiskSpace](err) {
		t.Errorf("task_fault: %v", err)
	}

	count := func() int { return len(v.inventory.vms()) }
	had := count()
	add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindCutBefore})
	if _, err := v.clone(0, "one", true); err == nil || soap.IsSoapFault(err) {
		t.Errorf("cut_before: %v", err)
	}
	if count() != had {
		t.Error("cut_before ran the call")
	}
	add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindCutAfter})
	if _, err := v.clone(0, "one", true); err == nil || soap.IsSoapFault(err) {
		t.Errorf("cut_after: %v", err)
	}
	for deadline := time.Now().Add(patience); count() != had+1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("cut_after did not run the call")
		}
	}
	add(Rule{Method: "CurrentTime", Times: 2, Kind: KindStatus, Status: 503})
	for range 2 {
		if _, err := methods.GetCurrentTime(ctx, v.client); err == nil || soap.IsSoapFault(err) {
			t.Errorf("status: %v", err)
		}
	}
	add(Rule{Method: "CurrentTime", Times: 1, Kind: KindDelay, DelayMS: 200})
	began := time.Now()
	_, err = methods.GetCurrentTime(ctx, v.client)
	v.must(err)
	if time.Since(began) < 200*time.Millisecond {
		t.Error("delay did not")
	}
}

func TestRulesForHostileAnswers(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	add := func(r Rule) { t.Helper(); v.must(v.rules.add(r)) }
	folders := func() int { return len(v.inventory.folders()) }
	before := folders()
	add(Rule{Method: "CreateFolder", Times: 1, Kind: KindGarbage})
	if _, err := v.folder.CreateFolder(ctx, "garbage"); err == nil || soap.IsSoapFault(err) || folders() != before {
		t.Errorf("garbage: %v, %d folders more", err, folders()-before)
	}
	add(Rule{Method: "CreateFolder", Times: 1, Kind: KindTruncate})
	if _, err := v.folder.CreateFolder(ctx, "truncated"); err == nil || soap.IsSoapFault(err) || folders() != before+1 {
		t.Errorf("truncate: %v, %d folders more", err, folders()-before)
	}
}

func TestRuleThatHangs(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	v.must(v.rules.add(Rule{Method: "CurrentTime", Times: -1, Kind: KindHang}))
	answered := make(chan error, 1)
	v.rules.resetCounts()
	go func() { _, err := methods.GetCurrentTime(ctx, v.client); answered <- err }()
	for v.rules.counted()["CurrentTime"] == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-answered:
		t.Errorf("hang: %v", err)
	case <-time.After(100 * time.Millisecond): // a slower machine shows less, but never a false failure
	}
	v.rules.clear()
	v.must(<-answered)
}

func TestRulesAreChecked(t *testing.T) {
	v := start(t, nil)
	for _, bad := range []Rule{{Kind: "x", Times: 1}, {Kind: KindFault, Fault: "Nonsense", Times: 1}, {Kind: KindHang},
		{Kind: KindStatus, Times: 1}, {Method: "CurrentTime", Kind: KindTaskFault, Fault: "NoPermission", Times: 1}} {
		if v.rules.add(bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestOutages(t *testing.T) {
	v := start(t, nil)
	ctx := t.Context()
	now := func(ctx context.Context) error { _, err := methods.GetCurrentTime(ctx, v.client); return err }
	for _, outage := range []Outage{{Kind: OutageRefuse}, {Kind: OutageStatus, Status: 503}} {
		v.must(v.endpoint.set(outage))
		if err := now(ctx); err == nil || soap.IsSoapFault(err) {
			t.Errorf("%s: %v", outage.Kind, err)
		}
		v.must(v.endpoint.set(Outage{Kind: OutageNone}))
		v.must(now(ctx))
	}
	v.must(v.endpoint.set(Outage{Kind: OutageHang}))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := now(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	answered := make(chan error, 1)
	go func() { answered <- now(ctx) }()
	v.must(v.endpoint.set(Outage{Kind: OutageNone}))
	v.must(<-answered)
}
