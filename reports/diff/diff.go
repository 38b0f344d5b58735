// Package diff compares runs: the difference at every percentile with one
// interval that holds for all of them at once, the environments first, a
// verdict in words, and change points over many runs. It draws and words its
// reports through chart and page.
//
// The invariant to know: no difference is claimed without an interval, and no
// interval without enough runs or seconds behind it; what cannot be decided
// says how much more it needs.
//
// Start reading at Compare, then shift.go.
package diff

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
	"headroom/reports/stats"
)

// shares are the percentiles at which runs are compared, and gated those that
// a gate judges.
var (
	shares = []float64{0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999}
	gated  = []float64{0.5, 0.9, 0.99, 0.999}
)

// confidence of every interval of this package.
const confidence = 0.95

// Run is a run to compare: its summary and its response times in blocks of
// seconds.
type Run struct {
	Name    string
	Folder  *result.Run
	Blocks  []*hlog.Counts // consecutive stretches of equal length, failed operations as infinite
	All     *hlog.Counts
	Seconds int
	// Rates are completed operations per second of each second.
	Rates    []float64
	Problems []string
}

// ErrWorkloads means that runs were to be compared that measure different things.
var ErrWorkloads = errors.New("different workloads, loops, or times of devices")

// maxBlocks bounds the blocks of a run: 60 give stable intervals, and longer
// blocks hold more of what one second has to do with the next.
const maxBlocks = 60

// Read reads a run folder for comparison.
func Read(dir string) (*Run, error) {
	folder, problems, err := stats.Load(dir)
	if err != nil {
		return nil, err
	}
	r := &Run{Name: filepath.Base(filepath.Clean(dir)), Folder: folder, All: hlog.NewCounts(), Problems: problems}
	seconds := stats.SecondsOf(folder)
	r.Seconds = len(seconds)
	failed := map[int]int64{}
	for i, s := range seconds {
		failed[s.T] = s.Failed
		// The last second is cut short by the end of the run.
		if i < len(seconds)-1 || float64(s.T+1) <= folder.Summary.DurationSec {
			r.Rates = append(r.Rates, float64(s.OK))
		}
	}
	per := max(1, int(math.Ceil(float64(len(seconds))/maxBlocks)))
	at, n := -1, 0
	remarks, ok := stats.EachSecond(folder, func(t int, c *hlog.Counts) {
		if t < 0 {
			return
		}
		if at != t/per {
			if n++; n > 10*maxBlocks {
				return // a clock that jumps ahead
			}
			r.Blocks, at = append(r.Blocks, hlog.NewCounts()), t/per
		}
		c.Infinite = failed[t]
		r.Blocks[len(r.Blocks)-1].Merge(c)
		r.All.Merge(c)
	})
	r.Problems = append(r.Problems, remarks...)
	if !ok || r.All.Total == 0 {
		return nil, fmt.Errorf("%s has no response times to compare: its *-response.hlog are missing, damaged or empty", dir)
	}
	return r, nil
}

// Options steer a comparison.
type Options struct {
	// Pairs takes the runs as interleaved pairs: A B A B …
	Pairs bool
	// Force compares runs of different workloads, with a stamp on everything.
	Force bool
	// Threshold is the relative worsening that a gate does not let pass.
	Threshold float64
}

// Result is a finished comparison: the first run against each other one, or
// the pairs taken together.
type Result struct {
	Runs    []*Run
	Options Options
	Forced  string // why the comparison had to be forced, or empty
	Shifts  []Shift
}

// Compare compares runs that Read returned.
func Compare(runs []*Run, o Options) (*Result, error) {
	if len(runs) < 2 {
		return nil, errors.New("a comparison needs two runs")
	}
	if o.Pairs && len(runs)%2 != 0 {
		return nil, fmt.Errorf("pairs need an even number of runs, not %d: A B A B …", len(runs))
	}
	r := &Result{Runs: runs, Options: o}
	if why := incomparable(runs); why != "" {
		if !o.Force {
			return nil, fmt.Errorf("%w: %s; their difference says nothing about the target (--force compares them all the same, and says so on every figure)", ErrWorkloads, why)
		}
		r.Forced = why
	}
	if o.Pairs {
		r.Shifts = []Shift{pairedShift(runs)}
		return r, nil
	}
	for _, b := range runs[1:] {
		r.Shifts = append(r.Shifts, blockShift(runs[0], b))
	}
	return r, nil
}

// stretch is the dilation of a run's devices, 1 in real time.
func stretch(d *result.Device) float64 {
	if d == nil || d.Dilation < 1 {
		return 1
	}
	return d.Dilation
}

// incomparable says why runs measure different things, or nothing.
func incomparable(runs []*Run) string {
	a := runs[0].Folder.Summary
	for _, r := range runs[1:] {
		b := r.Folder.Summary
		switch {
		case stretch(a.Device) != stretch(b.Device):
			return fmt.Sprintf("the devices of %s run in time stretched %g times, those of %s %g times", runs[0].Name, stretch(a.Device), r.Name, stretch(b.Device))
		case a.Workload.SHA256 != b.Workload.SHA256:
			return fmt.Sprintf("%s ran workload %s (sha256 %.12s), %s ran %s (sha256 %.12s)", runs[0].Name, a.Workload.Name, a.Workload.SHA256, r.Name, b.Workload.Name, b.Workload.SHA256)
		case a.Loop != b.Loop:
			return fmt.Sprintf("%s is %s loop, %s %s loop (rule R1)", runs[0].Name, a.Loop, r.Name, b.Loop)
		}
	}
	return ""
}
