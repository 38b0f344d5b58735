package stats

import (
	"bytes"
	"encoding/binary"
	"sort"

	"headroom/reports/hlog"

	"github.com/klauspost/compress/gzip"
)

// Bounds on the histograms a page carries, so that it stays below 10 MB: the
// sum over all operations in at most 1,800 windows, each operation in 360, and
// wider ones where these take more than their share.
const (
	windowsAll   = 1800
	windowsPerOp = 360
	budgetAll    = 2_500_000 // bytes compressed
	budgetPerOp  = 2_000_000 // of all operations together
)

// AllOperations is the name of the window group over all operations.
const AllOperations = "all operations"

// Windows are the response histograms over time that a page carries, so that
// a reader can ask for the percentiles of any stretch of time. Every value is
// the histograms' own; only the ends of a stretch are as coarse as the step.
type Windows struct {
	Groups []WindowGroup
}

// WindowGroup holds the windows of one operation, or of all.
type WindowGroup struct {
	Name string
	Step int // seconds of a window
	// Data is gzip of, for each window in rising order of time, unsigned
	// varints: its first second divided by Step, failed operations, number of
	// buckets, then for each bucket the distance of its index from the one
	// before (from -1) and its count.
	Data []byte
}

// group collects the windows of one operation.
type group struct {
	name  string
	step  int
	at    int // first second of cur
	cur   *hlog.Counts
	bins  []hlog.Bin
	raw   []byte
	begun bool
}

type windowSet struct {
	all *group
	ops map[string]*group
}

func newWindowSet(span float64, ops []string) *windowSet {
	w := &windowSet{all: newGroup(AllOperations, niceStep(span, windowsAll)), ops: map[string]*group{}}
	if len(ops) < 2 {
		return w
	}
	for _, op := range ops {
		w.ops[op] = newGroup(op, niceStep(span, windowsPerOp))
	}
	return w
}

func newGroup(name string, step int) *group {
	return &group{name: name, step: step, cur: hlog.NewCounts()}
}

func (w *windowSet) add(t int, parts []part, failed map[string]int64) {
	if t < 0 {
		return
	}
	sum := int64(0)
	for _, n := range failed {
		sum += n
	}
	w.all.move(t)
	w.all.cur.Infinite += sum
	for _, p := range parts {
		w.all.cur.Add(p.bins)
		if g := w.ops[p.op]; g != nil {
			g.move(t)
			g.cur.Add(p.bins)
			g.cur.Infinite += failed[p.op]
		}
	}
}

// move begins the window of second t.
func (g *group) move(t int) {
	at := t - mod(t, g.step)
	if g.begun && at == g.at {
		return
	}
	g.flush()
	g.at, g.begun = at, true
}

func (g *group) flush() {
	if g.cur.Total+g.cur.Infinite > 0 {
		g.bins = g.cur.Sparse(g.bins)
		g.raw = appendWindow(g.raw, uint64(g.at/g.step), g.cur.Infinite, g.bins)
	}
	g.cur.Reset()
}

func appendWindow(raw []byte, at uint64, failed int64, bins []hlog.Bin) []byte {
	raw = binary.AppendUvarint(raw, at)
	raw = binary.AppendUvarint(raw, uint64(failed))
	raw = binary.AppendUvarint(raw, uint64(len(bins)))
	last := int32(-1)
	for _, b := range bins {
		raw = binary.AppendUvarint(raw, uint64(b.Index-last))
		raw = binary.AppendUvarint(raw, uint64(b.Count))
		last = b.Index
	}
	return raw
}

// coarsen doubles the step.
func (g *group) coarsen() {
	old := g.raw
	wide := newGroup(g.name, 2*g.step)
	next := func() uint64 {
		v, n := binary.Uvarint(old)
		old = old[n:]
		return v
	}
	for len(old) > 0 {
		wide.move(int(next()) * g.step)
		wide.cur.Infinite += int64(next())
		bins := wide.bins[:0]
		last := int32(-1)
		for range next() {
			last += int32(next())
			bins = append(bins, hlog.Bin{Index: last, Count: int64(next())})
		}
		wide.cur.Add(bins)
		wide.bins = bins
	}
	wide.flush()
	*g = *wide
}

// squeezeLimit bounds how often a step is doubled: 2^12 windows become one.
const squeezeLimit = 12

func (g *group) squeeze(budget int) WindowGroup {
	g.flush()
	for i := 0; ; i++ {
		data := compress(g.raw)
		if len(data) <= budget || i == squeezeLimit {
			return WindowGroup{Name: g.name, Step: g.step, Data: data}
		}
		g.coarsen()
	}
}

func compress(raw []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, 6)
	if err != nil {
		panic("stats: gzip level 6 exists") // an invariant of the library
	}
	w.Write(raw) // neither fails on a bytes.Buffer
	w.Close()
	return b.Bytes()
}

// finish returns what the page carries, nil when no log could be read.
func (w *windowSet) finish() *Windows {
	if !w.all.begun {
		return nil
	}
	out := &Windows{Groups: []WindowGroup{w.all.squeeze(budgetAll)}}
	var list []*group
	for _, g := range w.ops {
		if g.begun {
			list = append(list, g)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	for _, g := range list {
		out.Groups = append(out.Groups, g.squeeze(budgetPerOp/len(list)))
	}
	return out
}
