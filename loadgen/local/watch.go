package local

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"headroom/loadgen/result"
)

const (
	// slowPoll is how often a node is asked when nothing is going on, fastPoll
	// after a fault until redundancy is back, at most for fastFor.
	slowPoll = time.Second
	fastPoll = 100 * time.Millisecond
	fastFor  = 2 * time.Minute
	// calm is how many answers in a row of each node must say "nothing left to
	// migrate" before redundancy counts as restored (from the first of them): a
	// node that has just committed a View may not have planned its migrations.
	calm = 3
)

// Sample is one look at a node.
type Sample struct {
	At   time.Time
	Node string
	result.NodeSample
	Devices []result.DeviceSample // since the look before, their TSec unset
}

// Event is a change that the watcher saw; its kind is EventView or
// EventMigration.
type Event struct {
	At   time.Time
	Kind result.EventKind
	Node string
	What string
}

// Observer takes what the watcher sees; it is called by several goroutines, not
// at the same time.
type Observer interface {
	Sample(Sample)
	Event(Event)
}

// Observed is a fault and what followed. Zero durations were not seen.
type Observed struct {
	Action   Action
	Nodes    []string
	At       time.Time
	OneView  time.Duration // to the last survivor's commit of the View that follows the fault
	Restored time.Duration // to the first moment without migrations in that View or a later one

	harmless bool // it takes no copy away: there is nothing to wait for
}

// Watcher polls the status of every node of a cluster.
type Watcher struct {
	c *Cluster
	o Observer
	// linkSpeed stands for what nodes say of their interfaces; zero: it does not.
	linkSpeed int64
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	kick      []chan struct{} // per node: poll now

	mu        sync.Mutex // guards all below; the observer is called under it
	latest    map[string]*look
	faults    []*Observed
	conflicts conflicts
}

// look is what is known of a node.
type look struct {
	asked   time.Time // when the last question was sent
	status  *Status   // its answer, nil when there was none
	last    *Status   // the last answer that there was, to a question at lastAt
	lastAt  time.Time
	raw     []byte    // the last answer as it came
	calm    int       // answers in a row without migrations
	calmAt  time.Time // the first of them
	viewKey string    // last seen, to tell changes
	left    int64
	cpu     float64 // seconds, at cpuAt
	cpuAt   time.Time
	cpuPct  float64 // then, negative when unknown
	pid     int
	devices deviceLook
	use     deviceUse
}

// Watch starts polling; Close ends it.
func (c *Cluster) Watch(o Observer) *Watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{c: c, o: o, cancel: cancel, latest: map[string]*look{}}
	for _, n := range c.nodes {
		kick := make(chan struct{}, 1)
		w.kick = append(w.kick, kick)
		w.latest[n.name] = &look{}
		w.wg.Go(func() { w.poll(ctx, n, kick) })
	}
	return w
}

// Close ends the polling and returns when it has ended.
func (w *Watcher) Close() {
	w.cancel()
	w.wg.Wait()
}

// Faulted tells the watcher of an injected fault, so that it looks closely.
func (w *Watcher) Faulted(a Action, nodes []string, at time.Time) *Observed {
	f := &Observed{Action: a, Nodes: nodes, At: at, harmless: a == Fill || a == Empty || a == CorruptDevice}
	w.mu.Lock()
	w.faults = append(w.faults, f)
	for _, l := range w.latest {
		l.calm = 0
	}
	w.mu.Unlock()
	for _, k := range w.kick {
		select {
		case k <- struct{}{}:
		default:
		}
	}
	return f
}

// Faults returns a copy of what is known of the faults so far.
func (w *Watcher) Faults() []Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Observed
	for _, f := range w.faults {
		out = append(out, *f)
	}
	return out
}

// Open counts the faults after which redundancy is not restored yet.
func (w *Watcher) Open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	open := 0
	for _, f := range w.faults {
		if f.Restored == 0 && !f.harmless {
			open++
		}
	}
	return open
}

func (w *Watcher) interval(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		if f.Restored == 0 && !f.harmless && now.Sub(f.At) < fastFor {
			return fastPoll
		}
	}
	return slowPoll
}

// poll asks one node until ctx ends.
func (w *Watcher) poll(ctx context.Context, n *node, kick <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-kick:
		case <-timer.C:
		}
		asked := time.Now()
		var s *Status
		if n.running() && !n.isStopped() {
			s, _ = FetchStatus(ctx, n.http) // no answer is an answer: the node is not up
		}
		if ctx.Err() != nil {
			return
		}
		w.saw(n, asked, s)
		timer.Reset(w.interval(time.Now()))
	}
}

// saw takes in one answer, or its absence.
func (w *Watcher) saw(n *node, asked time.Time, s *Status) {
	pid := n.pid()
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.latest[n.name]
	l.asked, l.status = asked, s
	out := Sample{At: asked, Node: n.name, NodeSample: result.NodeSample{Up: s != nil, RSSBytes: -1, CPUPct: -1, NetBusyPct: -1, NetDropped: -1, DevicePct: -1}}
	if s != nil {
		s.Network.correct(w.linkSpeed)
		out.network(l.last, s, asked.Sub(l.lastAt))
		l.last, l.lastAt = s, asked
		l.raw = s.raw
		partitions, bytes, unavailable := s.left()
		out.ViewKey, out.Members, out.PartitionsLeft, out.BytesLeft = s.ViewKey, len(s.Members), partitions, bytes
		for _, ns := range s.Namespaces {
			out.Masters += ns.Masters[n.name]
			out.Copies += ns.Copies[n.name]
		}
		out.Unavailable = unavailable
		l.devices.sample(s, asked, &out.NodeSample)
		l.use.sample(s, asked, &out)
		w.process(l, pid, &out.NodeSample)
		if s.ViewKey != l.viewKey {
			l.calm = 0 // what it said in an earlier View tells nothing of this one
		}
		w.changes(n.name, l, s, partitions, bytes)
		if news := w.conflicts.saw(n.name, s); news != "" {
			w.o.Event(Event{At: asked, Kind: result.EventAudit, Node: n.name, What: news})
		}
		if partitions+unavailable == 0 && s.State == "serving" {
			if l.calm++; l.calm == 1 {
				l.calmAt = asked
			}
		} else {
			l.calm = 0
		}
	} else {
		l.calm = 0
	}
	w.o.Sample(out)
	for _, f := range w.faults {
		if f.Restored == 0 && !f.harmless {
			w.judge(f)
		}
	}
}

// process samples memory and CPU of the process.
func (w *Watcher) process(l *look, pid int, s *result.NodeSample) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return
	}
	stat, err := p.Stat()
	if err != nil {
		return
	}
	now, cpu := time.Now(), stat.CPUTime()
	s.RSSBytes = int64(stat.ResidentMemory())
	// The kernel counts in hundredths of a second: over a tenth, one of them is 10 %.
	if l.pid == pid && now.Sub(l.cpuAt) < useEvery {
		s.CPUPct = l.cpuPct
		return
	}
	if l.cpuPct = -1; l.pid == pid {
		l.cpuPct = max(0, 100*(cpu-l.cpu)/now.Sub(l.cpuAt).Seconds())
	}
	s.CPUPct = l.cpuPct
	l.pid, l.cpu, l.cpuAt = pid, cpu, now
}

// changes reports a new View and the begin and end of migrations.
func (w *Watcher) changes(name string, l *look, s *Status, partitions, bytes int64) {
	if s.ViewKey != l.viewKey && s.ViewKey != "" { // empty: it is joining
		var members []string
		for _, m := range s.Members {
			members = append(members, m.Node)
		}
		at := time.UnixMilli(s.CommittedMS)
		if s.CommittedMS == 0 {
			at = l.asked
		}
		w.o.Event(Event{At: at, Kind: result.EventView, Node: name,
			What: fmt.Sprintf("view %s: %s", s.ViewKey, strings.Join(members, " "))})
		l.viewKey = s.ViewKey
	}
	switch {
	case l.left == 0 && partitions > 0:
		w.o.Event(Event{At: l.asked, Kind: result.EventMigration, Node: name,
			What: fmt.Sprintf("began: %d partitions, %d bytes", partitions, bytes)})
	case l.left > 0 && partitions == 0:
		w.o.Event(Event{At: l.asked, Kind: result.EventMigration, Node: name, What: "ended"})
	}
	l.left = partitions
}

// judge looks whether the View that follows f is committed everywhere, and
// whether redundancy is back.
func (w *Watcher) judge(f *Observed) {
	if w.superseded(f) {
		return
	}
	gone := f.Action == Kill || f.Action == Term || f.Action == Stop
	key := ""
	var last int64
	var calmAt time.Time
	restored := true
	for _, n := range w.c.nodes {
		if !n.running() || n.isStopped() || gone && f.Action == Term && slices.Contains(f.Nodes, n.name) {
			continue
		}
		l := w.latest[n.name]
		if l.status == nil || l.asked.Before(f.At) || l.status.CommittedMS == 0 || key != "" && l.status.ViewKey != key {
			return
		}
		for _, name := range f.Nodes {
			if l.status.Has(name) == gone {
				return
			}
		}
		key, last = l.status.ViewKey, max(last, l.status.CommittedMS)
		restored = restored && l.calm >= calm
		if l.calmAt.After(calmAt) {
			calmAt = l.calmAt
		}
	}
	if key == "" || (f.Action == Restart || f.Action == FailDevice) && time.UnixMilli(last).Before(f.At) {
		return // nobody is left to agree, or this View has the node's earlier life
	}
	if d := time.UnixMilli(last).Sub(f.At); f.OneView == 0 && d > 0 {
		f.OneView = d
	}
	if restored {
		f.Restored = max(calmAt.Sub(f.At), time.Millisecond)
	}
}

// superseded ends the watch for a View without a node that is started again
// before there was one: what follows the start follows the fault.
func (w *Watcher) superseded(f *Observed) bool {
	if f.Action != Kill && f.Action != Term {
		return false
	}
	for _, later := range w.faults {
		if later.Action == Restart && later.At.After(f.At) && later.Restored > 0 && slices.Equal(later.Nodes, f.Nodes) {
			f.Restored = later.At.Add(later.Restored).Sub(f.At)
			return true
		}
	}
	return false
}
