package stats

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"headroom/loadgen/result"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// maxIntervals bounds the intervals read from one log: a day of seconds.
const maxIntervals = 100_000

func hlogPath(dir, op string, kind result.Kind) string {
	// Base keeps a hostile operation name inside the folder.
	return filepath.Join(dir, filepath.Base(op)+"-"+string(kind)+".hlog")
}

// log reads one interval log, one histogram ahead.
type log struct {
	file *os.File
	r    *hdr.HistogramLogReader
	next *hdr.Histogram
	t    int // second of next
	n    int
	want int64 // samples the summary counts
	got  int64 // samples read
}

// advance reads the next interval; next is nil at the end.
func (l *log) advance(zero time.Time) (err error) {
	l.next = nil
	// The library indexes into what it decodes; a damaged log must not take
	// the report down with it.
	defer func() {
		if p := recover(); p != nil {
			l.next, err = nil, fmt.Errorf("damaged interval: %v", p)
		}
	}()
	if l.n++; l.n > maxIntervals {
		return fmt.Errorf("more than %d intervals", maxIntervals)
	}
	h, err := l.r.NextIntervalHistogram()
	if err != nil || h == nil {
		return err
	}
	l.got += h.TotalCount()
	l.next, l.t = h, int(math.Round(time.UnixMilli(h.StartTimeMs()).Sub(zero).Seconds()))
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

// merge reads the logs of a kind of all operations side by side and calls
// visit with each second's histogram over them, in rising order of time. It
// holds one histogram per operation, however long the run was. It ends before
// the second at which a log is damaged: what follows would be percentiles of
// the other operations only.
func merge(run *result.Run, kind result.Kind, visit func(t int, h *hdr.Histogram)) merged {
	m := merged{ops: map[string]bool{}, until: math.MaxInt}
	var open []*log
	step := func(l *log) {
		last := l.t
		if err := l.advance(run.Summary.MeasuredFrom); err != nil {
			m.until = min(m.until, last+1)
			m.problem("%s is damaged from its interval %d on: latencies from second %d on are left out: %v.", filepath.Base(l.file.Name()), l.n, last+1, err)
		}
	}
	for _, op := range Operations(run) {
		f, err := os.Open(hlogPath(run.Dir, op, kind))
		if err != nil {
			continue // Load has named it
		}
		defer f.Close()
		l := &log{file: f, r: hdr.NewHistogramLogReader(f), want: run.Summary.Operations[op].OK, t: -1}
		step(l)
		open = append(open, l)
		m.ops[op] = true
	}
	sum := result.NewHistogram()
	for {
		t, any := math.MaxInt, false
		for _, l := range open {
			if l.next != nil {
				t, any = min(t, l.t), true
			}
		}
		if !any || t >= m.until {
			m.short(open)
			return m
		}
		sum.Reset()
		for _, l := range open {
			if l.next != nil && l.t == t {
				if dropped := sum.Merge(l.next); dropped > 0 {
					m.problem("%s: %d samples at %d s lie beyond %v and are left out.", filepath.Base(l.file.Name()), dropped, t, result.MaxLatency)
				}
				step(l)
			}
		}
		visit(t, sum)
	}
}

// wholeLog is the share of an operation's samples from which its log passes as
// whole; the rest may lie beyond the histogram or after the last interval.
const wholeLog = 0.99

// short names the logs that hold fewer samples than their operations completed.
func (m *merged) short(logs []*log) {
	for _, l := range logs {
		if m.until == math.MaxInt && float64(l.got) < wholeLog*float64(l.want) {
			m.problem("%s holds %s of %s samples: curves and percentiles per second rest on these.",
				filepath.Base(l.file.Name()), Count(l.got), Count(l.want))
		}
	}
}

// curvePitch is the distance of points on a percentile curve in nines: 50
// points a nine look smooth.
const curvePitch = 0.02

// curve turns a histogram into a percentile curve. infinite is the number of
// operations that never completed.
func curve(kind result.Kind, h *hdr.Histogram, infinite int64) Curve {
	n := h.TotalCount() + infinite
	c := Curve{Kind: kind, Percentiles: result.Summarize(h, infinite), FiniteTo: 1}
	if n == 0 {
		return c
	}
	c.FiniteTo = float64(h.TotalCount()) / float64(n)
	c.Supported = supportedTo(n)
	end := -math.Log10(1 / (2 * float64(n))) // beyond half a sample there is nothing
	for x := 0.0; x <= end; x += curvePitch {
		p := 1 - math.Pow(10, -x)
		ns, ok := result.Quantile(h, infinite, p)
		if ok {
			c.Points = append(c.Points, Quantile{p, ns / 1e3})
		}
	}
	return c
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
