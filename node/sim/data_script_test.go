package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headroom/node/cluster"
)

// TestDataScripts runs testdata/data/*.txt, in the form of TestScripts, on
// clusters with the data plane and two clients. What they print holds no
// times, so that it changes only with what happens.
//
//	data N [rf=R] [seed=S] [rate=RECORDS/s] [racks=R,R…]   start of every script; all nodes start and all keys are written
//	load WRITES PAUSE                     share of puts, mean pause of each of 16 workers
//	start|crash|pause|resume|leave ID…    leave waits until the node is down
//	split A,B C,D, heal all, slow DELAY ID…
//	run DURATION, settle DURATION         settle: until redundancy is complete
//	handed-over ID DURATION               until a quiesced node masters nothing and no copy is to be made
//	revive ID, kept ID                    give up missing data; what is unavailable, and how many keys are served
//	owners                                masters and copies of each member, and racks that a partition's copies share
//	failed                                operations that failed since the last time
//	stop, check                           the end of every script
func TestDataScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/data/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			in, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := runDataScript(t, string(in))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(in) && goldenCounts {
				t.Errorf("%s prints something else; read the diff after go test ./node/sim -run TestDataScripts -rewrite\ngot:\n%s", f, got)
			}
		})
	}
}

func runDataScript(t *testing.T, in string) string {
	var out strings.Builder
	log := func(format string, args ...any) { fmt.Fprintf(&out, "    "+format+"\n", args...) }
	var s *dataScript
	for line := range strings.SplitSeq(strings.TrimSuffix(in, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if f[0] == "data" {
			s = newDataScript(t, f[1:], log)
			defer s.d.Close()
			continue
		}
		if s == nil {
			t.Fatalf("script must begin with data, not %q", line)
		}
		s.command(f)
		if err := s.d.W.Err; err != nil {
			log("%v", err)
			t.Errorf("%q: %v", line, err)
			break
		}
	}
	return out.String()
}

type dataScript struct {
	t      *testing.T
	d      *Data
	log    func(string, ...any)
	failed int
}

func newDataScript(t *testing.T, args []string, log func(string, ...any)) *dataScript {
	cfg, dc := Config{Nodes: int(number(t, args[0])), Seed: 1, Net: NetConfig{Refuse: true}}, DataConfig{}
	for _, a := range args[1:] {
		name, v, _ := strings.Cut(a, "=")
		switch name {
		case "rf":
			dc.Spaces = []SpaceConfig{{RF: int(number(t, v))}}
		case "seed":
			cfg.Seed = number(t, v)
		case "missing-copies":
			dc.Fresh = v == "fresh"
		case "racks":
			cfg.Racks = racks(t, v)
		case "rate":
			dc.Rate.RecordsPerSecond = float64(number(t, v))
		default:
			t.Fatalf("unknown option %q", a)
		}
	}
	s := &dataScript{t: t, d: NewData(cfg, dc), log: log}
	if err := s.d.Start(); err != nil {
		t.Fatal(err)
	}
	s.d.NewClient(8)
	s.d.NewClient(8)
	_ = s.d.W.Run(200 * time.Millisecond) // an error shows at the next command
	if err := s.d.Fill(s.d.Clients[0]); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *dataScript) command(f []string) {
	d, w := s.d, s.d.W
	switch f[0] {
	case "load":
		writes, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, c := range d.Clients {
			c.Load = Load{Writes: writes, Pause: duration(s.t, f[2])}
		}
	case "leave":
		n := w.Node(cluster.NodeID(number(s.t, f[1])))
		d.Leave(n, 25*time.Second)
		_ = d.Await("the node has left", 26*time.Second, func() bool { return !n.Up })
	case "split":
		d.OneSided = true
		d.split(nodesOf(s.t, w, f[1]), nodesOf(s.t, w, f[2]), time.Hour)
	case "revive":
		d.Revive(w.Node(cluster.NodeID(number(s.t, f[1]))))
	case "kept":
		n := w.Node(cluster.NodeID(number(s.t, f[1])))
		s.log("%d partitions unavailable; %d of %d keys served", d.Unavailable(n), d.Kept(), len(d.keys))
	case "owners":
		s.owners()
	case "handed-over":
		a := w.Node(cluster.NodeID(number(s.t, f[1]))).App.(*app)
		_ = d.Await("hand-over", duration(s.t, f[2]), a.handedOver)
	case "settle":
		_ = d.Await("redundancy", duration(s.t, f[1]), d.Settled)
	case "failed":
		s.log("%d operations failed", d.failed()-s.failed)
		s.failed = d.failed()
	case "stop":
		_ = d.Stop()
	case "check":
		s.check()
	default:
		command(s.t, w, f, func(l string) { s.log("%s", l) })
	}
}

// check judges the end: every error shows in the World.
func (s *dataScript) check() {
	d := s.d
	if d.CheckCopies() == nil && d.CheckLineage() == nil && d.ReadAll(d.Clients[0]) == nil {
		s.log("copies are equal, every key is read; conflicts counted: %v", d.Conflicts() > 0)
	}
	if d.Stats.Acked < 500 || d.Stats.Reads < 500 {
		s.t.Errorf("the script proves nothing: %+v", d.Stats)
	}
}
