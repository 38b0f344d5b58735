package result

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// File names inside a run folder.
const (
	runFile         = "run.json"
	workloadFile    = "workload.yaml"
	environmentFile = "environment.json"
	seriesFile      = "series.csv"
	eventsFile      = "events.csv"
	generatorFile   = "generator.csv"
	nodesDir        = "nodes"
	// reserveFile holds the place of run.json while the run goes on, so that the
	// figures are kept even when the logs have filled the disk.
	reserveFile = ".reserve"
	reserveSize = 128 << 10
)

var (
	seriesHeader = []string{"t_s", "op", "offered", "ok", "failed", "in_doubt", "not_found", "response_p50_us",
		"response_p90_us", "response_p99_us", "response_max_us", "service_p99_us", "lateness_p99_us", "stages_asked", "stages_answered"}
	eventsHeader = []string{"t_s", "kind", "node", "what"}
	nodeHeader   = []string{"t_s", "up", "view_key", "members", "partitions_left", "bytes_left", "masters", "copies",
		"rss_bytes", "cpu_pct", "unavailable", "used_bytes", "net_busy_pct", "net_dropped",
		"stop_writes", "device_pct", "device_queued_blocks", "devices_failed", "evicted"}
	generatorHeader = []string{"t_s", "cpu_pct", "gc_cpu_pct", "gc_pause_max_us", "sched_p99_us", "host_cpu_pct", "steal_pct",
		"in_flight", "heap_bytes", "wall_step_ms", "net_busy_pct", "net_dropped",
		"in_flight_peak", "queued", "shed", "in_flight_s", "looked_s", "looks", "target_s"}
)

// nodeColumns, generatorColumns and seriesColumns are the columns of
// nodes/NODE.csv, generator.csv and series.csv that every folder has.
const (
	nodeColumns      = 10
	generatorColumns = 10
	seriesColumns    = 13
)

// Writer writes a run folder while the run is going on. It belongs to one
// goroutine. The first error sticks: later calls do what they still can, so
// that whatever was measured is kept, and Close returns it.
type Writer struct {
	dir     string
	series  *csvFile
	events  *csvFile
	nodes   map[string]*csvFile
	devices map[string]*csvFile
	hlogs   map[string]*hlogFile
	// generator is made with its first line.
	generator *csvFile
	more      map[string]*csvFile // those of raw.go, by name
	err       error
}

type hlogFile struct {
	f   *os.File
	buf *bufio.Writer
	log *hdr.HistogramLogWriter
}

// Create makes the folder, or takes over one that is empty or holds an earlier
// run, whose files are removed. Any other folder is refused.
func Create(dir string) (*Writer, error) {
	if err := clear(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, nodesDir), 0o755); err != nil {
		return nil, fmt.Errorf("create run folder: %w", err)
	}
	w := &Writer{dir: dir, nodes: map[string]*csvFile{}, devices: map[string]*csvFile{}, hlogs: map[string]*hlogFile{},
		more: map[string]*csvFile{}}
	var err1, err2 error
	w.series, err1 = createCSV(filepath.Join(dir, seriesFile), seriesHeader)
	w.events, err2 = createCSV(filepath.Join(dir, eventsFile), eventsHeader)
	err3 := os.WriteFile(filepath.Join(dir, reserveFile), bytes.Repeat([]byte("reserved\n"), reserveSize/9), 0o644)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("create run folder %s: %w", dir, err)
	}
	return w, nil
}

// clear removes the files of an earlier run from dir.
func clear(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, seriesFile)); err != nil {
		return fmt.Errorf("run folder %s exists and is not a run folder; give --out another name", dir)
	}
	old, _ := filepath.Glob(filepath.Join(dir, "*.hlog"))
	samples, _ := filepath.Glob(filepath.Join(dir, nodesDir, "*.*"))
	used, _ := filepath.Glob(filepath.Join(dir, devicesDir, "*.csv"))
	shards, _ := filepath.Glob(filepath.Join(dir, shardsDir, "*.json"))
	old = append(append(append(old, samples...), used...), shards...)
	for _, f := range []string{runFile, workloadFile, environmentFile, seriesFile, eventsFile, generatorFile, stagesFile, auditFile, historyFile, waitsFile,
		metersFile, reserveFile} {
		old = append(old, filepath.Join(dir, f))
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear run folder: %w", err)
		}
	}
	return nil
}

// Dir returns the folder's path as given to Create.
func (w *Writer) Dir() string { return w.dir }

// Err returns the first error so far.
func (w *Writer) Err() error { return w.err }

func (w *Writer) keep(err error) {
	if w.err == nil && err != nil {
		w.err = err
	}
}

// Workload writes workload.yaml.
func (w *Writer) Workload(text []byte) {
	w.keep(os.WriteFile(filepath.Join(w.dir, workloadFile), text, 0o644))
}

// Environment writes environment.json.
func (w *Writer) Environment(e *Environment) { w.json(environmentFile, e) }

// Summary writes run.json and fills its list of the raw files, which must all
// be written. It may be called again; the last call stands.
func (w *Writer) Summary(s *Summary) {
	w.Flush()
	var err error
	s.Files, err = Files(w.dir)
	w.keep(err)
	if err := os.Remove(filepath.Join(w.dir, reserveFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.keep(err)
	}
	w.json(runFile, s)
}

func (w *Writer) json(name string, v any) { w.keep(writeJSON(filepath.Join(w.dir, name), v)) }

// Generator appends a line to generator.csv.
func (w *Writer) Generator(s GeneratorSample) {
	if w.generator == nil {
		var err error
		if w.generator, err = createCSV(filepath.Join(w.dir, generatorFile), generatorHeader); err != nil {
			w.keep(err)
			return
		}
	}
	w.keep(w.generator.line(seconds(s.TSec), known(s.CPUPct), known(s.GCCPUPct), exact(s.GCPauseMaxUS), exact(s.SchedP99US),
		known(s.HostCPUPct), known(s.StealPct), strconv.Itoa(s.InFlight), whole(s.HeapBytes), exact(s.WallStepMS),
		known(s.NetBusyPct), known(float64(s.NetDropped)), whole(int64(s.InFlightPeak)), whole(s.Queued), whole(s.Shed),
		nanos(s.InFlightSec), nanos(s.LookedSec), whole(s.Looks), nanos(s.TargetSec)))
}

// Status writes the last status answer (headroom-status/1) of the named node.
func (w *Writer) Status(node string, text []byte) {
	w.keep(os.WriteFile(filepath.Join(w.dir, nodesDir, filepath.Base(node)+".json"), text, 0o644))
}

// Log writes the end of the named node's log.
func (w *Writer) Log(node string, text []byte) {
	w.keep(os.WriteFile(filepath.Join(w.dir, nodesDir, filepath.Base(node)+".log"), text, 0o644))
}

// known prints a figure that is negative or NaN when unknown.
func known(v float64) string {
	if math.IsNaN(v) || v < 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// Series appends a line to series.csv.
func (w *Writer) Series(r SeriesRow) {
	w.keep(w.series.line(strconv.Itoa(r.TSec), r.Op, whole(r.Offered), whole(r.OK), whole(r.Failed), whole(r.InDoubt),
		whole(r.NotFound), latency(r.ResponseP50US), latency(r.ResponseP90US), latency(r.ResponseP99US),
		latency(r.ResponseMaxUS), latency(r.ServiceP99US), latency(r.LatenessP99US), whole(r.StagesAsked), whole(r.StagesAnswered)))
}

// Event appends a line to events.csv.
func (w *Writer) Event(e Event) {
	w.keep(w.events.line(precise(e.TSec), string(e.Kind), e.Node, e.What))
}

// Node appends a sample of the named node ("node1").
func (w *Writer) Node(node string, s NodeSample) {
	f := w.nodes[node]
	if f == nil {
		var err error
		f, err = createCSV(filepath.Join(w.dir, nodesDir, filepath.Base(node)+".csv"), nodeHeader)
		if err != nil {
			w.keep(err)
			return
		}
		w.nodes[node] = f
	}
	if !s.Up {
		w.keep(f.line(append([]string{seconds(s.TSec), "0"}, make([]string, len(nodeHeader)-2)...)...))
		return
	}
	rss, dropped := "", ""
	if s.RSSBytes >= 0 {
		rss = whole(s.RSSBytes)
	}
	if s.NetDropped >= 0 {
		dropped = whole(s.NetDropped)
	}
	stopped := "0"
	if s.StopWrites {
		stopped = "1"
	}
	w.keep(f.line(seconds(s.TSec), "1", s.ViewKey, strconv.Itoa(s.Members), whole(s.PartitionsLeft),
		whole(s.BytesLeft), whole(s.Masters), whole(s.Copies), rss, known(s.CPUPct), whole(s.Unavailable), whole(s.UsedBytes),
		known(s.NetBusyPct), dropped, stopped, known(s.DevicePct), whole(s.DeviceQueued), whole(s.DevicesFailed), whole(s.Evicted)))
}

// Interval appends the histogram of [from, to) to the log of op and kind. The
// histogram stays the caller's; its time stamps are set.
func (w *Writer) Interval(op string, kind Kind, h *hdr.Histogram, from, to time.Time) {
	name := op + "-" + string(kind) + ".hlog"
	l := w.hlogs[name]
	if l == nil {
		var err error
		if l, err = createHlog(filepath.Join(w.dir, name), from); err != nil {
			w.keep(err)
			return
		}
		w.hlogs[name] = l
	}
	h.SetStartTimeMs(from.UnixMilli())
	h.SetEndTimeMs(to.UnixMilli())
	w.keep(l.log.OutputIntervalHistogram(h))
}

func createHlog(path string, from time.Time) (*hlogFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriter(f)
	l := &hlogFile{f: f, buf: buf, log: hdr.NewHistogramLogWriter(buf)}
	err = errors.Join(l.log.OutputLogFormatVersion(), l.log.OutputStartTime(from.UnixMilli()), l.log.OutputLegend())
	return l, err
}

// Flush writes everything buffered so far to the files.
func (w *Writer) Flush() {
	w.keep(w.series.flush())
	w.keep(w.events.flush())
	if w.generator != nil {
		w.keep(w.generator.flush())
	}
	for _, f := range w.nodes {
		w.keep(f.flush())
	}
	for _, f := range w.devices {
		w.keep(f.flush())
	}
	for _, f := range w.more {
		w.keep(f.flush())
	}
	for _, l := range w.hlogs {
		w.keep(l.buf.Flush())
	}
}

// Close flushes and closes the files and returns the first error of the
// Writer's life.
func (w *Writer) Close() error {
	w.Flush()
	for _, f := range w.nodes {
		w.keep(f.f.Close())
	}
	for _, f := range w.devices {
		w.keep(f.f.Close())
	}
	for _, f := range w.more {
		w.keep(f.f.Close())
	}
	for _, l := range w.hlogs {
		w.keep(l.f.Close())
	}
	if w.generator != nil {
		w.keep(w.generator.f.Close())
	}
	w.keep(w.series.f.Close())
	w.keep(w.events.f.Close())
	if w.err != nil {
		return fmt.Errorf("write run folder %s: %w", w.dir, w.err)
	}
	return nil
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// nanos prints seconds to the nanosecond.
func nanos(sec float64) string { return strconv.FormatFloat(sec, 'f', 9, 64) }

func seconds(t float64) string { return strconv.FormatFloat(t, 'f', 3, 64) }

func latency(us float64) string {
	switch {
	case math.IsNaN(us):
		return ""
	case math.IsInf(us, 1):
		return "inf"
	}
	return strconv.FormatFloat(us, 'f', 1, 64)
}
