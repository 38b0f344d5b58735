package recompute

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"

	"headroom/loadgen/proof"
	"headroom/loadgen/result"
	"headroom/reports/hlog"
	"headroom/reports/stats"
)

// operation is what the response log of an operation, or of all together, says.
type operation struct {
	err    error // of the log
	sum    *hlog.Counts
	blocks *proof.Blocks
	row    result.SeriesRow // sums of series.csv
}

// second is one second of the measured phase, all operations together.
type second struct {
	p99 float64 // us
}

// cursor walks one response log.
type cursor struct {
	op  string
	log *hlog.Reader
	iv  *hlog.Interval
	sec int
}

func (c *cursor) advance(zero int64) (err error) {
	if c.iv, err = c.log.Next(); err == nil {
		c.sec = int(math.Round(float64(c.iv.FromMS-zero) / 1000))
	}
	return err
}

// logs reads the response logs side by side, second by second.
func (c *checker) logs() {
	c.ops = map[string]*operation{"": {sum: hlog.NewCounts(), blocks: &proof.Blocks{}, row: c.rows("")}}
	infinite := map[string]map[int]int64{}
	var list []*cursor
	zero := c.run.Summary.MeasuredFrom.UnixMilli()
	for _, op := range stats.Operations(c.run) {
		o := &operation{sum: hlog.NewCounts(), blocks: &proof.Blocks{}, row: c.rows(op)}
		c.ops[op], infinite[op] = o, map[int]int64{}
		for _, r := range c.run.Series {
			if r.Op == op {
				infinite[op][r.TSec] += r.Failed + r.InDoubt
			}
		}
		log, err := hlog.Open(stats.LogPath(c.dir, op, result.Response))
		if err != nil {
			o.err = c.lacking(err)
			continue
		}
		defer log.Close()
		x := &cursor{op: op, log: log}
		if o.err = x.advance(zero); o.err == nil {
			list = append(list, x)
		}
	}
	for all := hlog.NewCounts(); len(list) > 0; all.Reset() {
		sec := math.MaxInt
		for _, x := range list {
			sec = min(sec, x.sec)
		}
		list = c.tick(sec, list, all, infinite, zero)
	}
	for _, o := range c.ops {
		if errors.Is(o.err, io.EOF) {
			o.err = nil
		}
		if o.err != nil {
			c.ops[""].err = o.err
		}
	}
}

// tick takes one second of all logs and returns those that go on.
func (c *checker) tick(sec int, list []*cursor, all *hlog.Counts, infinite map[string]map[int]int64, zero int64) (left []*cursor) {
	gone := int64(0)
	for _, x := range list {
		o := c.ops[x.op]
		for x.sec == sec && o.err == nil {
			n := infinite[x.op][sec]
			o.sum.Add(x.iv.Bins)
			all.Add(x.iv.Bins)
			o.blocks.AddCounts(sec, bins(x.iv.Bins), n)
			gone += n
			o.err = x.advance(zero)
		}
		if o.err == nil {
			left = append(left, x)
		}
	}
	a := c.ops[""]
	a.sum.Merge(all)
	a.blocks.AddCounts(sec, counts(all), gone)
	if sec >= 0 && sec < maxSeconds {
		for len(c.second) <= sec {
			c.second = append(c.second, second{p99: math.NaN()})
		}
		all.Infinite = gone
		c.second[sec].p99 = all.Quantile(0.99) / 1000
		all.Infinite = 0
	}
	return left
}

// maxSeconds bounds what a damaged time stamp can ask for: a year.
const maxSeconds = 366 * 86400

func bins(list []hlog.Bin) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		for _, b := range list {
			if _, high := hlog.Value(b.Index); !yield(high, b.Count) {
				return
			}
		}
	}
}

func counts(c *hlog.Counts) iter.Seq2[int64, int64] { return bins(c.Sparse(nil)) }

// rows sums series.csv over the measured phase; op "" is all operations.
func (c *checker) rows(op string) (sum result.SeriesRow) {
	sum.TSec = -1 // the last second with an arrival
	for _, r := range c.run.Series {
		if r.TSec < 0 || op != "" && r.Op != op {
			continue
		}
		sum.Offered += r.Offered
		sum.OK += r.OK
		sum.Failed += r.Failed
		sum.InDoubt += r.InDoubt
		sum.NotFound += r.NotFound
		sum.StagesAsked += r.StagesAsked
		sum.StagesAnswered += r.StagesAnswered
		if r.Offered > 0 {
			sum.TSec = max(sum.TSec, r.TSec)
		}
	}
	return sum
}

// seconds that the measured phase touches.
func (c *checker) seconds() int { return int(math.Ceil(c.run.Summary.DurationSec)) }

func (c *checker) totals() {
	s, sum := c.run.Summary, c.ops[""].row
	if m, ok := c.meters[result.MeterMeasured]; ok {
		c.number("duration_s", s.DurationSec, m.Diff()/1e9, "meters.csv")
	} else if c.newer() && !c.merged() {
		c.number("duration_s", s.DurationSec, 0, "meters.csv") // nothing was measured
	} else if len(c.run.Series) > 0 && !c.merged() {
		c.lastArrival()
	}
	c.nothing()
	if len(c.run.Series) == 0 && !c.newer() || c.merged() {
		return
	}
	rate := func(n int64) float64 {
		if s.DurationSec <= 0 {
			return 0
		}
		return float64(n) / s.DurationSec
	}
	c.number("offered_ops_per_s", s.OfferedOpsPerSec, rate(sum.Offered), "series.csv")
	c.number("achieved_ops_per_s", s.AchievedOpsPerSec, rate(sum.OK), "series.csv")
	good := rate(sum.OK)
	for _, l := range s.SLO {
		samples, beyond, err := c.beyond(l.Limit)
		if err != nil {
			return
		}
		if l.Limit.Op == "" {
			good = min(good, rate(samples-beyond))
		}
	}
	if c.newer() || s.GoodputOpsPerSec > 0 {
		c.number("goodput_ops_per_s", s.GoodputOpsPerSec, good, "series.csv, response logs")
	}
}

// lastArrival bounds the duration of a run of an older version.
func (c *checker) lastArrival() {
	s, sum := c.run.Summary, c.ops[""].row
	state, quiet, seconds := Differs, 1.0, sum.TSec+1
	if rate := float64(sum.Offered) / max(s.DurationSec, 1); rate > 0 {
		quiet += 14 / rate // a longer pause between Poisson arrivals has a chance of one in a million
	}
	if diff := s.DurationSec - float64(seconds); diff >= -1 && diff <= quiet {
		state = Within
	}
	c.add("duration_s", text(s.DurationSec), fmt.Sprintf("within %.3g of %d seconds up to the last arrival", quiet, seconds), "series.csv", state)
}

// nothing finds the second from which on nothing succeeded.
func (c *checker) nothing() {
	if c.run.Summary.NothingFromSec == nil {
		return
	}
	first := 0
	for _, r := range c.run.Series {
		if r.OK > 0 {
			first = max(first, r.TSec+1)
		}
	}
	c.number("nothing_from_s", *c.run.Summary.NothingFromSec, float64(first), "series.csv")
}

func (c *checker) operation(op string) {
	c.summary("operations."+op+".", op, c.run.Summary.Operations[op])
	for kind, want := range map[result.Kind]result.Percentiles{result.Service: c.run.Summary.Operations[op].Service, result.Lateness: c.run.Summary.Operations[op].Lateness} {
		field, file := "operations."+op+"."+string(kind)+"_us", filepath.Base(stats.LogPath(c.dir, op, kind))
		sum, err := c.log(op, kind)
		if err != nil {
			c.unreadable(field, file, err)
			continue
		}
		c.percentiles(field, want, result.Summarize(sum.Histogram(), c.gone(op, kind)), nil, file)
	}
}

// summary checks the counts and response times of an operation, or of all.
func (c *checker) summary(name, op string, want result.Operation) {
	o := c.ops[op]
	c.whole(name+"count", want.Count, o.row.OK+o.row.Failed+o.row.InDoubt, "series.csv")
	c.whole(name+"ok", want.OK, o.row.OK, "series.csv")
	c.whole(name+"failed", want.Failed, o.row.Failed, "series.csv")
	c.whole(name+"in_doubt", want.InDoubt, o.row.InDoubt, "series.csv")
	c.whole(name+"not_found", want.NotFound, o.row.NotFound, "series.csv")
	from := "response logs, series.csv"
	if op != "" {
		from = filepath.Base(stats.LogPath(c.dir, op, result.Response))
	}
	if o.err != nil {
		c.unreadable(name+"response_us", from, o.err)
		return
	}
	var boot map[string][2]*float64 // an older version drew from more seconds for all operations
	if len(want.Response.Boot95) > 0 && (op != "" || c.newer()) {
		boot = o.blocks.Percentiles(0, c.seconds()+1).Boot95
	}
	c.percentiles(name+"response_us", want.Response, result.Summarize(o.sum.Histogram(), c.gone(op, result.Response)), boot, from)
}

// gone is how many operations are infinitely slow in a histogram of a kind.
func (c *checker) gone(op string, kind result.Kind) int64 {
	if kind == result.Lateness {
		return 0
	}
	return c.ops[op].row.Failed + c.ops[op].row.InDoubt
}

func (c *checker) unreadable(field, file string, err error) {
	if errors.Is(err, os.ErrNotExist) {
		c.add(field, "", "", file, Unknown)
		return
	}
	c.add(field, "", "the log is damaged: "+err.Error(), file, Differs)
}

// all checks what is said of all operations together.
func (c *checker) all() {
	s := c.run.Summary
	if s.All.Count == 0 && !c.newer() {
		return // folders of the first versions have none
	}
	c.summary("all.", "", s.All)
	for kind, want := range map[result.Kind]result.Percentiles{result.Service: s.All.Service, result.Lateness: s.All.Lateness} {
		sum := hlog.NewCounts()
		for _, op := range stats.Operations(c.run) {
			x, err := c.log(op, kind)
			if err != nil {
				c.unreadable("all."+string(kind)+"_us", filepath.Base(stats.LogPath(c.dir, op, kind)), err)
				return
			}
			sum.Merge(x)
		}
		got := result.Summarize(sum.Histogram(), c.gone("", kind))
		c.percentiles("all."+string(kind)+"_us", want, got, nil, string(kind)+" logs")
		if kind == result.Lateness {
			c.percentiles("generator.lateness_us", s.Generator.Lateness, got, nil, "lateness logs")
		}
	}
}

// lacking is the error of a log that cannot be opened: where the list of files
// would name a missing one, one that is not there was never begun.
func (c *checker) lacking(err error) error {
	if c.newer() && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// log adds up a whole log.
func (c *checker) log(op string, kind result.Kind) (*hlog.Counts, error) {
	sum, err := total(stats.LogPath(c.dir, op, kind), math.MinInt64, math.MaxInt64)
	if err != nil && c.lacking(err) == nil {
		return hlog.NewCounts(), nil
	}
	return sum, err
}

// total adds up the intervals of a log that begin in [from, to) Unix
// milliseconds.
func total(path string, from, to int64) (*hlog.Counts, error) {
	r, err := hlog.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	sum := hlog.NewCounts()
	for {
		iv, err := r.Next()
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return nil, err
		}
		if iv.FromMS >= from && iv.FromMS < to {
			sum.Add(iv.Bins)
		}
	}
}

// beyond counts the operations that a limit is for, and those beyond it.
func (c *checker) beyond(l result.Limit) (samples, beyond int64, err error) {
	o := c.ops[l.Op]
	if o == nil {
		return 0, 0, fmt.Errorf("no operation %s", l.Op)
	}
	gone := o.row.Failed + o.row.InDoubt
	return o.sum.Total + gone, above(o.sum, 1000*l.LatencyUS) + gone, o.err
}

// slo counts again what was beyond the limits.
func (c *checker) slo() {
	for i, l := range c.run.Summary.SLO {
		name := fmt.Sprintf("slo[%d].", i)
		samples, beyond, err := c.beyond(l.Limit)
		if err != nil {
			c.add(name+"beyond", fmt.Sprint(l.Beyond), "", "a response log is missing or damaged", Unknown)
			continue
		}
		c.whole(name+"samples", l.Samples, samples, "response logs, series.csv")
		c.whole(name+"beyond", l.Beyond, beyond, "response logs, series.csv")
	}
}

// above counts the samples in buckets that reach above ns: those of the bucket
// that ns lies in count as slower, as they do for the generator.
func above(c *hlog.Counts, ns float64) (n int64) {
	c.Each(func(i int32, count int64) {
		if _, high := hlog.Value(i); float64(high) > ns {
			n += count
		}
	})
	return n
}

// changing is why the steady part of a run whose rate was meant to change is not
// looked for.
const changing = "the offered rate changes by the schedule"

// steady finds the steady part again and its percentiles.
func (c *checker) steady() {
	s := c.run.Summary.Steady
	for op, want := range s.Response {
		if o := c.ops[op]; o != nil {
			p := o.blocks.Percentiles(int(s.FromSec), int(s.ToSec))
			c.percentiles("steady.response_us."+op, want, p, p.Boot95, "response log, series.csv")
		}
	}
	if s.Rule == "" { // it was not looked for
		c.number("steady.from_s", s.FromSec, 0, "no rule")
		c.number("steady.to_s", s.ToSec, 0, "no rule")
		return
	}
	if c.ops[""].err != nil || c.run.Summary.Interrupted && !c.newer() {
		return
	}
	list := make([]proof.Second, min(len(c.second), int(c.run.Summary.DurationSec)))
	for i := range list {
		list[i].P99US = c.second[i].p99
	}
	for _, r := range c.run.Series {
		if r.TSec >= 0 && r.TSec < len(list) {
			list[r.TSec].Rate += float64(r.OK)
		}
	}
	to := len(list)
	for _, f := range c.run.Summary.Faults {
		to = min(to, max(0, int(f.AtSec)))
	}
	got := result.Steady{ToSec: float64(to)}
	if s.Why != changing {
		got = proof.Steady(list, to)
	}
	const from = "series.csv, response logs"
	c.number("steady.from_s", s.FromSec, got.FromSec, from)
	c.number("steady.to_s", s.ToSec, got.ToSec, from)
	c.words("steady.reached", []string{fmt.Sprint(s.Reached)}, []string{fmt.Sprint(got.Reached)}, from)
}
