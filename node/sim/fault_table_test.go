package sim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
)

// The table of faults in ARCHITECTURE.md is printed by TestFaultTable, never
// written by hand.
const (
	faultFile  = "../../ARCHITECTURE.md"
	faultBegin = "<!-- faults: go test ./node/sim -run TestFaultTable -rewrite -->\n"
	faultEnd   = "<!-- end of faults -->\n"
	faultSeeds = 20
)

// faultRow is one fault that befalls a quiet cluster of five, of which node 3
// is the victim.
type faultRow struct {
	name  string
	net   NetConfig
	multi bool // with a multicast group
	do    func(w *World)
	// view is how many members the View has that is waited for; zero: the
	// fault must not cost a View.
	view int
	// back ends the fault 5 s later, after which one View of all is awaited.
	back func(w *World)
}

const victim = cluster.NodeID(3)

// healed undoes cuts; cuts that take two directions do both.
func healed(w *World)                           { w.Net.HealAll() }
func started(w *World)                          { w.Node(victim).Start() }
func (w *World) cut(a cluster.NodeID, b ...int) { w.oneway(a, b...); w.onewayTo(a, b...) }
func (w *World) oneway(a cluster.NodeID, to ...int) {
	for _, b := range to {
		w.Net.Cut(a, cluster.NodeID(b))
	}
}
func (w *World) onewayTo(a cluster.NodeID, from ...int) {
	for _, b := range from {
		w.Net.Cut(cluster.NodeID(b), a)
	}
}

var faultRows = []faultRow{
	{name: "process killed, port refuses", net: NetConfig{Refuse: true}, view: 4, do: func(w *World) { w.Node(victim).Crash(false) }, back: started},
	{name: "two processes killed at once", net: NetConfig{Refuse: true}, view: 3, do: func(w *World) { w.Node(victim).Crash(false); w.Node(2).Crash(false) },
		back: func(w *World) { started(w); w.Node(2).Start() }},
	{name: "machine lost, silence", view: 4, do: func(w *World) { w.Node(victim).Crash(true) }, back: started},
	{name: "rack of two lost, silence", view: 3, do: func(w *World) { w.Node(victim).Crash(true); w.Node(2).Crash(true) },
		back: func(w *World) { started(w); w.Node(2).Start() }},
	{name: "stopped by SIGTERM", net: NetConfig{Refuse: true}, view: 4, do: func(w *World) { w.Node(victim).Leave(100 * time.Millisecond) }, back: started},
	{name: "killed and started again within 20 ms", net: NetConfig{Refuse: true}, view: 5, do: func(w *World) {
		w.Node(victim).Crash(false)
		w.After(20*time.Millisecond, w.Node(victim).Start)
	}},
	{name: "paused for 300 ms", do: func(w *World) { pauseFor(w, 300*time.Millisecond) }},
	{name: "paused for 5 s", view: 4, do: func(w *World) { w.Node(victim).Pause() }, back: func(w *World) { w.Node(victim).Resume() }},
	{name: "link 3–5 broken", view: 4, do: func(w *World) { w.cut(victim, 5) }, back: healed},
	{name: "link 3–5 broken, multicast works", multi: true, view: 4, do: func(w *World) { w.cut(victim, 5) }, back: healed},
	{name: "5 no longer hears 3", view: 4, do: func(w *World) { w.oneway(victim, 5) }, back: healed},
	{name: "3 no longer hears 5", view: 4, do: func(w *World) { w.onewayTo(victim, 5) }, back: healed},
	{name: "3 hears all, nobody hears 3", view: 4, do: func(w *World) { w.oneway(victim, 1, 2, 4, 5) }, back: healed},
	{name: "all hear 3, 3 hears nobody", view: 4, do: func(w *World) { w.onewayTo(victim, 1, 2, 4, 5) }, back: healed},
	{name: "firewall rejects link 3–5", net: NetConfig{Refuse: true}, view: 4, do: func(w *World) {
		w.Net.Reject(victim, 5)
		w.Net.Reject(5, victim)
	}, back: healed},
	{name: "bridge: 1,2 and 4,5 hear 3 only", view: 3, do: func(w *World) { w.cut(1, 4, 5); w.cut(2, 4, 5) }, back: healed},
	{name: "split 1,2 from 3,4,5", view: 3, do: func(w *World) { w.cut(1, 3, 4, 5); w.cut(2, 3, 4, 5) }, back: healed},
	{name: "10 % loss, 20 ms jitter", net: NetConfig{Loss: 0.1, Spike: 1, SpikeMax: 20 * time.Millisecond}, do: func(*World) {}},
}

func pauseFor(w *World, d time.Duration) {
	w.Node(victim).Pause()
	w.After(d, w.Node(victim).Resume)
}

// faultResult is what one seed of a row gave.
type faultResult struct {
	others, self []string // what was believed, in order of first appearance
	view, back   time.Duration
	freeze       time.Duration
	views        int
}

// faultOnce lets the fault happen in one seed.
func faultOnce(t *testing.T, row *faultRow, seed uint64) (r faultResult) {
	net := row.net
	net.Latency = time.Millisecond
	w := form(t, Config{Nodes: 5, Seed: seed, Net: net, Multicast: row.multi})
	_ = w.Run(time.Second + time.Duration(w.rand.Int64N(int64(200*time.Millisecond))))
	for _, n := range w.Nodes {
		n.Froze = 0
	}
	w.OnEvent = func(n *Node, e heartbeat.Event) {
		list := &r.others
		if n.ID == victim {
			list = &r.self
		}
		if word := e.Kind.String(); !slices.Contains(*list, word) {
			*list = append(*list, word)
		}
	}
	at, before := w.Now(), len(w.check.commits)
	row.do(w)
	if row.view == 0 {
		_ = w.Run(10 * time.Second)
		r.view = -1
	} else if !w.RunUntil(at.Add(10*time.Second), func() bool { return w.agreed(at, row.view) }) {
		t.Fatalf("%s, seed %d: %v %s", row.name, seed, w.Err, w.describe())
	} else {
		r.view = w.Now().Sub(at)
		_ = w.RunUntil(at.Add(5*time.Second), func() bool { return false })
	}
	for _, n := range w.Nodes {
		r.freeze = max(r.freeze, n.Froze)
	}
	r.views = len(w.check.commits) - before
	w.OnEvent = nil
	if row.back == nil {
		return r
	}
	at = w.Now()
	row.back(w)
	if !w.RunUntil(at.Add(10*time.Second), func() bool { return w.OneView() && len(w.Node(5).View().Members) == 5 }) {
		t.Fatalf("%s, seed %d, back: %v %s", row.name, seed, w.Err, w.describe())
	}
	r.back = w.Now().Sub(at)
	return r
}

// agreed reports whether a View of that many members, committed after at, is
// held by all of them.
func (w *World) agreed(at cluster.Instant, members int) bool {
	for _, n := range w.Nodes {
		v := n.View()
		if v == nil || len(v.Members) != members || n.Commits[len(n.Commits)-1].At <= at {
			continue
		}
		holders := 0
		for _, m := range v.Members {
			if o := w.Node(m.Node).View(); o != nil && o.Key == v.Key {
				holders++
			}
		}
		if holders == members {
			return true
		}
	}
	return false
}

func faultTable(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| fault (five nodes, node 3 first) | others believe | node 3 believes | to one View, p50 / worst | Views | frozen, worst | undone: to one View of five |\n|---|---|---|---|---|---|---|\n")
	for i := range faultRows {
		row := &faultRows[i]
		var sum faultResult
		var view, back []time.Duration
		for s := uint64(1); s <= faultSeeds; s++ {
			r := faultOnce(t, row, s)
			sum.others, sum.self = union(sum.others, r.others), union(sum.self, r.self)
			view, back = append(view, r.view), append(back, r.back)
			sum.views, sum.freeze = max(sum.views, r.views), max(sum.freeze, r.freeze)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %s | %s |\n", row.name, words(sum.others), words(sum.self), spread(view), sum.views, upTo10ms(sum.freeze), spread(back))
	}
	return b.String()
}

func union(a, b []string) []string {
	for _, w := range b {
		if !slices.Contains(a, w) {
			a = append(a, w)
		}
	}
	return a
}

func words(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// spread gives median and worst; a negative median means that no View was
// needed.
func spread(ds []time.Duration) string {
	p50, _, worst := quantiles(ds)
	switch {
	case worst < 0:
		return "no View"
	case worst == 0:
		return "–"
	}
	return upTo10ms(p50) + " / " + upTo10ms(worst)
}

// upTo10ms rounds up, so that the table changes only when something did.
func upTo10ms(d time.Duration) string {
	const step = 10 * time.Millisecond
	return fmt.Sprintf("%d ms", (d+step-1)/step*10)
}

// TestFaultTable lets every fault happen in 20 seeds and compares what came of
// it with the table in ARCHITECTURE.md; with -rewrite it writes that table.
func TestFaultTable(t *testing.T) {
	text, err := os.ReadFile(faultFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), faultBegin)
	old, after, ended := strings.Cut(rest, faultEnd)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table, between %q and %q", faultFile, faultBegin, faultEnd)
	}
	got := faultTable(t)
	switch {
	case got == old:
	case *rewrite:
		if err := os.WriteFile(faultFile, []byte(before+faultBegin+got+faultEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of faults in ARCHITECTURE.md is out of date; read the diff after go test ./node/sim -run TestFaultTable -rewrite\ngot:\n%s", got)
	}
}
