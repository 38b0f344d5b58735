package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machines are network namespaces on one switch that can be cut in two: four
// with a node each, and a fifth and sixth for clients of the two sides.
type machines struct {
	dir   string
	tag   string
	procs []*exec.Cmd
}

const (
	nodesOfSplit = 4
	clientA      = 5 // on the side of machines 1 and 2
	clientB      = 6 // on the side of machines 3 and 4
	port         = 4300
)

func addrOf(n int) string { return fmt.Sprintf("10.78.0.%d", n) }

func (m *machines) name(n int) string { return fmt.Sprintf("%s-%d", m.tag, n) }

// newMachines makes the namespaces or skips the test. The host's own network is
// not touched; the namespaces go when the test ends.
func newMachines(t *testing.T) *machines {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (package iproute2)")
	}
	m := &machines{dir: scratch(t), tag: fmt.Sprintf("he%d", os.Getpid())}
	if out, err := exec.Command("ip", "netns", "add", m.tag+"-sw").CombinedOutput(); err != nil {
		t.Skipf("this machine forbids network namespaces: %s", out)
	}
	t.Cleanup(func() { m.remove() })
	for _, bridge := range []string{"left", "right"} {
		m.ip(t, "-n", m.tag+"-sw", "link", "add", bridge, "type", "bridge")
		m.ip(t, "-n", m.tag+"-sw", "link", "set", bridge, "up")
	}
	for n := 1; n <= clientB; n++ {
		m.ip(t, "netns", "add", m.name(n))
		m.ip(t, "-n", m.name(n), "link", "add", "eth0", "type", "veth", "peer", "name", fmt.Sprintf("p%d", n), "netns", m.tag+"-sw")
		m.plug(t, n, "left")
		m.ip(t, "-n", m.name(n), "addr", "add", addrOf(n)+"/24", "dev", "eth0")
		m.ip(t, "-n", m.name(n), "link", "set", "lo", "up")
		m.ip(t, "-n", m.name(n), "link", "set", "eth0", "up")
	}
	return m
}

func (m *machines) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func (m *machines) plug(t *testing.T, n int, bridge string) {
	t.Helper()
	m.ip(t, "-n", m.tag+"-sw", "link", "set", fmt.Sprintf("p%d", n), "master", bridge, "up")
}

// side puts machines 3, 4 and 6 on a bridge: "right" cuts, "left" heals.
func (m *machines) side(t *testing.T, bridge string) {
	t.Helper()
	for _, n := range []int{3, 4, clientB} {
		m.plug(t, n, bridge)
	}
}

// heal puts all machines on one bridge again, and opens the way from machine 2
// to 4 by late after the others.
func (m *machines) heal(t *testing.T, late time.Duration) {
	t.Helper()
	way := func(what string) { m.ip(t, "-n", m.name(2), "route", what, "blackhole", addrOf(4)+"/32") }
	if late > 0 {
		way("add")
	}
	m.side(t, "left")
	if late > 0 {
		wait(t, late)
		way("del")
	}
}

func (m *machines) remove() {
	for _, p := range m.procs {
		p.Process.Kill() // it may have ended
		p.Wait()
	}
	for n := 1; n <= clientB; n++ {
		exec.Command("ip", "netns", "del", m.name(n)).Run()
	}
	exec.Command("ip", "netns", "del", m.tag+"-sw").Run()
}

// startNodes makes certificates and starts a node on machines 1 to 4.
func (m *machines) startNodes(t *testing.T) {
	t.Helper()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(program("node"), args...)
		cmd.Dir = m.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("headroom-node %v: %v\n%s", args, err, out)
		}
	}
	run("certs", "init")
	run("certs", "client", "--name", "e2e", "--out", "client")
	for n := 1; n <= nodesOfSplit; n++ {
		run("certs", "node", "--node-id", fmt.Sprint(n), "--out", fmt.Sprintf("node%d", n))
		log, err := os.Create(filepath.Join(m.dir, fmt.Sprintf("node%d.log", n)))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd := exec.Command("ip", "netns", "exec", m.name(n), program("node"), "run", "--node-id", fmt.Sprint(n),
			"--listen", fmt.Sprintf("%s:%d", addrOf(n), port), "--seed", fmt.Sprintf("%s:%d,%s:%d", addrOf(1), port, addrOf(3), port),
			"--credentials", fmt.Sprintf("node%d", n), "--data-dir", fmt.Sprintf("data%d", n), "--replication-factor", "2")
		cmd.Dir, cmd.Stdout, cmd.Stderr = m.dir, log, log
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		m.procs = append(m.procs, cmd)
	}
}

// status asks the node on machine n, on that machine.
func (m *machines) status(t *testing.T, n int) (nodeStatus, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", m.name(n), program("node"), "status", "--json",
		"--addr", fmt.Sprintf("%s:%d", addrOf(n), port), "--credentials", filepath.Join(m.dir, "client"))
	out, err := cmd.Output()
	if err != nil {
		return nodeStatus{}, err
	}
	var s nodeStatus
	return s, json.Unmarshal(out, &s)
}

// await waits until all nodes are in one View of that many members and have
// nothing left to migrate.
func (m *machines) await(t *testing.T, limit time.Duration) {
	t.Helper()
	began := time.Now()
	why := ""
	for calm := 0; calm < 3; {
		if time.Since(began) > limit {
			t.Fatalf("the nodes did not settle within %v: %s", limit, why)
		}
		if why = m.unsettled(t); why == "" {
			calm++
		} else {
			calm = 0
		}
		wait(t, 100*time.Millisecond)
	}
}

func (m *machines) unsettled(t *testing.T) string {
	key := ""
	for n := 1; n <= nodesOfSplit; n++ {
		s, err := m.status(t, n)
		switch {
		case err != nil:
			return fmt.Sprintf("node%d: %v", n, err)
		case len(s.Members) != nodesOfSplit || key != "" && key != s.ViewKey || s.State != "serving":
			return fmt.Sprintf("node%d is %s in view %s of %d members", n, s.State, s.ViewKey, len(s.Members))
		case s.Namespaces[0].Migrations.PartitionsLeft > 0:
			return fmt.Sprintf("node%d has %d partitions left", n, s.Namespaces[0].Migrations.PartitionsLeft)
		}
		key = s.ViewKey
	}
	return ""
}

// conflicts sums conflicts_discarded over the nodes.
func (m *machines) conflicts(t *testing.T) (sum int64) {
	t.Helper()
	for n := 1; n <= nodesOfSplit; n++ {
		s, err := m.status(t, n)
		if err != nil {
			t.Fatal(err)
		}
		sum += s.Namespaces[0].ConflictsDiscarded
	}
	return sum
}

// socket opens a UDP socket on machine n: a socket stays in the namespace in
// which it was made, whichever thread uses it.
func (m *machines) socket(t *testing.T, n int) net.PacketConn {
	t.Helper()
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open(filepath.Join("/var/run/netns", m.name(n)))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatalf("enter %s: %v", m.name(n), err)
	}
	conn, err := net.ListenPacket("udp4", addrOf(n)+":0")
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		t.Fatalf("leave %s: %v", m.name(n), back) // the thread stays locked and ends with the test
	}
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (m *machines) seeds(ids ...int) []string {
	var out []string
	for _, n := range ids {
		out = append(out, fmt.Sprintf("%s:%d", addrOf(n), port))
	}
	return out
}

func (m *machines) logs() string {
	var b strings.Builder
	for n := 1; n <= nodesOfSplit; n++ {
		text, _ := os.ReadFile(filepath.Join(m.dir, fmt.Sprintf("node%d.log", n)))
		fmt.Fprintf(&b, "\n--- node%d\n%s", n, text)
	}
	return b.String()
}
