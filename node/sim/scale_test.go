package sim

import (
	"flag"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/partition"
	"headroom/node/wire"
)

var figuresFlag = flag.Bool("figures", false, "measure the figures of clustering at full size (make sim-figures, minutes)")

// quantiles of a sample.
func quantiles(ds []time.Duration) (p50, p99, worst time.Duration) {
	slices.Sort(ds)
	return ds[len(ds)/2], ds[len(ds)*99/100], ds[len(ds)-1]
}

// sightings notes when nodes notice others, and lose them.
type sightings struct {
	appeared cluster.Instant // last
	first    cluster.Instant // loss of the victim; zero: none
	last     cluster.Instant
}

func (s *sightings) watch(w *World, victim cluster.NodeID) {
	w.OnEvent = func(_ *Node, e heartbeat.Event) {
		switch {
		case e.Kind == heartbeat.Appeared:
			s.appeared = w.Now()
		case e.Node == victim && e.Kind != heartbeat.Restarted:
			s.last = w.Now()
			if s.first == 0 {
				s.first = w.Now()
			}
		}
	}
}

// agreement is the time from the instant at which it could begin to the last
// commit of the one View that follows.
func agreement(t *testing.T, seed uint64, what string) (detected, agreed time.Duration) {
	w := NewWorld(Config{Nodes: 4, Seed: seed, Net: NetConfig{Latency: time.Millisecond, Refuse: what == "crash, port refuses"}})
	victim := w.Nodes[int(seed)%4]
	var s sightings
	s.watch(w, victim.ID)
	up := func(members int) bool { return w.OneView() && len(w.Nodes[(int(seed)+1)%4].View().Members) == members }
	await := func(members int) {
		if !w.RunUntil(w.Now().Add(5*time.Second), func() bool { return up(members) }) {
			t.Fatalf("%s, seed %d: %v %s", what, seed, w.Err, w.describe())
		}
	}
	for i, n := range w.Nodes {
		if what != "join" || n != victim {
			w.After(time.Duration(i)*time.Duration(w.rand.Int64N(int64(20*time.Millisecond))), n.Start)
		}
	}
	_ = w.Run(100 * time.Millisecond)
	switch what {
	case "formation":
		await(4)
		return 0, w.commitTime(0).Sub(s.appeared)
	case "join":
		await(3)
		_ = w.Run(time.Second + time.Duration(seed%100)*time.Millisecond)
		victim.Start()
		await(4)
		return 0, w.commitTime(0).Sub(s.appeared)
	}
	await(4)
	_ = w.Run(time.Second + time.Duration(w.rand.Int64N(int64(200*time.Millisecond))))
	at := w.Now()
	s = sightings{}
	victim.Crash(what == "crash, silent")
	await(3)
	return s.first.Sub(at), w.commitTime(victim.ID).Sub(s.first)
}

func TestOneViewComesWithin300msOfItsCause(t *testing.T) {
	seeds := uint64(40)
	if *figuresFlag {
		seeds = 1000
	}
	t.Logf("4 nodes, defaults, links of 1 ms, %d seeds; ms of virtual time", seeds)
	for _, what := range []string{"formation", "join", "crash, port refuses", "crash, silent"} {
		var detected, agreed []time.Duration
		for s := uint64(1); s <= seeds; s++ {
			d, a := agreement(t, s, what)
			detected, agreed = append(detected, d), append(agreed, a)
		}
		d50, d99, dmax := quantiles(detected)
		a50, a99, amax := quantiles(agreed)
		t.Logf("%-20s detected p50 %5.0f p99 %5.0f max %5.0f; from then to one View p50 %4.0f p99 %4.0f max %4.0f",
			what, ms(d50), ms(d99), ms(dmax), ms(a50), ms(a99), ms(amax))
		if a99 > 300*time.Millisecond {
			t.Errorf("%s: one View %v after detection at p99, want at most 300 ms", what, a99)
		}
		if d50 > 600*time.Millisecond || d99 > time.Second {
			t.Errorf("%s: detected after %v at p50 and %v at p99, want at most 600 ms and 1 s", what, d50, d99)
		}
	}
}

// cost is what the control plane of n nodes takes.
type cost struct {
	bytes  float64       // sent per node and second
	cpu    time.Duration // per node and second, codecs and simulator included
	view   time.Duration // from a crash whose port refuses to one View
	commit int           // bytes of a commit, one namespace
	table  time.Duration
}

func costOf(t *testing.T, n int) (c cost) {
	w := NewWorld(Config{Nodes: n, Seed: 1, Seeds: 3, Net: NetConfig{Refuse: true}, Unchecked: true})
	for _, m := range w.Nodes {
		m.Start()
	}
	c.agree(t, w)
	_ = w.Run(500 * time.Millisecond)
	const steady = 2
	before, began := w.Net.Bytes, processTime()
	if err := w.Run(steady * time.Second); err != nil {
		t.Fatal(err)
	}
	c.cpu = (processTime() - began) / time.Duration(steady*n)
	c.bytes = float64(w.Net.Bytes-before) / float64(steady*n)
	at := w.Now()
	w.Nodes[n/2].Crash(false)
	c.agree(t, w)
	c.view = w.commitTime(w.Nodes[n/2].ID).Sub(at)
	c.commit, c.table = commitAfterACrash(n)
	return c
}

// agree waits for one View, which is looked for each millisecond.
func (c *cost) agree(t *testing.T, w *World) {
	for range 5000 {
		if _ = w.Run(time.Millisecond); w.OneView() {
			return
		}
	}
	t.Fatalf("%d nodes: %v %s", len(w.Nodes), w.Err, w.describe())
}

// processTime is the CPU time of this process: other work on the machine does
// not count.
func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// commitAfterACrash encodes what the survivors are sent, if everything had
// settled before; and how long the table takes, the best of three.
func commitAfterACrash(n int) (size int, table time.Duration) {
	old := &cluster.View{Key: cluster.ViewKey{Counter: 1 << 20, Proposer: cluster.NodeID(n), Inc: 1 << 20}}
	for i := n; i >= 1; i-- {
		old.Members = append(old.Members, cluster.Member{Node: cluster.NodeID(i), Inc: 1 << 20, Addr: fmt.Sprintf("192.168.100.%d:4300", i)})
	}
	var tab *partition.Table
	table = time.Hour
	for range 3 {
		began := time.Now()
		tab = partition.NewTable(old, 2)
		table = min(table, time.Since(began))
	}
	m := &wire.Commit{View: cluster.View{Key: cluster.ViewKey{Counter: 1<<20 + 1, Proposer: old.Key.Proposer, Inc: 1 << 20}}}
	for i, q := range old.Members {
		if i == n/2 {
			continue
		}
		m.View.Members = append(m.View.Members, q)
		r := partition.MemberReport{Namespaces: []partition.NamespaceReport{{Name: "default", RF: 2, Report: settled(tab, old, uint16(i))}}}
		for k := range uint64(partition.MaxHistory) {
			r.History = append(r.History, cluster.ViewKey{Counter: 1<<20 - k, Proposer: old.Key.Proposer, Inc: 1 << 20})
		}
		m.Payloads = append(m.Payloads, r.Append(nil))
	}
	return len(m.Append(nil)), table
}

// settled is what a member holds once all migrations of a View have ended.
func settled(tab *partition.Table, v *cluster.View, member uint16) *partition.Report {
	r := &partition.Report{}
	for pid := range cluster.Partitions {
		r.Established[pid] = v.Key
		if slices.Contains(tab.Replicas(pid), member) {
			r.Copies[pid] = partition.Copy{State: partition.Full, Key: v.Key}
		}
	}
	return r
}

func TestControlPlaneCostGrowsGently(t *testing.T) {
	sizes := []int{4, 8, 16}
	if *figuresFlag {
		sizes = []int{4, 8, 16, 32, 64, 128}
	}
	var first cost
	t.Log(" nodes  bytes/s sent  per peer  CPU/s      crash to one View  commit    table")
	for i, n := range sizes {
		c := costOf(t, n)
		if i == 0 {
			first = c
		}
		perPeer := c.bytes / float64(n-1)
		t.Logf("%6d  %12.0f  %8.0f  %8.2f%%  %14.0f ms  %6.1f KB  %5.1f ms", n, c.bytes, perPeer,
			100*c.cpu.Seconds(), ms(c.view), float64(c.commit)/1e3, ms(c.table))
		if limit := first.bytes / 3 * 1.1; perPeer > limit {
			t.Errorf("%d nodes: %.0f bytes/s to each other node, %.0f with 4: that grows faster than linearly", n, perPeer, first.bytes/3)
		}
	}
	size, table := commitAfterACrash(128)
	t.Logf("128 nodes: a commit after one crash is %d bytes for each member and namespace; the table takes %.1f ms", size, ms(table))
	if size >= 1<<20 {
		t.Errorf("a commit of 128 nodes is %d bytes, want below 1 MB", size)
	}
	if *figuresFlag && table > 20*time.Millisecond {
		t.Errorf("the table for 128 nodes takes %v, want at most 20 ms", table)
	}
}

func TestPlacementIsLevelAndMovesLittle(t *testing.T) {
	sizes := []int{2, 3, 5, 8, 13}
	if *figuresFlag {
		sizes = nil
		for n := 1; n <= 64; n++ {
			sizes = append(sizes, n)
		}
	}
	masters, copies, views := 0, 0, 0
	for _, n := range sizes {
		for _, racks := range []int{n, 1, 2, 3, 4, 8} {
			for rf := 1; rf <= 3 && n%racks == 0 && racks <= n; rf++ {
				b := partition.NewTable(viewOf(n, racks), rf).Balance()
				masters, copies, views = max(masters, b.MasterSpread), max(copies, b.CopySpread), views+1
			}
		}
	}
	t.Logf("%d Views of up to %d nodes in equal racks, 1 to 3 copies: masters differ by at most %d, copies by at most %d", views, sizes[len(sizes)-1], masters, copies)
	if masters > 1 || copies > 2 {
		t.Errorf("masters differ by %d, copies by %d; want at most 1 and 2", masters, copies)
	}
	unequalRacks(t)
	t.Log(" nodes  join: copies moved  ideal  more    leave: copies moved  ideal  more")
	for _, n := range []int{3, 4, 8, 16, 32, 64} {
		small, large := partition.NewTable(viewOf(n, n), 2), partition.NewTable(viewOf(n+1, n+1), 2)
		in, out := partition.Moves(small, large), partition.Moves(large, small)
		t.Logf("%6d  %18d  %5d  %3.0f %%  %20d  %5d  %3.0f %%", n, in.Copies, in.Least, more(in), out.Copies, out.Least, more(out))
		if extra := max(in.Copies-in.Least, out.Copies-out.Least); extra > 2*cluster.Partitions*3/100 {
			t.Errorf("%d nodes: a join moves %d copies, a leave %d; the ideal is %d and %d", n, in.Copies, out.Copies, in.Least, out.Least)
		}
	}
}

// unequalRacks prints how even tables are where racks differ, beside what the
// rule of distinct racks leaves possible: a rack whose nodes are too few takes
// one copy of every partition, spread over them; the others share the rest.
func unequalRacks(t *testing.T) {
	t.Log(" racks        copies a node, 2 copies     the rule allows at best")
	for _, sizes := range [][]int{{1, 3}, {2, 3}, {1, 2, 3}, {2, 2, 4}, {1, 8}, {4, 6, 6}, {1, 1, 6}} {
		v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: 1, Inc: 1}}
		for rack, n := range sizes {
			for range n {
				v.Members = append(v.Members, cluster.Member{Inc: 1, Rack: cluster.RackID(rack + 1)})
			}
		}
		for i := range v.Members {
			v.Members[i].Node = cluster.NodeID(len(v.Members) - i)
		}
		b := partition.NewTable(v, 2).Balance()
		least, most := evenest(sizes, 2*cluster.Partitions)
		t.Logf("%-12v  %6d to %6d  %22.1f to %.1f", sizes, slices.Min(b.Copies), slices.Max(b.Copies), least, most)
		if b.MasterSpread > 1 || float64(slices.Max(b.Copies)) > most+rackSlack || float64(slices.Min(b.Copies)) < least-rackSlack {
			t.Errorf("racks of %v: masters differ by %d, copies are %v; the rule allows %.1f to %.1f", sizes, b.MasterSpread, b.Copies, least, most)
		}
	}
}

// rackSlack is how many copies a node may have beyond what unequal racks allow
// at best: moves that keep the rule find no way to the last ones. 4 of 1365.
const rackSlack = 4

// evenest is how many of the copies the nodes of unequal racks hold at best, if
// no rack may hold more than half of them.
func evenest(sizes []int, copies int) (least, most float64) {
	nodes, largest := 0, slices.Max(sizes)
	for _, n := range sizes {
		nodes += n
	}
	each := float64(copies) / float64(nodes)
	if 2*largest <= nodes {
		return each, each
	}
	half := float64(copies) / 2 // the largest rack holds one copy of each partition, the others the other
	return half / float64(largest), half / float64(nodes-largest)
}

func more(m partition.Movement) float64 { return 100 * float64(m.Copies-m.Least) / float64(m.Least) }

// viewOf has n nodes dealt to racks; as many racks as nodes means none named.
func viewOf(n, racks int) *cluster.View {
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: cluster.NodeID(n), Inc: 1}}
	for i := n; i >= 1; i-- {
		m := cluster.Member{Node: cluster.NodeID(i), Inc: 1}
		if racks < n {
			m.Rack = cluster.RackID(i%racks + 1)
		}
		v.Members = append(v.Members, m)
	}
	return v
}
