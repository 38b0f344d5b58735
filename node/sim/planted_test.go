package sim

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
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
	{"commits are sent again", "membership/desire.go", "			c.send(s.node, c.commit)\n", ""},
	{"a stuck member is healed by a new round", "membership/desire.go", "|| c.stuck(now)", ""},
	{"a restart is noticed", "heartbeat/receive.go", "	case m.Inc != p.member.Inc || moved:", "	case moved:"},
	{"a lease needs the echo under the same View", "heartbeat/receive.go", "m.View != c.view.Key || m.Frozen || m.EchoInc", "m.EchoInc"},
	{"a frozen member grants no lease", "heartbeat/receive.go", "m.Frozen || m.EchoInc", "m.EchoInc"},
	{"a lease counts from the sending", "heartbeat/receive.go", "p.leaseFrom = max(p.leaseFrom, m.EchoSent)", "p.leaseFrom = now"},
	{"granted leases are accounted for", "heartbeat/heartbeat.go", "	return p.heardAt.Add(c.cfg.Lease)\n", "	return 0\n"},
	{"no lease is granted after the fence is read", "sim/node.go", "	n.Heartbeat.Freeze()\n", ""},
	{"a pause of one's own is no evidence against others", "heartbeat/receive.go", "		p.quietFrom = max(p.quietFrom, now)\n", ""},
	{"a goodbye is believed at once", "heartbeat/receive.go", "	if m.Goodbye {", "	if false {"},
	{"an answer to a seed call is not answered", "heartbeat/receive.go", "	if m.Seq == 0 {", "	if m.Called != \"\" {\n		p.due(now)"},
	{"a refused port needs a second member", "heartbeat/judge.go", "case p.refusals >= probes && (agree || others == 0):", "case p.refusals >= probes:"},
}

func TestPlantedBugsAreFound(t *testing.T) {
	if !*plantedFlag {
		t.Skip("takes minutes: go test ./node/sim -run Planted -planted")
	}
	for _, b := range planted {
		t.Run(strings.ReplaceAll(b.rule, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			copySources(t, dir, b)
			for _, args := range [][]string{
				{"./node/heartbeat", "./node/membership"},
				{"./node/sim", "-run", "Scripts|Four|Killed|Silent|Steady|Loss"},
				{"./node/sim", "-run", "TestSeeds", "-seeds", "200", "-timeout", "60s"},
			} {
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
		})
	}
}

// copySources copies what the simulator needs, with the bug, to dir.
func copySources(t *testing.T, dir string, b bug) {
	t.Helper()
	for _, p := range []string{"cluster", "wire", "record", "hlc", "heartbeat", "membership", "sim"} {
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
