// Package recompute checks a run folder against itself: every number of
// run.json is computed again from the raw files, or checked against the bound
// that these give; what was given to the run and not measured is named as such
// (given.go). It also checks that the raw files are those that were written.
//
// The invariants to know: a folder in which any recorded number cannot follow
// from its raw files is not clean; and no number of run.json is passed over,
// for cover walks the document itself and lists what nothing has looked at.
//
// Start reading at Check.
package recompute

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/stats"
)

// State is what became of one number.
type State string

// The states of a number, the gravest last.
const (
	Given   State = "given"                                       // configuration, not measured
	Same    State = "same"                                        // follows from the raw files
	Within  State = "within"                                      // the raw files only bound it, and it keeps to the bound
	Older   State = "written by an older version: not recomputed" // which left no raw file for it
	Unknown State = "no raw file"                                 // it should follow from one, which is missing or damaged
	Differs State = "differs"
)

var gravity = map[State]int{Given: 0, Same: 1, Within: 2, Older: 3, Unknown: 4, Differs: 5}

// Finding is one number of run.json, named by its path in it, or a word or list
// that goes with numbers.
type Finding struct {
	Field, Recorded, Recomputed, From string
	State                             State
}

// Report is what Check found.
type Report struct {
	Findings []Finding
	Problems []string      // damaged or missing files
	Numbers  map[State]int // of run.json, by what became of each
}

// Count returns how many findings have a state.
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
	c := &checker{dir: dir, run: run, out: &Report{Problems: problems}, at: map[string]int{}}
	if c.meters, err = run.Meters(); err != nil {
		c.damaged(err)
		if c.meters = nil; os.IsNotExist(err) && c.newer() {
			c.meters = map[string]result.Meter{} // nothing was read
		}
	}
	c.files()
	c.workload()
	c.logs()
	c.totals()
	for _, op := range stats.Operations(run) {
		c.operation(op)
	}
	c.all()
	c.faults()
	c.slo()
	c.steady()
	c.stages()
	c.audit()
	c.conflicts()
	c.generator()
	c.use()
	c.shards()
	return c.out, c.cover()
}

type checker struct {
	dir    string
	run    *result.Run
	out    *Report
	at     map[string]int          // where in Findings a field is
	meters map[string]result.Meter // nil without
	ops    map[string]*operation   // "" is all together
	second []second
}

// newer reports that the folder has all raw files there are now.
func (c *checker) newer() bool { return len(c.run.Summary.Files) > 0 }

// merged reports that the folder was merged from shards, whose summaries are the
// raw files of what cannot be added up second by second.
func (c *checker) merged() bool { return len(c.run.Summary.Merged) > 0 }

// damaged notes a raw file that cannot be read; one that is not there is none.
func (c *checker) damaged(err error) {
	if err != nil && !os.IsNotExist(err) {
		c.out.Problems = append(c.out.Problems, err.Error()+".")
	}
}

// add notes what became of a field. Of two checks of one field the worse stays.
func (c *checker) add(field, recorded, recomputed, from string, s State) {
	f := Finding{field, recorded, recomputed, from, s}
	i, ok := c.at[field]
	switch {
	case !ok:
		c.at[field] = len(c.out.Findings)
		c.out.Findings = append(c.out.Findings, f)
	case gravity[s] > gravity[c.out.Findings[i].State]:
		c.out.Findings[i] = f
	}
}

func text(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }

// number compares within a relative tolerance, for sums of floats.
func (c *checker) number(field string, recorded, recomputed float64, from string) {
	c.close(field, recorded, recomputed, 1e-9*max(math.Abs(recorded), math.Abs(recomputed), 1), from)
}

// close compares within what the raw file's decimals hide.
func (c *checker) close(field string, recorded, recomputed, hidden float64, from string) {
	s := Differs
	if math.Abs(recorded-recomputed) <= hidden {
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

// pointer compares numbers that may be null.
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

// files compares the raw files with what they were when run.json was written.
func (c *checker) files() {
	if !c.newer() {
		return
	}
	known := map[string]bool{}
	for i, f := range c.run.Summary.Files {
		known[f.Name] = true
		field := fmt.Sprintf("files[%d].", i)
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			c.add(field+"sha256", f.SHA256, "no file of the folder", f.Name, Differs)
			continue
		}
		now, err := result.FileAt(c.dir, f.Name)
		if err != nil {
			c.add(field+"bytes", strconv.FormatInt(f.Bytes, 10), "the file is missing", f.Name, Differs)
			continue
		}
		c.whole(field+"bytes", f.Bytes, now.Bytes, f.Name)
		s := Same
		if f.SHA256 != now.SHA256 {
			s = Differs
		}
		c.add(field+"sha256", f.SHA256, now.SHA256, f.Name, s)
	}
	list, err := result.Files(c.dir)
	c.damaged(err)
	for _, f := range list {
		if !known[f.Name] {
			c.add("files", "", "it was not there when run.json was written", f.Name, Differs)
		}
	}
}

func (c *checker) workload() {
	want := c.run.Summary.Workload.SHA256
	if want == "" {
		return // a device is loaded without one
	}
	b, err := os.ReadFile(filepath.Join(c.dir, "workload.yaml"))
	if err != nil {
		c.add("workload.sha256", want, "", "workload.yaml", Unknown)
		return
	}
	sum := sha256.Sum256(b)
	s := Differs
	got := hex.EncodeToString(sum[:])
	if got == want {
		s = Same
	}
	c.add("workload.sha256", want, got, "workload.yaml", s)
}

// percentiles compares every number and every reason for the lack of one. boot
// are the 95 % intervals, drawn again.
func (c *checker) percentiles(field string, want, got result.Percentiles, boot map[string][2]*float64, from string) {
	c.whole(field+".samples", want.Samples, got.Samples, from)
	names := []string{"p50", "p90", "p99", "p99_9", "max"}
	a, b := []*float64{want.P50, want.P90, want.P99, want.P999, want.Max}, []*float64{got.P50, got.P90, got.P99, got.P999, got.Max}
	for i, n := range names {
		c.pointer(field+"."+n, a[i], b[i], from)
	}
	if want.Samples == 0 && got.Samples == 0 && want.Unsupported == nil {
		return // nothing was measured, and no reason is given
	}
	c.words(field+".unsupported", want.Unsupported, got.Unsupported, from)
	c.words(field+".infinite", want.Infinite, got.Infinite, from)
	c.words(field+".wide", want.Wide, got.Wide, from)
	c.intervals(field+".ci99", want.CI99, got.CI99, from)
	if len(want.Boot95) > 0 && (boot != nil || c.newer()) {
		c.intervals(field+".boot95", want.Boot95, boot, from)
	}
}

func (c *checker) intervals(field string, want, got map[string][2]*float64, from string) {
	for _, n := range keys(want, got) {
		for k := range 2 {
			c.pointer(fmt.Sprintf("%s.%s[%d]", field, n, k), want[n][k], got[n][k], from)
		}
	}
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
