package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headroom/node/cluster"
)

// goldenCounts is false while a bug is planted: that something else is printed
// does not show that a rule is broken.
var goldenCounts = true

var rewrite = flag.Bool("rewrite", false, "write what the scripts print into testdata")

// TestScripts runs testdata/*.txt. A line that is not indented is a command
// (or a comment, or empty); the indented lines after it are what it printed.
//
//	cluster N [refuse] [multicast] [seed=S] [racks=R,R…]   start of every script
//	start|crash|lose|pause|resume|leave|quiesce|unquiesce all|ID…   lose: with its host
//	twin ID   a second process that was given that id starts on a host of its own
//	slow DELAY ID…   they handle what they receive up to so much later, until the end or slow 0s
//	cut|reject|heal A B, oneway A B, split A,B C,D, heal all
//	run DURATION, until-one-view DURATION, show
//	await prepare|promise|accept|accepted|commit|migrate   run until one has been handled
//	links ID…, rounds, freeze, leases ID…   see ask
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			in, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(in))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(in) && goldenCounts {
				t.Errorf("%s prints something else; read the diff after go test ./node/sim -run TestScripts -rewrite\ngot:\n%s", f, got)
			}
		})
	}
}

func runScript(t *testing.T, in string) string {
	var out strings.Builder
	log := func(l string) { fmt.Fprintf(&out, "    %s\n", l) }
	var w *World
	for line := range strings.SplitSeq(strings.TrimSuffix(in, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if f[0] == "cluster" {
			w = scriptWorld(t, f[1:], log)
			continue
		}
		if w == nil {
			t.Fatalf("script must begin with cluster, not %q", line)
		}
		command(t, w, f, log)
		if w.Err != nil {
			log(w.Err.Error())
			t.Errorf("%q: %v", line, w.Err)
			break
		}
	}
	return out.String()
}

func scriptWorld(t *testing.T, args []string, log func(string)) *World {
	cfg := Config{Nodes: int(number(t, args[0])), Seed: 1, Log: log}
	for _, a := range args[1:] {
		if s, ok := strings.CutPrefix(a, "seed="); ok {
			cfg.Seed = number(t, s)
		}
		if s, ok := strings.CutPrefix(a, "racks="); ok {
			cfg.Racks = racks(t, s)
		}
		cfg.Net.Refuse = cfg.Net.Refuse || a == "refuse"
		if a == "multicast" { // alone: each node knows one seed, itself
			cfg.Multicast, cfg.NoSeeds = true, true
		}
	}
	return NewWorld(cfg)
}

func command(t *testing.T, w *World, f []string, log func(string)) {
	each := func(do func(n *Node)) {
		for _, n := range nodesOf(t, w, strings.Join(f[1:], ",")) {
			do(n)
		}
	}
	switch f[0] {
	case "start":
		each((*Node).Start)
	case "crash":
		each(func(n *Node) { n.Crash(false) })
	case "lose":
		each(func(n *Node) { n.Crash(true) })
	case "pause":
		each((*Node).Pause)
	case "resume":
		each((*Node).Resume)
	case "slow":
		for _, n := range nodesOf(t, w, strings.Join(f[2:], ",")) {
			n.slowBy = duration(t, f[1])
		}
	case "leave":
		each(func(n *Node) { n.Leave(500 * time.Millisecond) })
	case "twin":
		each(func(n *Node) { w.Twin(n.ID).Start() })
	case "quiesce":
		each((*Node).Quiesce)
	case "unquiesce":
		each((*Node).Unquiesce)
	case "cut", "reject", "split", "oneway", "heal":
		links(t, w, f)
	case "run":
		_ = w.Run(duration(t, f[1])) // an error shows in w.Err
	case "await":
		await(t, w, f[1])
	case "until-one-view":
		from := w.Now()
		if !w.RunUntil(from.Add(duration(t, f[1])), w.OneView) {
			t.Errorf("no one view: %s", w.describe())
		}
		log(fmt.Sprintf("one view after %.1f ms", float64(w.Now().Sub(from))/1e6))
	case "show":
		for _, n := range w.Nodes {
			if n.Up {
				log(fmt.Sprintf("node%d holds %v, serves %v", n.ID, n.View(), n.Serves()))
			}
		}
	default:
		if !ask(t, w, f, log) {
			t.Fatalf("unknown command %q", f[0])
		}
	}
}

func links(t *testing.T, w *World, f []string) {
	if f[0] == "heal" && f[1] == "all" {
		w.Net.HealAll()
		return
	}
	for _, a := range nodesOf(t, w, f[1]) {
		for _, b := range nodesOf(t, w, f[2]) {
			change := w.Net.Cut
			switch f[0] {
			case "heal":
				change = w.Net.Heal
			case "reject":
				change = w.Net.Reject
			}
			change(a.ID, b.ID)
			if f[0] != "oneway" {
				change(b.ID, a.ID)
			}
		}
	}
}

func nodesOf(t *testing.T, w *World, list string) []*Node {
	if list == "all" {
		return w.Nodes
	}
	var ns []*Node
	for s := range strings.SplitSeq(list, ",") {
		ns = append(ns, w.Node(cluster.NodeID(number(t, s))))
	}
	return ns
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// racks reads 1,1,2: the rack of each node.
func racks(t *testing.T, s string) (list []cluster.RackID) {
	for v := range strings.SplitSeq(s, ",") {
		list = append(list, cluster.RackID(number(t, v)))
	}
	return list
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
