package stats

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
)

// maxIntervals bounds the intervals read from one log: a day of seconds.
const maxIntervals = 100_000

// batchSize is how many intervals a reader decodes ahead: few enough that
// twenty logs hold some megabytes, enough that readers seldom wait.
const batchSize = 32

// LogPath returns where the interval log of an operation stands in dir. A
// hostile operation name stays inside the folder.
func LogPath(dir, op string, kind result.Kind) string {
	return filepath.Join(dir, filepath.Base(op)+"-"+string(kind)+".hlog")
}

// item is one interval with its second of the measured phase.
type item struct {
	t      int
	bins   []hlog.Bin
	total  int64
	beyond int64
	back   bool // the clock stepped back before it: it stands at the second before
}

// batch is a run of items that share one slab of bins.
type batch struct {
	items []item
	slab  []hlog.Bin
	err   error // what ended the log after these items, nil at its own end
}

// log is one interval log read ahead by a goroutine of its own.
type log struct {
	name, op  string
	ch        chan *batch
	free      chan *batch
	cur       *batch
	at        int
	next      *item // nil at the end
	n         int   // intervals delivered
	want, got int64 // samples the summary counts, samples read
	back      int   // intervals before which the clock stepped back
}

// read decodes the log until its end, an error or done.
func (l *log) read(r *hlog.Reader, zero time.Time, done <-chan struct{}) {
	defer close(l.ch)
	defer r.Close()
	last, n := math.MinInt, 0
	for {
		b := &batch{}
		select {
		case b = <-l.free:
			b.items, b.slab, b.err = b.items[:0], b.slab[:0], nil
		default:
		}
		for len(b.items) < batchSize && b.err == nil {
			iv, err := r.Next()
			if n++; err == nil && n > maxIntervals {
				err = fmt.Errorf("more than %d intervals", maxIntervals)
			}
			if b.err = err; err != nil {
				break
			}
			from := len(b.slab)
			b.slab = append(b.slab, iv.Bins...)
			t := int(math.Round(time.UnixMilli(iv.FromMS).Sub(zero).Seconds()))
			back := t < last
			last = max(t, last)
			b.items = append(b.items, item{t: last, bins: b.slab[from:len(b.slab):len(b.slab)], total: iv.Total, beyond: iv.Beyond, back: back})
		}
		ended := b.err != nil
		if errors.Is(b.err, io.EOF) {
			b.err = nil
		}
		select {
		case l.ch <- b:
		case <-done:
			return
		}
		if ended {
			return
		}
	}
}

// advance moves to the next interval; the error is what damaged the log there.
func (l *log) advance() error {
	for l.cur == nil || l.at == len(l.cur.items) {
		if l.cur != nil {
			if err := l.cur.err; err != nil {
				l.next = nil
				return err
			}
			select {
			case l.free <- l.cur:
			default:
			}
		}
		var ok bool
		if l.cur, ok = <-l.ch; !ok {
			l.next, l.cur = nil, &batch{}
			return nil
		}
		l.at = 0
	}
	l.next = &l.cur.items[l.at]
	l.at++
	l.n++
	l.got += l.next.total
	if l.next.back {
		l.back++
	}
	return nil
}

// merged is what merge went through.
type merged struct {
	ops      map[string]bool // operations whose log was there
	until    int             // the second before which it ended, MaxInt at the logs' own end
	problems []string
}

func (m *merged) problem(format string, args ...any) {
	if len(m.problems) < maxProblems {
		m.problems = append(m.problems, fmt.Sprintf(format, args...))
	}
}

// part is one operation's interval of a second.
type part struct {
	op   string
	bins []hlog.Bin
}

// merge reads the logs of a kind of all operations side by side and calls
// visit with the parts of each second, in rising order of time. The parts are
// valid during the call. It holds some intervals per operation, however long
// the run was. It ends before the second at which a log is damaged: what
// follows would be percentiles of the other operations only.
func merge(run *result.Run, kind result.Kind, visit func(t int, parts []part)) merged {
	m := merged{ops: map[string]bool{}, until: math.MaxInt}
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	var open []*log
	for _, op := range Operations(run) {
		path := LogPath(run.Dir, op, kind)
		r, err := hlog.Open(path)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) { // Load has named the missing
				m.problem("%s cannot be read: %v.", filepath.Base(path), err)
			}
			continue
		}
		l := &log{name: filepath.Base(path), op: op, ch: make(chan *batch, 2), free: make(chan *batch, 4), want: run.Summary.Operations[op].OK}
		wg.Go(func() { l.read(r, run.Summary.MeasuredFrom, done) })
		open = append(open, l)
		m.ops[op] = true
	}
	for _, l := range open {
		m.step(l)
	}
	m.walk(open, visit)
	return m
}

// step advances a log and notes where it is damaged.
func (m *merged) step(l *log) {
	last := -1
	if l.next != nil {
		last = l.next.t
	}
	if err := l.advance(); err != nil {
		m.until = min(m.until, last+1)
		m.problem("%s is damaged from its interval %d on: latencies from second %d on are left out: %v.", l.name, l.n+1, last+1, err)
	}
}

func (m *merged) walk(open []*log, visit func(t int, parts []part)) {
	var parts []part
	for {
		t, any := math.MaxInt, false
		for _, l := range open {
			if l.next != nil {
				t, any = min(t, l.next.t), true
			}
		}
		if !any || t >= m.until {
			m.remarks(open)
			return
		}
		parts = parts[:0]
		for _, l := range open {
			if l.next != nil && l.next.t == t {
				parts = append(parts, part{l.op, l.next.bins})
			}
		}
		visit(t, parts)
		for _, l := range open {
			if l.next != nil && l.next.t == t {
				if l.next.beyond > 0 {
					m.problem("%s: %d samples at %d s lie beyond %v and are left out.", l.name, l.next.beyond, t, result.MaxLatency)
				}
				m.step(l)
			}
		}
	}
}

// wholeLog is the share of an operation's samples from which its log passes as
// whole; the rest may lie beyond the histogram or after the last interval.
const wholeLog = 0.99

// remarks names the logs that hold fewer samples than their operations
// completed, and those whose clock stepped back.
func (m *merged) remarks(logs []*log) {
	for _, l := range logs {
		if m.until == math.MaxInt && float64(l.got) < wholeLog*float64(l.want) {
			m.problem("%s holds %s of %s samples: curves and percentiles per second rest on these.", l.name, Count(l.got), Count(l.want))
		}
		if l.back > 0 {
			m.problem("%s: the clock stepped back before %s; they stand at the second before the step.", l.name, Plural(int64(l.back), "interval"))
		}
	}
}

// totals adds up the logs of a kind over the whole run, two logs at a time.
// Where a log is damaged, all end at that second, as merge does.
func totals(run *result.Run, kind result.Kind) (*hlog.Counts, merged) {
	sum := hlog.NewCounts()
	m := merge(run, kind, func(_ int, parts []part) {
		for _, p := range parts {
			sum.Add(p.bins)
		}
	})
	return sum, m
}

// curvePitch is the distance of points on a percentile curve in nines: 50
// points a nine look smooth.
const curvePitch = 0.02

// curve turns a histogram into a percentile curve; its infinite operations
// never completed.
func curve(kind result.Kind, c *hlog.Counts) Curve {
	n := c.Total + c.Infinite
	out := Curve{Kind: kind, Percentiles: result.Summarize(c.Histogram(), c.Infinite), FiniteTo: 1}
	if n == 0 {
		return out
	}
	out.FiniteTo = float64(c.Total) / float64(n)
	out.Supported = supportedTo(n)
	end := -math.Log10(1 / (2 * float64(n))) // beyond half a sample there is nothing
	var shares []float64
	for x := 0.0; x <= end; x += curvePitch {
		shares = append(shares, 1-math.Pow(10, -x))
	}
	values := make([]float64, len(shares))
	c.Quantiles(shares, values)
	for i, p := range shares {
		out.Points = append(out.Points, Quantile{p, values[i] / 1e3})
	}
	return out
}

// supportedTo returns the highest share that n samples bound, to a hundredth
// of a nine.
func supportedTo(n int64) float64 {
	best := 0.0
	for x := 0.01; x < 12; x += 0.01 {
		p := 1 - math.Pow(10, -x)
		if !result.Supported(p, n) {
			break
		}
		best = p
	}
	return best
}

// CurveOf returns the percentile curve of response times.
func CurveOf(c *hlog.Counts) Curve { return curve(result.Response, c) }
