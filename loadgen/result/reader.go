package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Run is a run folder in memory, without its histograms, which are read on
// demand.
type Run struct {
	Dir         string
	Summary     Summary
	Workload    string // workload.yaml as it stands
	Environment Environment
	Series      []SeriesRow               // in the order of the file: by time, then operation
	Events      []Event                   // in the order of the file: by time
	Nodes       map[string][]NodeSample   // by node name, in time order
	Devices     map[string][]DeviceSample // by node name, in time order; empty without devices
	Generator   []GeneratorSample         // one a second; empty in runs without generator.csv
}

// Interval is one histogram of an interval log: nanoseconds, finite samples
// only.
type Interval struct {
	From, To time.Time
	Hist     *hdr.Histogram
}

// ErrNoRun is wrapped, behind the path, by Open's error for what is no run folder.
var ErrNoRun = errors.New("is no run folder: it has no " + runFile)

// Open reads a run folder. It needs run.json and series.csv; the other files
// may be missing, as in a run that was cut short.
func Open(dir string) (*Run, error) {
	r := &Run{Dir: dir, Nodes: map[string][]NodeSample{}}
	if err := readJSON(filepath.Join(dir, runFile), &r.Summary); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s %w", dir, ErrNoRun)
		}
		return nil, err
	}
	if r.Summary.Format != Format {
		return nil, fmt.Errorf("%s: format %.40q, this program reads %q: use the version that wrote it", filepath.Join(dir, runFile), r.Summary.Format, Format)
	}
	text, err := os.ReadFile(filepath.Join(dir, workloadFile))
	if err := optional(err); err != nil {
		return nil, err
	}
	r.Workload = string(text)
	if err := optional(readJSON(filepath.Join(dir, environmentFile), &r.Environment)); err != nil {
		return nil, err
	}
	if err := r.readSeries(); err != nil {
		return nil, err
	}
	if err := optional(r.readEvents()); err != nil {
		return nil, err
	}
	if err := optional(r.readGenerator()); err != nil {
		return nil, err
	}
	if err := r.readDevices(); err != nil {
		return nil, err
	}
	return r, r.readNodes()
}

func optional(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s is damaged, or was cut short: %w", path, err)
	}
	return nil
}

func (r *Run) readSeries() error {
	nan := math.NaN()
	return readCSV(filepath.Join(r.Dir, seriesFile), seriesHeader[:seriesColumns], func(c *cells) {
		r.Series = append(r.Series, SeriesRow{TSec: int(c.whole(0)), Op: c.text(), Offered: c.whole(0), OK: c.whole(0),
			Failed: c.whole(0), InDoubt: c.whole(0), NotFound: c.whole(0), ResponseP50US: c.number(nan),
			ResponseP90US: c.number(nan), ResponseP99US: c.number(nan), ResponseMaxUS: c.number(nan),
			ServiceP99US: c.number(nan), LatenessP99US: c.number(nan), StagesAsked: c.more(-1), StagesAnswered: c.more(-1)})
	})
}

func (r *Run) readEvents() error {
	return readCSV(filepath.Join(r.Dir, eventsFile), eventsHeader, func(c *cells) {
		r.Events = append(r.Events, Event{TSec: c.number(0), Kind: EventKind(c.text()), Node: c.text(), What: c.text()})
	})
}

func (r *Run) readGenerator() error {
	return readCSV(filepath.Join(r.Dir, generatorFile), generatorHeader[:generatorColumns], func(c *cells) {
		r.Generator = append(r.Generator, GeneratorSample{TSec: c.number(0), CPUPct: c.number(-1), GCCPUPct: c.number(-1),
			GCPauseMaxUS: c.number(-1), SchedP99US: c.number(-1), HostCPUPct: c.number(-1), StealPct: c.number(-1),
			InFlight: int(c.whole(0)), HeapBytes: c.whole(0), WallStepMS: c.number(-1), NetBusyPct: c.moreNumber(-1), NetDropped: int64(c.moreNumber(-1)),
			InFlightPeak: int(c.more(-1)), Queued: c.more(-1), Shed: c.more(-1), InFlightSec: c.moreNumber(-1), LookedSec: c.moreNumber(-1), Looks: c.more(-1),
			TargetSec: c.moreNumber(-1)})
	})
}

func (r *Run) readNodes() error {
	files, err := filepath.Glob(filepath.Join(r.Dir, nodesDir, "*.csv"))
	if err != nil {
		return err
	}
	for _, f := range files {
		var list []NodeSample
		err := readCSV(f, nodeHeader[:nodeColumns], func(c *cells) {
			list = append(list, NodeSample{TSec: c.number(0), Up: c.whole(0) == 1, ViewKey: c.text(),
				Members: int(c.whole(0)), PartitionsLeft: c.whole(0), BytesLeft: c.whole(0), Masters: c.whole(0),
				Copies: c.whole(0), RSSBytes: c.whole(-1), CPUPct: c.number(-1), Unavailable: c.more(0), UsedBytes: c.more(0),
				NetBusyPct: c.moreNumber(-1), NetDropped: c.more(-1),
				StopWrites: c.more(0) == 1, DevicePct: c.moreNumber(-1), DeviceQueued: c.more(0), DevicesFailed: c.more(0), Evicted: c.more(0)})
		})
		if err != nil {
			return err
		}
		r.Nodes[strings.TrimSuffix(filepath.Base(f), ".csv")] = list
	}
	return nil
}

// Walk opens the interval log of an operation and returns a function that reads
// one interval after the other, false at the end, and one that closes the file.
// It returns os.ErrNotExist when the run has no such log.
func (r *Run) Walk(op string, kind Kind) (next func() (Interval, bool, error), done func() error, err error) {
	path := filepath.Join(r.Dir, op+"-"+string(kind)+".hlog")
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	log := hdr.NewHistogramLogReader(f)
	return func() (Interval, bool, error) {
		h, err := log.NextIntervalHistogram()
		if err != nil {
			return Interval{}, false, fmt.Errorf("%s: %w", path, err)
		}
		if h == nil {
			return Interval{}, false, nil
		}
		return Interval{From: time.UnixMilli(h.StartTimeMs()), To: time.UnixMilli(h.EndTimeMs()), Hist: h}, true, nil
	}, f.Close, nil
}

// Intervals reads the interval log of an operation, one histogram per second
// of the measured phase. It returns os.ErrNotExist when the run has none.
func (r *Run) Intervals(op string, kind Kind) ([]Interval, error) {
	next, done, err := r.Walk(op, kind)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []Interval
	for {
		i, ok, err := next()
		if err != nil || !ok {
			return out, err
		}
		out = append(out, i)
	}
}

// Histogram returns all intervals of an operation merged: the histogram from
// which the summary's percentiles were taken, together with the operation's
// failed and in-doubt counts as infinite samples.
func (r *Run) Histogram(op string, kind Kind) (*hdr.Histogram, error) {
	list, err := r.Intervals(op, kind)
	if err != nil {
		return nil, err
	}
	sum := NewHistogram()
	for _, i := range list {
		if dropped := sum.Merge(i.Hist); dropped > 0 {
			return nil, fmt.Errorf("%s %s: %d samples beyond %v", op, kind, dropped, MaxLatency)
		}
	}
	return sum, nil
}
