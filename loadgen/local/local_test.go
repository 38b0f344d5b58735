package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headroom/loadgen/result"
)

// TestMain lets the test binary play headroom-node: a process that serves
// /readyz and /status. Its View holds every fake node whose process lives.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		fakeNode(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

func fakeNode(args []string) {
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		if k, v, ok := strings.Cut(args[i], "="); ok {
			flags[k] = v
			continue
		}
		i++
		flags[args[i-1]] = args[i]
	}
	if flags["--commit"] == "never" {
		fmt.Fprintln(os.Stderr, "commit: want all or master")
		os.Exit(2)
	}
	dir := filepath.Dir(flags["--data-dir"])
	mine := filepath.Join(dir, "pid-"+flags["--node-id"])
	os.WriteFile(mine, []byte(strconv.Itoa(os.Getpid())), 0o600)
	var mu sync.Mutex
	key, committed := "", int64(0)
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		files, _ := filepath.Glob(filepath.Join(dir, "pid-*"))
		s := map[string]any{"format": "headroom-status/1", "state": "serving"}
		var members []map[string]any
		view := "v"
		for _, f := range files {
			text, _ := os.ReadFile(f)
			if pid, _ := strconv.Atoi(string(text)); pid > 0 && syscall.Kill(pid, 0) == nil && !zombie(pid) {
				members = append(members, map[string]any{"node": "node" + strings.TrimPrefix(filepath.Base(f), "pid-"), "up": true})
				view += string(text) + "."
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if view != key {
			key, committed = view, time.Now().UnixMilli()
		}
		s["members"], s["view_key"], s["view_committed_unix_ms"] = members, key, committed
		s["namespaces"] = []map[string]any{{"name": "default", "migrations": map[string]any{"partitions_left": 0}}}
		json.NewEncoder(w).Encode(s)
	})
	fmt.Println(http.ListenAndServe(flags["--http"], nil))
}

func zombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(text), ") Z ")
}

func startFake(t *testing.T, nodes int) *Cluster {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(context.Background(), Config{Nodes: nodes, Binary: self, Flags: map[string]string{"commit": "all"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

type seen struct {
	mu      sync.Mutex
	samples int
	events  []Event
}

func (s *seen) Sample(Sample) { s.mu.Lock(); s.samples++; s.mu.Unlock() }
func (s *seen) Event(e Event) { s.mu.Lock(); s.events = append(s.events, e); s.mu.Unlock() }

// settled waits until the watcher has nothing open, 10 s at most.
func settled(t *testing.T, w *Watcher) []Observed {
	t.Helper()
	limit := time.After(10 * time.Second)
	for tick := time.Tick(20 * time.Millisecond); w.Open() > 0; {
		select {
		case <-tick:
		case <-limit:
			t.Fatalf("not settled: %+v", w.Faults())
		}
	}
	return w.Faults()
}

// looked waits until o has n events, 10 s at most.
func looked(t *testing.T, o *seen, n int) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); ; {
		o.mu.Lock()
		events := len(o.events)
		o.mu.Unlock()
		if events >= n {
			return
		}
		select {
		case <-tick:
		case <-limit:
			t.Fatalf("%d events, want %d", events, n)
		}
	}
}

// A restart before the death was noticed: no View ever lacks the node.
func TestAKillFollowedAtOnceByARestartEnds(t *testing.T) {
	c := startFake(t, 3)
	o := &seen{}
	w := c.Watch(o)
	defer w.Close()
	looked(t, o, 3)
	for _, a := range []Action{Kill, Restart} {
		hit, err := c.Inject(context.Background(), Fault{Action: a, Node: "node2"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.Faulted(a, hit, time.Now())
	}
	for _, f := range settled(t, w) {
		if f.Restored <= 0 {
			t.Errorf("%s: never restored", f.Action)
		}
	}
}

func TestAKillAndARestartAreObserved(t *testing.T) {
	c := startFake(t, 3)
	o := &seen{}
	w := c.Watch(o)
	defer w.Close()
	looked(t, o, 3) // before the kill: a node that is never seen up has no event
	kill, err := ParseFault("kill node2 @0s")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	hit, err := c.Inject(context.Background(), kill, nil)
	if err != nil || len(hit) != 1 || hit[0] != "node2" {
		t.Fatalf("kill hit %v, %v", hit, err)
	}
	w.Faulted(Kill, hit, at)
	settled(t, w)
	at = time.Now()
	if hit, err = c.Inject(context.Background(), Fault{Action: Restart, Node: "all"}, nil); err != nil || len(hit) != 1 {
		t.Fatalf("start all hit %v, %v, want the dead one", hit, err)
	}
	w.Faulted(Restart, hit, at)
	for _, f := range settled(t, w) {
		if f.OneView <= 0 || f.OneView > 5*time.Second || f.Restored <= 0 {
			t.Errorf("%s %v: one view after %v, restored after %v", f.Action, f.Nodes, f.OneView, f.Restored)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	views := 0
	for _, e := range o.events {
		if e.Kind == result.EventView {
			views++
		}
	}
	if o.samples < 9 || views < 6 {
		t.Errorf("%d samples and %d view events", o.samples, views)
	}
}

func TestCloseLeavesNoProcessAndNoFiles(t *testing.T) {
	c := startFake(t, 2)
	if _, err := c.Inject(context.Background(), Fault{Action: Stop, Node: "node1"}, nil); err != nil {
		t.Fatal(err)
	}
	pids := []int{c.nodes[0].pid(), c.nodes[1].pid()}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d lives on", pid)
		}
	}
	if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s still exists: %v", c.Dir(), err)
	}
}

func TestANodeThatEndsAtOnceShowsItsLog(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(context.Background(), Config{Nodes: 1, Binary: self, Flags: map[string]string{"commit": "never"}})
	if err == nil || !strings.Contains(err.Error(), "want all or master") {
		t.Errorf("Start = %v, want the node's own words", err)
	}
}

func TestFaultsParse(t *testing.T) {
	f := func(in string, want Fault) {
		t.Helper()
		if got, err := ParseFault(in); err != nil || got != want {
			t.Errorf("ParseFault(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	f("kill node3 @10s", Fault{Kill, "node3", 10 * time.Second})
	f("stop random@1m", Fault{Stop, "random", time.Minute})
	f("start all @ 500ms", Fault{Restart, "all", 500 * time.Millisecond})
	for in, want := range map[string]string{"kil node3 @10s": `did you mean "kill"`, "kill node0 @1s": "node1", "kill node3": "want ACTION",
		"kill node3 @10": "number with a unit", "": "want ACTION", "kill 3 @1s": "node1"} {
		if _, err := ParseFault(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseFault(%q) = %v, want %q", in, err, want)
		}
	}
	if err := (Fault{Kill, "node5", time.Second}).Check(4, time.Minute); err == nil {
		t.Error("node5 of 4 passed")
	}
	if err := (Fault{Kill, "node4", time.Minute}).Check(4, time.Minute); err == nil {
		t.Error("a fault after the end passed")
	}
}

// twoRemotes answers for two nodes; the first is known by a second address.
type twoRemotes struct{}

func (twoRemotes) Ask(_ context.Context, addr string) ([]byte, error) {
	name := map[string]string{"seed:1": "node1", "a:1": "node1", "b:1": "node2"}[addr]
	if name == "" {
		return nil, fmt.Errorf("nobody at %s", addr)
	}
	return []byte(`{"format":"headroom-status/1","node":"` + name + `","view_key":"7.node2.1","state":"serving",
"members":[{"node":"node1","addr":"a:1","up":true},{"node":"node2","addr":"b:1","up":true}],
"namespaces":[{"name":"default","masters":{"node1":2048,"node2":2048},"copies":{"node1":4096,"node2":4096},"migrations":{}}],
"devices":[{"path":"/dev/nvme0n1","class":"nvme"}]}`), nil
}

// heard keeps what an observer is told.
type heard struct {
	mu      sync.Mutex
	samples map[string]int
	views   int
	both    chan struct{}
}

func (h *heard) Sample(s Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.samples[s.Node]++; len(h.samples) == 2 && h.samples[s.Node] == 1 {
		close(h.both)
	}
}

func (h *heard) Event(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Kind == result.EventView {
		h.views++
	}
}

func TestARemoteClusterIsWatchedFromOneSeed(t *testing.T) {
	h := &heard{samples: map[string]int{}, both: make(chan struct{})}
	w := WatchRemote(twoRemotes{}, []string{"seed:1", "gone:1"}, 0, h)
	select {
	case <-h.both:
	case <-time.After(5 * time.Second):
		t.Fatal("the second node was not found")
	}
	w.Close()
	raw := w.Raw()
	if len(h.samples) != 2 || h.views != 2 || len(raw) != 2 || !strings.Contains(string(raw["node2"]), "nvme0n1") {
		t.Errorf("samples %v, %d views, raw answers of %d nodes", h.samples, h.views, len(raw))
	}
}
