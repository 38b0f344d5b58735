// Package recompute checks a run folder against itself: every number of
// run.json that the raw files determine is computed again from them, and what
// they only bound is checked against the bound. What no raw file tells is
// listed as such, never as correct.
//
// The invariant to know: a folder in which any recorded number cannot follow
// from its raw files is not clean.
//
// Start reading at Check.
package recompute

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
	"headroom/reports/stats"
)

// State is what became of one number.
type State string

// The states of a number.
const (
	Same    State = "same"
	Differs State = "differs"
	Within  State = "within" // the raw files only bound it, and it keeps to the bound
	Unknown State = "no raw file"
)

// Finding is one number of run.json.
type Finding struct {
	Field, Recorded, Recomputed, From string
	State                             State
}

// Report is what Check found.
type Report struct {
	Findings []Finding
	Problems []string // damaged or missing files
}

// Count returns how many numbers have a state.
func (r *Report) Count(s State) (n int) {
	for _, f := range r.Findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// Check recomputes the run in dir. It fails only when there is no run to read.
func Check(dir string) (*Report, error) {
	run, problems, err := stats.Load(dir)
	if err != nil {
		return nil, err
	}
	c := &checker{dir: dir, run: run, out: &Report{Problems: problems}}
	c.workload()
	c.totals()
	for _, op := range stats.Operations(run) {
		c.operation(op)
	}
	for i := range run.Summary.Faults {
		c.fault(i)
	}
	c.slo()
	c.steady()
	c.stages()
	c.rest()
	return c.out, nil
}

type checker struct {
	dir string
	run *result.Run
	out *Report
}

func (c *checker) add(field, recorded, recomputed, from string, s State) {
	c.out.Findings = append(c.out.Findings, Finding{field, recorded, recomputed, from, s})
}

func text(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }

// number compares within a relative tolerance, for sums of floats.
func (c *checker) number(field string, recorded, recomputed float64, from string) {
	s := Differs
	if math.Abs(recorded-recomputed) <= 1e-9*max(math.Abs(recorded), math.Abs(recomputed), 1) {
		s = Same
	}
	c.add(field, text(recorded), text(recomputed), from, s)
}

func (c *checker) whole(field string, recorded, recomputed int64, from string) {
	s := Differs
	if recorded == recomputed {
		s = Same
	}
	c.add(field, strconv.FormatInt(recorded, 10), strconv.FormatInt(recomputed, 10), from, s)
}

// atMost checks a number of which the raw files know the highest it can be.
func (c *checker) atMost(field string, recorded, most float64, from string) {
	s := Differs
	if recorded <= most*(1+1e-9)+1e-9 {
		s = Within
	}
	c.add(field, text(recorded), "at most "+text(most), from, s)
}

// between checks a number that the raw files bound on both sides.
func (c *checker) between(field string, recorded, least, most float64, from string) {
	s := Differs
	if recorded >= least*(1-1e-9)-1e-9 && recorded <= most*(1+1e-9)+1e-9 {
		s = Within
	}
	c.add(field, text(recorded), text(least)+" to "+text(most), from, s)
}

func (c *checker) workload() {
	b, err := os.ReadFile(filepath.Join(c.dir, "workload.yaml"))
	if err != nil {
		c.add("workload.sha256", c.run.Summary.Workload.SHA256, "", "workload.yaml", Unknown)
		return
	}
	sum := sha256.Sum256(b)
	s := Differs
	got := hex.EncodeToString(sum[:])
	if got == c.run.Summary.Workload.SHA256 {
		s = Same
	}
	c.add("workload.sha256", c.run.Summary.Workload.SHA256, got, "workload.yaml", s)
}

// rows sums series.csv over the measured phase; op "" is all operations. The
// seconds count up to the last with an arrival.
func (c *checker) rows(op string) (sum result.SeriesRow, seconds int) {
	for _, r := range c.run.Series {
		if r.TSec < 0 || op != "" && r.Op != op {
			continue
		}
		sum.Offered += r.Offered
		sum.OK += r.OK
		sum.Failed += r.Failed
		sum.InDoubt += r.InDoubt
		sum.NotFound += r.NotFound
		if r.Offered > 0 {
			seconds = max(seconds, r.TSec+1)
		}
	}
	return sum, seconds
}

func (c *checker) totals() {
	s := c.run.Summary
	sum, seconds := c.rows("")
	if len(c.run.Series) == 0 {
		c.add("achieved_ops_per_s", text(s.AchievedOpsPerSec), "", "series.csv", Unknown)
		return
	}
	state, quiet := Differs, 1.0
	if rate := float64(sum.Offered) / max(s.DurationSec, 1); rate > 0 {
		quiet += 14 / rate // a longer pause between Poisson arrivals has a chance of one in a million
	}
	if diff := s.DurationSec - float64(seconds); diff >= -1 && diff <= quiet {
		state = Within
	}
	c.add("duration_s", text(s.DurationSec), fmt.Sprintf("within %.3g of %d seconds up to the last arrival", quiet, seconds), "series.csv", state)
	if s.DurationSec > 0 {
		c.number("offered_ops_per_s", s.OfferedOpsPerSec, float64(sum.Offered)/s.DurationSec, "series.csv")
		c.number("achieved_ops_per_s", s.AchievedOpsPerSec, float64(sum.OK)/s.DurationSec, "series.csv")
	}
}

func (c *checker) operation(op string) {
	o := c.run.Summary.Operations[op]
	sum, _ := c.rows(op)
	name := "operations." + op + "."
	c.whole(name+"count", o.Count, sum.OK+sum.Failed+sum.InDoubt, "series.csv")
	c.whole(name+"ok", o.OK, sum.OK, "series.csv")
	c.whole(name+"failed", o.Failed, sum.Failed, "series.csv")
	c.whole(name+"in_doubt", o.InDoubt, sum.InDoubt, "series.csv")
	c.whole(name+"not_found", o.NotFound, sum.NotFound, "series.csv")
	infinite := sum.Failed + sum.InDoubt
	c.log(name+"response_us", op, result.Response, infinite, o.Response)
	c.log(name+"service_us", op, result.Service, infinite, o.Service)
	c.log(name+"lateness_us", op, result.Lateness, 0, o.Lateness)
}

// log recomputes the percentiles of one interval log.
func (c *checker) log(field, op string, kind result.Kind, infinite int64, want result.Percentiles) {
	file := filepath.Base(stats.LogPath(c.dir, op, kind))
	sum, err := total(stats.LogPath(c.dir, op, kind), math.MinInt64, math.MaxInt64)
	if errors.Is(err, os.ErrNotExist) {
		c.add(field, "", "", file, Unknown)
		return
	}
	if err != nil {
		c.add(field, "", "the log is damaged: "+err.Error(), file, Differs)
		return
	}
	c.percentiles(field, want, result.Summarize(sum.Histogram(), infinite), file)
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

// percentiles compares every number and every reason for the lack of one.
func (c *checker) percentiles(field string, want, got result.Percentiles, from string) {
	c.whole(field+".samples", want.Samples, got.Samples, from)
	names := []string{"p50", "p90", "p99", "p99_9", "max"}
	a, b := []*float64{want.P50, want.P90, want.P99, want.P999, want.Max}, []*float64{got.P50, got.P90, got.P99, got.P999, got.Max}
	for i, n := range names {
		c.pointer(field+"."+n, a[i], b[i], from)
	}
	c.words(field+".unsupported", want.Unsupported, got.Unsupported, from)
	c.words(field+".infinite", want.Infinite, got.Infinite, from)
	c.words(field+".wide", want.Wide, got.Wide, from)
	for _, n := range keys(want.CI99, got.CI99) {
		for k, end := range []string{"low", "high"} {
			c.pointer(field+".ci99."+n+"."+end, want.CI99[n][k], got.CI99[n][k], from)
		}
	}
	for _, n := range keys(want.Boot95, nil) {
		c.bootstrap(field+".boot95."+n, want.Boot95[n], got, n)
	}
}

func (c *checker) pointer(field string, want, got *float64, from string) {
	switch {
	case want == nil && got == nil:
		c.add(field, "null", "null", from, Same)
	case want == nil || got == nil:
		c.add(field, orNull(want), orNull(got), from, Differs)
	default:
		c.number(field, *want, *got, from)
	}
}

func orNull(v *float64) string {
	if v == nil {
		return "null"
	}
	return text(*v)
}

func (c *checker) words(field string, want, got []string, from string) {
	a, b := append([]string(nil), want...), append([]string(nil), got...)
	sort.Strings(a)
	sort.Strings(b)
	s := Differs
	if strings.Join(a, ",") == strings.Join(b, ",") {
		s = Same
	}
	c.add(field, strings.Join(a, ","), strings.Join(b, ","), from, s)
}

// bootFar is how far from its percentile an end of an interval may lie that does
// not hold it: the draws of whole seconds are skewed where a few were slow.
const bootFar = 1.5

// bootstrap checks that an interval, whose draws are not kept, holds the
// percentile it is about. One that misses it by little is not known to be
// wrong, nor is one of the part of a run before its percentile went infinite.
func (c *checker) bootstrap(field string, want [2]*float64, got result.Percentiles, name string) {
	p := map[string]*float64{"p50": got.P50, "p90": got.P90, "p99": got.P99, "p99_9": got.P999}[name]
	lo, hi := 0.0, math.Inf(1)
	if want[0] != nil {
		lo = *want[0]
	}
	if want[1] != nil {
		hi = *want[1]
	}
	s := Differs
	switch {
	case lo > hi:
	case p == nil:
		s = Unknown
	case lo <= *p && *p <= hi:
		s = Within
	case lo <= *p*bootFar && *p <= hi*bootFar:
		s = Unknown
	}
	c.add(field, orNull(want[0])+" to "+orNull(want[1]), "an interval that holds "+orNull(p), "interval logs", s)
}

func keys(a, b map[string][2]*float64) (out []string) {
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return out
}

// rest lists the groups of numbers that no raw file tells: what was given, and
// what only the generator saw.
func (c *checker) rest() {
	s := c.run.Summary
	if s.Audit.Enabled {
		b, err := json.Marshal(s.Audit)
		if err == nil {
			c.add("audit", string(b), "", "counted while running", Unknown)
		}
	}
	g := s.Generator
	c.add("generator.in_flight_peak", strconv.Itoa(g.InFlightPeak), "", "counted while running", Unknown)
	c.add("generator.queued", strconv.FormatInt(g.Queued, 10), "", "counted while running", Unknown)
	if n := len(c.run.Generator); n > 0 {
		sum, n := 0.0, 0
		for _, x := range c.run.Generator {
			if x.TSec > 0 && x.TSec < s.DurationSec+0.5 { // not of the read-back
				sum += max(x.CPUPct, 0)
				n++
			}
		}
		state := Differs // sampled once a second: the mean of samples is near
		if n < 5 {
			state = Unknown
		}
		if mean := sum / max(float64(n), 1); math.Abs(mean-g.CPUPct) <= 0.25*max(mean, g.CPUPct)+5 {
			state = Within
		}
		c.add("generator.cpu_pct", text(g.CPUPct), "about "+text(math.Round(sum/max(float64(n), 1)*10)/10), "generator.csv", state)
		return
	}
	c.add("generator.cpu_pct", text(g.CPUPct), "", "counted while running", Unknown)
}
