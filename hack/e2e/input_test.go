package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headroom/hack/figures/rig"
	"headroom/loadgen/local"
	"headroom/node/client"
	"headroom/node/record"
)

// TestBadInputIsRefusedAndTheNodesGoOn gives two nodes everything the issue
// names as bad input, and asks after each whether they still serve.
func TestBadInputIsRefusedAndTheNodesGoOn(t *testing.T) {
	b := &bad{dir: scratch(t)}
	var err error
	b.c, err = local.Start(t.Context(), local.Config{Nodes: 2, Binary: program("node"), Dir: filepath.Join(b.dir, "cluster")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.c.Close() })
	for name, f := range map[string]func(*testing.T){
		"a second node with the same id": b.duplicate, "a port in use": b.portInUse, "a wrong cluster certificate": b.wrongCertificate,
		"a config with a typo": b.typo, "an unknown namespace": b.unknownNamespace, "garbage datagrams": b.garbage,
		"a record that is too big": b.tooBig, "an address beyond loopback without certificates": b.bare,
	} {
		t.Run(name, func(t *testing.T) {
			f(t)
			b.goesOn(t)
		})
	}
}

type bad struct {
	dir string
	c   *local.Cluster
	n   int64 // writes so far
}

// run starts headroom-node run with further flags and waits for its end.
func (b *bad) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	data := filepath.Join(b.dir, "extra-"+strconv.FormatInt(rand.Int64(), 36))
	return command(t, 20*time.Second, program("node"), append([]string{"run", "--http", "off", "--data-dir", data}, args...)...)
}

// says fails unless the output has every one of the texts and the exit code is
// not 0.
func says(t *testing.T, out string, code int, want ...string) {
	t.Helper()
	t.Logf("exit code %d: %s", code, strings.TrimSpace(out))
	if code == 0 {
		t.Error("exit code 0, want an error")
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("the error does not say %q", w)
		}
	}
}

func (b *bad) dial(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Seeds: b.c.Addrs(), Credentials: filepath.Join(b.c.Credentials(), "client"), Timeout: settleLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// settleLimit is how long two starved nodes may need to agree again: bad input
// that harmed one would harm it for good.
const settleLimit = 30 * time.Second

// settled waits until both nodes serve in one View of two, and fails with what
// they say instead.
func (b *bad) settled(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleLimit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		wrong := ""
		for _, addr := range b.c.Addrs() {
			if s := b.status(t, addr); s.State != "serving" || len(s.Members) != 2 {
				wrong = fmt.Sprintf("%s is %s with %d members (%s), want serving with 2", s.Node, s.State, len(s.Members), s.Problem)
			}
		}
		if wrong == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(wrong)
		case <-tick.C:
		}
	}
}

// goesOn checks that both nodes are in one View and serve reads and writes. A
// machine that is busy with other tests may cost them a View in between, which
// is not what is asked here: they may take settleLimit.
func (b *bad) goesOn(t *testing.T) {
	t.Helper()
	b.settled(t)
	c := b.dial(t)
	for range 64 { // both nodes master some of them
		b.n++
		key := client.Key{Value: record.Int(b.n)}
		if err := c.Put(t.Context(), key, []record.Bin{{Name: "n", Value: record.Int(b.n)}}); err != nil {
			t.Fatal("put:", err)
		}
		r, err := c.Get(t.Context(), key)
		if err != nil {
			t.Fatal("get:", err)
		}
		if v, _ := r.Get("n"); !v.Equal(record.Int(b.n)) {
			t.Fatalf("read %v, wrote %d", v, b.n)
		}
	}
	b.settled(t)
}

func (b *bad) status(t *testing.T, addr string) nodeStatus {
	t.Helper()
	out, code := command(t, settleLimit, program("node"), "status", "--timeout", "10s", "--json", "--addr", addr, "--credentials", b.c.Credentials())
	if code != 0 {
		t.Fatalf("status of %s: exit code %d: %s", addr, code, out)
	}
	s, err := parseStatus(out)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T, network string) string {
	t.Helper()
	c, err := net.ListenPacket(network, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func (b *bad) portInUse(t *testing.T) {
	addr := b.c.Addrs()[0]
	out, code := b.run(t, "--node-id", "7", "--listen", addr, "--credentials", b.c.Credentials())
	says(t, out, code, addr, "in use")
}

func (b *bad) bare(t *testing.T) {
	_, port, err := net.SplitHostPort(freePort(t, "udp"))
	if err != nil {
		t.Fatal(err)
	}
	out, code := b.run(t, "--node-id", "7", "--listen", "0.0.0.0:"+port, "--advertise", "127.0.0.1:"+port)
	says(t, out, code, "--insecure")
}

func (b *bad) typo(t *testing.T) {
	path := filepath.Join(b.dir, "node.yaml")
	if err := os.WriteFile(path, []byte("node-id: 7\nclustername: e2e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := b.run(t, "--config", path)
	says(t, out, code, path+":2:1", "clustername", "cluster-name")
	if code != 2 {
		t.Errorf("exit code %d, want 2: wrong usage", code)
	}
}

func (b *bad) unknownNamespace(t *testing.T) {
	out, code := command(t, 20*time.Second, program("loadgen"), "run", "ycsb-b", "--target", "quic://"+b.c.Addrs()[0], "--namespace", "nowhere",
		"--credentials", filepath.Join(b.c.Credentials(), "client"), "--rate", "10/s", "--duration", "1s", "--out", filepath.Join(b.dir, "run"))
	says(t, out, code, "nowhere")
	err := b.dial(t).Put(t.Context(), client.Key{Value: record.Int(1)}, []record.Bin{{Name: "n", Value: record.Int(1)}}, client.WithNamespace("nowhere"))
	if !errors.Is(err, client.ErrNoNamespace) {
		t.Errorf("Put to an unknown namespace = %v, want %v", err, client.ErrNoNamespace)
	}
}

func (b *bad) tooBig(t *testing.T) {
	c := b.dial(t)
	err := c.Put(t.Context(), client.Key{Value: record.Int(1)}, []record.Bin{{Name: "n", Value: record.Bytes(make([]byte, 1<<20))}})
	if !errors.Is(err, client.ErrTooBig) {
		t.Errorf("Put of more than 1 MiB = %v, want %v", err, client.ErrTooBig)
	}
	err = c.Put(t.Context(), client.Key{Value: record.Int(1)}, []record.Bin{{Name: "sixteen-letters-", Value: record.Int(1)}})
	if err == nil {
		t.Error("a bin name of 16 bytes was accepted")
	}
	t.Log(err)
}

// extra is a further node process that the test watches.
type extra struct {
	cmd  *exec.Cmd
	log  string
	addr string
}

func (b *bad) extra(t *testing.T, args ...string) *extra {
	t.Helper()
	e := &extra{log: filepath.Join(b.dir, fmt.Sprintf("extra-%s.log", strings.ReplaceAll(t.Name(), "/", "-"))), addr: freePort(t, "udp")}
	log, err := os.Create(e.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	e.cmd = exec.Command(program("node"), append([]string{"run", "--listen", e.addr, "--seed", strings.Join(b.c.Addrs(), ","),
		"--cluster-name", "local", "--data-dir", e.log + ".data"}, args...)...)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.cmd.Process.Kill() // it may have ended
		e.cmd.Wait()
	})
	return e
}

// says waits until the node's log has one of the texts.
func (e *extra) says(t *testing.T, any ...string) {
	t.Helper()
	var text []byte
	for began := time.Now(); time.Since(began) < 15*time.Second; {
		text, _ = os.ReadFile(e.log)
		for _, w := range any {
			if strings.Contains(string(text), w) {
				t.Logf("%s", text)
				return
			}
		}
		if err := rig.Sleep(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("the node does not say any of %q:\n%s", any, text)
}

func (b *bad) duplicate(t *testing.T) {
	e := b.extra(t, "--node-id", "2", "--credentials", b.c.Credentials())
	e.says(t, "duplicate node id")
}

func (b *bad) wrongCertificate(t *testing.T) {
	before := b.dropped(t)
	b.extra(t, "--node-id", "7", "--credentials", filepath.Join(b.dir, "other-ca"))
	for began := time.Now(); b.dropped(t) <= before; wait(t, 100*time.Millisecond) {
		if time.Since(began) > 15*time.Second {
			t.Fatal("nothing of a node with a wrong certificate was counted as dropped")
		}
	}
	out, code := command(t, 20*time.Second, program("node"), "status", "--addr", b.c.Addrs()[0], "--credentials", filepath.Join(b.dir, "other-ca"))
	says(t, out, code, "certificate")
}

// garbage sends datagrams of every length: random ones, and ones that begin
// like QUIC's or a pulse's.
func (b *bad) garbage(t *testing.T) {
	before := b.dropped(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, addr := range b.c.Addrs() {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3000 {
			p := make([]byte, 1+n%1500)
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			if n%3 == 1 {
				p[0] = 0xc3 // a long header
			}
			if n%3 == 2 {
				p[0] &= 0x3f // neither
			}
			conn.Write(p) // a full socket buffer drops it: that is fine too
		}
		conn.Close()
	}
	if after := b.dropped(t); after <= before {
		t.Errorf("headroom_dropped_total went from %v to %v: garbage is not counted", before, after)
	}
}

// dropped sums what the nodes say they dropped.
func (b *bad) dropped(t *testing.T) (sum float64) {
	t.Helper()
	for _, addr := range b.https(t) {
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "headroom_dropped_total{") {
				v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += v
				if v > 0 {
					t.Log(line)
				}
			}
		}
	}
	return sum
}

// https reads the nodes' HTTP addresses from what they said at their start.
func (b *bad) https(t *testing.T) (out []string) {
	t.Helper()
	for _, name := range b.c.Names() {
		text, err := os.ReadFile(filepath.Join(b.c.Dir(), name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), "http on ")
		if !ok {
			t.Fatalf("%s does not say its HTTP address", name)
		}
		addr, _, _ := strings.Cut(rest, "\n")
		out = append(out, strings.TrimSpace(addr))
	}
	return out
}
