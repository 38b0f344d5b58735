package drive

import (
	"math"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
)

// cell is what was measured of one operation over some time. The histograms
// hold operations that ended in an answer; the others are infinitely slow.
type cell struct {
	hist                          [len(result.Kinds)]*hdr.Histogram // in the order of result.Kinds
	ok, failed, inDoubt, notFound int64
	beyond                        int64         // answered, but after result.MaxLatency
	busy                          time.Duration // at the target, all that ended, however they did
	// of the sampled ones, how many ended and of how many the stages are known
	asked, answered int64
}

const (
	response = iota
	service
	lateness
)

// interval is a cell per operation of the mix; the cells of others are nil.
type interval [workloads.Ops]*cell

func newInterval(w *workloads.Workload) *interval {
	var v interval
	for op := range workloads.Ops {
		if w.Issues(op) {
			v[op] = &cell{}
			for i := range v[op].hist {
				v[op].hist[i] = result.NewHistogram()
			}
		}
	}
	return &v
}

// What stands for the lateness of an operation that was never sent, and of one
// that the in-flight limit or a write of its key in flight held back: that wait
// is the target's, and is in its response time.
const (
	neverSent time.Duration = -1
	heldBack  time.Duration = -2
)

// record adds one operation: its outcome and its three latencies.
func (c *cell) record(out target.Outcome, resp, serv, late time.Duration) {
	switch out {
	case target.NotFound:
		c.notFound++
		c.ok++
	case target.OK:
		c.ok++
	case target.InDoubt:
		c.inDoubt++
	default:
		c.failed++
	}
	if out == target.OK || out == target.NotFound {
		if c.hist[response].RecordValue(int64(resp)) != nil {
			c.beyond++
		}
		// The other two are parts of the response: they fit where it did.
		_ = c.hist[service].RecordValue(int64(serv))
	}
	if late != neverSent {
		c.busy += serv
	}
	if late >= 0 {
		_ = c.hist[lateness].RecordValue(int64(late))
	}
}

// infinite counts the samples that lie beyond every histogram.
func (c *cell) infinite() int64 { return c.failed + c.inDoubt + c.beyond }

// add merges o into c and empties o.
func (c *cell) add(o *cell) {
	c.ok += o.ok
	c.failed += o.failed
	c.inDoubt += o.inDoubt
	c.notFound += o.notFound
	c.beyond += o.beyond
	c.busy += o.busy
	c.asked += o.asked
	c.answered += o.answered
	for i, h := range o.hist {
		if h.TotalCount() > 0 {
			c.hist[i].Merge(h)
		}
	}
}

func (c *cell) reset() {
	for _, h := range c.hist {
		if h.TotalCount() > 0 {
			h.Reset()
		}
	}
	*c = cell{hist: c.hist}
}

// operation summarises c for run.json.
func (c *cell) operation() result.Operation {
	return result.Operation{Count: c.ok + c.failed + c.inDoubt, OK: c.ok, Failed: c.failed, InDoubt: c.inDoubt,
		NotFound: c.notFound, Response: result.Summarize(c.hist[response], c.infinite()),
		Service: result.Summarize(c.hist[service], c.failed+c.inDoubt), Lateness: result.Summarize(c.hist[lateness], 0)}
}

// row is c as the line of second t of series.csv, offered still missing.
func (c *cell) row(t int, op string) result.SeriesRow {
	return result.SeriesRow{TSec: t, Op: op, OK: c.ok, Failed: c.failed, InDoubt: c.inDoubt, NotFound: c.notFound,
		ResponseP50US: c.micros(response, .5), ResponseP90US: c.micros(response, .9), ResponseP99US: c.micros(response, .99),
		ResponseMaxUS: c.micros(response, 1), ServiceP99US: c.micros(service, .99), LatenessP99US: c.micros(lateness, .99),
		StagesAsked: c.asked, StagesAnswered: c.answered}
}

// micros is a percentile in microseconds, NaN without samples.
func (c *cell) micros(kind int, p float64) float64 {
	infinite := c.infinite()
	if kind == lateness {
		infinite = 0
	}
	ns, ok := result.Quantile(c.hist[kind], infinite, p)
	if !ok {
		return math.NaN()
	}
	return ns / 1000
}
