package sim

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var plantedFlag = flag.Bool("planted", false, "plant each bug in a copy of the sources and demand that a test finds it (minutes)")

// bug is a change to the sources that breaks one rule of design §3.
type bug struct{ rule, file, old, new string }

// planted lists the bugs that these tests must find. Each is the removal of
// one safety rule.
var planted = []bug{
	{"commits wait for the leases of those left out", "membership/proposer.go", "	r.fenceAt = at\n", "	r.fenceAt = now\n	_ = at\n"},
	{"all proposed members must accept", "membership/proposer.go", "	if slices.Contains(r.accepted, nil) {\n		return\n	}\n", "	for i, a := range r.accepted {\n		if a == nil {\n			r.accepted[i] = &wire.Accepted{}\n		}\n	}\n"},
	{"only the newest accepted View is adopted", "membership/acceptor.go", "m.View.Key != c.accepted ||", "!c.viewKey().Less(m.View.Key) ||"},
	{"a member is frozen from acceptance to commit", "membership/membership.go", "return c.view != nil && c.view.Key.Less(c.accepted)", "return false"},
	{"a freeze outlasts a later promise", "membership/acceptor.go", "	c.promised = m.Ballot\n", "	c.promised = m.Ballot\n	c.accepted = c.viewKey()\n"},
	{"a lower ballot is not promised", "membership/acceptor.go", "m.Ballot.Compare(c.promised) <= 0 ||", ""},
	{"only the promised ballot is accepted", "membership/acceptor.go", "if m.Ballot != c.promised {", "if m.Ballot.Less(c.viewKey()) {"},
	{"counters of Views grow strictly", "membership/acceptor.go", "m.Ballot.Counter <= max(c.viewKey().Counter, c.accepted.Counter) ||", ""},
	{"a counter is not used again after a restart", "membership/membership.go", "c.counter = max(st.Promised.Counter, st.Accepted.Counter, st.View.Key.Counter)", ""},
	{"a member is a node in one incarnation", "membership/acceptor.go", "return ms[i].Inc == inc", "return true"},
	{"commits are sent again", "membership/desire.go", "			c.sendAll(s.node, c.commit)\n", ""},
	{"a stuck member is healed by a new round", "membership/desire.go", "|| c.stuck(now)", ""},
	{"a restart is noticed", "heartbeat/receive.go", "	case m.Inc != p.member.Inc || moved:", "	case moved:"},
	{"a lease needs the echo under the same View", "heartbeat/receive.go", "m.View != c.view.Key || m.Frozen || m.EchoInc", "m.EchoInc"},
	{"a frozen member grants no lease", "heartbeat/receive.go", "m.Frozen || m.EchoInc", "m.EchoInc"},
	{"a lease counts from the sending", "heartbeat/receive.go", "p.leaseFrom = max(p.leaseFrom, m.EchoSent)", "p.leaseFrom = now"},
	{"granted leases are accounted for", "heartbeat/heartbeat.go", "	return p.grantFrom.Add(c.cfg.Lease)\n", "	return 0\n"},
	{"no lease is granted after the fence is read", "sim/node.go", "	n.Heartbeat.Freeze()\n", ""},
	{"a pause of one's own is no evidence against others", "heartbeat/receive.go", "		p.quietFrom = max(p.quietFrom, now)\n", ""},
	{"a goodbye is believed at once", "heartbeat/receive.go", "	if m.Goodbye {", "	if false {"},
	{"an answer to a seed call is not answered", "heartbeat/receive.go", "	if m.Seq == 0 {", "	if m.Called != \"\" {\n		p.due(now)"},
	{"a refused port needs a second member", "heartbeat/judge.go", "case p.refusals >= probes && (agree || others == 0):", "case p.refusals >= probes:"},
}

// plantedData lists the bugs of the data plane that its seeds must find.
var plantedData = []bug{
	{"writes by the map of an older View are fenced", "txn/core.go", "	case !q.isRead() && q.View != 0 && q.View != c.tag:\n		c.fenced(q)\n", ""},
	{"reads resolve duplicates", "txn/core.go", "case q.isRead() && len(p.Duplicates) == 0:", "case q.isRead():"},
	{"a replaced version has an earlier stamp", "txn/core.go", "	v.Stamp = max(v.Stamp, old.Stamp+1)", "	if !v.Newer(old) {\n		v.Stamp = old.Stamp + 1\n	}"},
	{"an adopted write does not replace a newer one", "txn/op.go", "if ok && cur.Version.Newer(o.meta.Version) {\n		o.reply = wire.Reply{Status: wire.StatusNotMaster}", "if ok && false {\n		o.reply = wire.Reply{Status: wire.StatusNotMaster}"},
	{"writes in flight run again", "txn/view.go", "			c.rerun(now, o)\n		}\n	}\n	c.unpark(now)\n	c.replay(now)", "			c.finish(now, o)\n		}\n	}\n	c.unpark(now)\n	c.replay(now)"},
	{"replicas in sync get what was absorbed", "migrate/job.go", "	if len(part.Duplicates) == 0 {\n		return part.Fill\n	}", "	if true {\n		return part.Fill\n	}"},
	{"a fill is applied in order", "migrate/holder.go", "	if m.Seq > *got+1 {\n		return false\n	}\n	if m.Seq == *got+1 {", "	if m.Seq > *got {"},
	{"a copy is full when all of the fill has come", "migrate/holder.go", "if c.got[pid]+1 != m.Seq || k.Key", "if k.Key"},
	{"a partition is drained before its handover", "migrate/job.go", "	case draining:\n		c.out.Drain = append(c.out.Drain, j.pid)", "	case draining:\n		c.next(j)"},
	{"a master's commit establishes its copies", "migrate/migrate.go", "		if part.Master == uint16(i) && c.report", "		if false && c.report"},
	{"an older copy does not serve", "partition/plan.go", "if c.State != Full || c.Key.Less(s.established) {", "if c.State != Full {"},
	{"only what never had data starts fresh", "partition/plan.go", "case s.master == Nobody && (!s.established.IsZero() || s.records):", "case s.master == Nobody && s.records:"},
	{"a node that was away for too long brings nothing back", "partition/plan.go", "	if b.absence != nil {\n", "	if false {\n"},
	{"a copy that lacks records is not full", "partition/plan.go", "	case replica:\n		return Copy{State: Subset,", "	case replica:\n		return Copy{State: Full,"},
}

func TestPlantedBugsAreFound(t *testing.T) {
	if !*plantedFlag {
		t.Skip("takes minutes: go test ./node/sim -run Planted -planted")
	}
	for i, b := range append(slices.Clone(planted), plantedData...) {
		t.Run(strings.ReplaceAll(b.rule, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			copySources(t, dir, b)
			if i >= len(planted) {
				demandFailure(t, dir, b, [][]string{{"./node/sim", "-run", "TestSeeds", "-seeds", "200"}})
				return
			}
			demandFailure(t, dir, b, [][]string{
				{"./node/heartbeat", "./node/membership"},
				{"./node/sim", "-run", "Scripts|Four|Killed|Silent|Steady|Loss"},
				{"./node/sim", "-run", "TestSeeds", "-seeds", "200", "-timeout", "60s"},
			})
		})
	}
}

// demandFailure runs tests in a copy of the sources until some fail.
func demandFailure(t *testing.T, dir string, b bug, tests [][]string) {
	t.Helper()
	for _, args := range tests {
		cmd := exec.Command("go", append([]string{"test", "-count=1"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "build failed") {
			t.Fatalf("does not build:\n%s", out)
		}
		if err != nil {
			return // found
		}
	}
	t.Errorf("no test finds that this rule is broken: %s", b.rule)
}

// copySources copies what the simulator needs, with the bug, to dir.
func copySources(t *testing.T, dir string, b bug) {
	t.Helper()
	for _, p := range []string{"cluster", "wire", "record", "hlc", "heartbeat", "membership", "partition", "migrate", "txn", "storage", "sim"} {
		if err := os.CopyFS(filepath.Join(dir, "node", p), os.DirFS("../"+p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile("../../" + f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "node", b.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), b.old) != 1 {
		t.Fatalf("%s: the place for the bug occurs %d times, want 1", b.file, strings.Count(string(text), b.old))
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), b.old, b.new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
