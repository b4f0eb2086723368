package sim

import (
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// recent returns what the TaskManager lists.
func (v *vcenter) recent() (infos []types.TaskInfo) {
	v.t.Helper()
	ctx := v.t.Context()
	var manager mo.TaskManager
	collector := property.DefaultCollector(v.client)
	v.must(collector.RetrieveOne(ctx, *v.client.ServiceContent.TaskManager, []string{"recentTask"}, &manager))
	for _, ref := range manager.RecentTask {
		var task mo.Task
		v.must(collector.RetrieveOne(ctx, ref, []string{"info"}, &task))
		infos = append(infos, task.Info)
	}
	return infos
}

func userOf(info types.TaskInfo) string {
	if reason, ok := info.Reason.(*types.TaskReasonUser); ok {
		return reason.UserName
	}
	return ""
}

func TestTasksNameTheirUser(t *testing.T) {
	v := start(t, func(c *Config) { c.User = "administrator@vsphere.local" })
	session, err := v.manager.UserSession(t.Context())
	v.must(err)
	const user = `VSPHERE.LOCAL\Administrator`
	if session.UserName != user {
		t.Errorf("the session is of %s", session.UserName)
	}
	v.must(v.waitFor(v.clone(0, "one", true)))
	vm := object.NewVirtualMachine(v.client, v.vmRef("one"))
	v.inTask(vm.PowerOff(t.Context()))
	v.inTask(vm.Destroy(t.Context()))
	v.must(v.rules.add(Rule{Method: "CloneVM_Task", Times: 1, Kind: KindTaskFault, Fault: "NoDiskSpace"}))
	_, err = v.clone(0, "two", true)
	v.must(err)
	infos := v.recent()
	if len(infos) != 4 {
		t.Errorf("%d tasks", len(infos))
	}
	for _, info := range infos {
		if userOf(info) != user || info.QueueTime.IsZero() || info.Entity == nil {
			t.Errorf("%s: user %q, %+v", info.DescriptionId, userOf(info), info)
		}
	}
}

func TestCloneOfAnotherUser(t *testing.T) {
	v := start(t, func(c *Config) { c.Templates = []string{"photon", "debian"} })
	w := v.watch()
	began := time.Now()
	v.must(v.inventory.startClone("/DC0/vm/debian", root, "theirs", `CORP\alice`, time.Hour))
	v.must(v.inventory.startClone("/DC0/vm/photon", root, "soon", `CORP\alice`, 200*time.Millisecond))
	infos := v.recent()
	if len(infos) != 2 {
		t.Fatalf("%d tasks", len(infos))
	}
	slow := infos[0]
	if userOf(slow) != `CORP\alice` || *slow.Entity != v.templates[1].Reference() || slow.DescriptionId != "VirtualMachine.clone" {
		t.Errorf("%+v", slow)
	}
	if slow.State != types.TaskInfoStateRunning || slow.QueueTime.Before(began.Add(-time.Second)) {
		t.Errorf("%+v", slow)
	}
	w.until("the short clone is there", func() bool { return w.machine("soon") != nil })
	if time.Since(began) < 200*time.Millisecond {
		t.Error("the clone took no time")
	}
	if w.machine("theirs") != nil {
		t.Error("the long clone is there")
	}
	if v.inventory.startClone("/DC0/vm/none", root, "x", "u", 0) == nil {
		t.Error("a clone of nothing was accepted")
	}
}

func TestAccountName(t *testing.T) {
	for login, want := range map[string]string{
		"administrator@vsphere.local": `VSPHERE.LOCAL\Administrator`,
		"über@corp.example":           `CORP.EXAMPLE\Über`,
		"user":                        "user",
		`CORP\user`:                   `CORP\user`,
		"@x":                          "@x",
	} {
		if got := accountName(login); got != want {
			t.Errorf("%s is shown as %s", login, got)
		}
	}
}

func TestClockIsWrong(t *testing.T) {
	for _, offset := range []time.Duration{-3 * time.Hour, 40 * time.Minute} {
		v := start(t, func(c *Config) { c.ClockOffset = offset })
		off := func(what string, at *time.Time) {
			t.Helper()
			if at == nil || time.Until(at.Add(-offset)).Abs() > patience {
				t.Errorf("%v: %s at %v", offset, what, at)
			}
		}
		now, err := methods.GetCurrentTime(t.Context(), v.client)
		v.must(err)
		off("now", now)
		v.must(v.waitFor(v.clone(0, "one", true)))
		v.inTask(object.NewVirtualMachine(v.client, v.vmRef("one")).PowerOff(t.Context()))
		for _, info := range v.recent() {
			off(info.DescriptionId+" queued", &info.QueueTime)
			off(info.DescriptionId+" started", info.StartTime)
			off(info.DescriptionId+" completed", info.CompleteTime)
		}
	}
}
