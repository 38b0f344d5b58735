package stats

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"headroom/loadgen/result"
)

// Bounds on what is read from a folder that may be anything.
const (
	maxFile     = 256 << 20 // bytes; a day of series.csv is 60 MB
	maxLines    = 10_000_000
	maxProblems = 20
)

// Load reads a run folder. A folder without a readable run.json of this format
// is an error; everything else that is missing or damaged is left out of the
// run and named in problems.
func Load(dir string) (run *result.Run, problems []string, err error) {
	run, err = result.Open(dir)
	if err != nil {
		run, problems, err = salvage(dir, err)
		if err != nil {
			return nil, nil, err
		}
	} else {
		problems = cut(dir)
	}
	return run, append(problems, absent(dir, run)...), nil
}

// cut names the CSV files that were cut short: result leaves out a last line
// that does not end, without a word.
func cut(dir string) (out []string) {
	files := []string{"series.csv", "events.csv", "generator.csv", "stages.csv", "audit.csv", "histories.csv", "waits.csv", "meters.csv"}
	more, _ := filepath.Glob(filepath.Join(dir, "nodes", "*.csv"))
	for _, f := range more {
		files = append(files, filepath.Join("nodes", filepath.Base(f)))
	}
	more, _ = filepath.Glob(filepath.Join(dir, "devices", "*.csv"))
	for _, f := range more {
		files = append(files, filepath.Join("devices", filepath.Base(f)))
	}
	for _, name := range files {
		switch end, err := lastByte(filepath.Join(dir, name)); {
		case errors.Is(err, io.EOF):
			out = append(out, name+" has no header line and is left out.")
		case err == nil && end != '\n':
			out = append(out, name+" is damaged: it ends within a line, which is left out; what came after is missing.")
		}
	}
	return out[:min(len(out), maxProblems)]
}

// lastByte returns a file's last byte, io.EOF for an empty file.
func lastByte(path string) (byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() == 0 {
		return 0, io.EOF
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], info.Size()-1)
	return b[0], err
}

// absent names the files a complete run folder has and this one has not.
func absent(dir string, run *result.Run) []string {
	var out []string
	for _, f := range []struct{ name, what string }{
		{"workload.yaml", "the workload as run"}, {"environment.json", "the environment"},
		{"series.csv", "figures per second"}, {"events.csv", "events"}} {
		if f.name == "workload.yaml" && run.Summary.Workload.SHA256 == "" {
			continue // a device is loaded without one
		}
		if _, err := os.Stat(filepath.Join(dir, f.name)); errors.Is(err, fs.ErrNotExist) {
			out = append(out, fmt.Sprintf("%s is missing: %s cannot be shown.", f.name, f.what))
		}
	}
	if run.Summary.Stages != nil {
		switch _, err := run.Stages(); {
		case errors.Is(err, fs.ErrNotExist):
			out = append(out, "stages.csv is missing: where the time goes is shown as run.json has it.")
		case err != nil:
			out = append(out, "stages.csv is damaged, and where the time goes is shown as run.json has it: "+err.Error()+".")
		}
	}
	if len(run.Nodes) == 0 && run.Summary.Generator.LocalNodes > 0 {
		out = append(out, "nodes/*.csv are missing: redundancy over time and the node table cannot be shown.")
	}
	for _, op := range Operations(run) {
		for _, k := range result.Kinds {
			if _, err := os.Stat(LogPath(dir, op, k)); errors.Is(err, fs.ErrNotExist) && run.Summary.Operations[op].OK > 0 {
				out = append(out, fmt.Sprintf("%s is missing: %s times of %s are left out of curves.", filepath.Base(LogPath(dir, op, k)), k, op))
			}
		}
	}
	if len(out) > maxProblems {
		out = append(out[:maxProblems], fmt.Sprintf("%d more files are missing.", len(out)-maxProblems))
	}
	return out
}

// Operations returns the names of the run's operations in alphabetical order.
func Operations(run *result.Run) []string {
	var out []string
	for op := range run.Summary.Operations {
		out = append(out, op)
	}
	sort.Strings(out)
	return out
}

// salvage reads what can be read after result.Open refused the folder with
// cause: run.json must be there and of this format, damaged lines of the other
// files are skipped.
func salvage(dir string, cause error) (*result.Run, []string, error) {
	run := &result.Run{Dir: dir, Nodes: map[string][]result.NodeSample{}, Devices: map[string][]result.DeviceSample{}}
	text, err := readBounded(filepath.Join(dir, "run.json"))
	if err != nil || json.Unmarshal(text, &run.Summary) != nil || run.Summary.Format != result.Format {
		return nil, nil, cause
	}
	var problems []string
	if text, err := readBounded(filepath.Join(dir, "workload.yaml")); err == nil {
		run.Workload = string(text)
	}
	if text, err := readBounded(filepath.Join(dir, "environment.json")); err == nil {
		if err := json.Unmarshal(text, &run.Environment); err != nil {
			run.Environment = result.Environment{}
			problems = append(problems, "environment.json is damaged and left out: "+err.Error()+".")
		}
	}
	lines := func(name string, f func(row)) {
		if bad := readRows(filepath.Join(dir, name), f); bad != "" {
			problems = append(problems, name+" "+bad)
		}
	}
	lines("series.csv", func(r row) { run.Series = append(run.Series, seriesRow(r)) })
	lines("events.csv", func(r row) {
		run.Events = append(run.Events, result.Event{TSec: r.number("t_s"), Kind: result.EventKind(r.text("kind")), Node: r.text("node"), What: r.text("what")})
	})
	lines("generator.csv", func(r row) { run.Generator = append(run.Generator, generatorSample(r)) })
	used, _ := filepath.Glob(filepath.Join(dir, "devices", "*.csv"))
	for _, f := range used {
		name := strings.TrimSuffix(filepath.Base(f), ".csv")
		lines("devices/"+filepath.Base(f), func(r row) { run.Devices[name] = append(run.Devices[name], deviceSample(r)) })
	}
	files, _ := filepath.Glob(filepath.Join(dir, "nodes", "*.csv"))
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".csv")
		run.Nodes[name] = nil
		lines("nodes/"+filepath.Base(f), func(r row) { run.Nodes[name] = append(run.Nodes[name], nodeSample(r)) })
	}
	return run, problems, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// row is one line of a CSV file by column name.
type row struct {
	col  map[string]int
	line []string
	bad  *bool // set when a cell cannot be read
}

func (r row) text(name string) string {
	i, ok := r.col[name]
	if !ok || i >= len(r.line) {
		*r.bad = true
		return ""
	}
	return r.line[i]
}

// number returns NaN for an empty cell.
func (r row) number(name string) float64 {
	switch s := r.text(name); s {
	case "":
		return math.NaN()
	case "inf":
		return math.Inf(1)
	default:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			*r.bad = true
		}
		return v
	}
}

func (r row) whole(name string, empty int64) int64 {
	v := r.number(name)
	if math.IsNaN(v) {
		return empty
	}
	if math.Abs(v) > 1<<53 {
		*r.bad = true
		return empty
	}
	return int64(v)
}

// readRows calls f for each whole line and says how many others there were; an
// absent file is not a fault here. A cell that is no number counts its line as
// bad but the line's other cells are used.
func readRows(path string, f func(row)) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	r := csv.NewReader(io.LimitReader(file, maxFile))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	header, err := r.Read()
	if err != nil {
		return "has no header line and is left out."
	}
	col := map[string]int{}
	for i, h := range header {
		col[h] = i
	}
	if _, ok := col["t_s"]; !ok {
		return "is damaged: its header line is not that of a run folder."
	}
	bad := 0
	for range maxLines {
		line, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil || len(line) != len(header) {
			bad++
			if err != nil && !errors.As(err, new(*csv.ParseError)) {
				break
			}
			continue
		}
		var wrong bool
		f(row{col, line, &wrong})
		if wrong {
			bad++
		}
	}
	if bad == 0 {
		return ""
	}
	return fmt.Sprintf("is damaged: %s could not be read in full.", Plural(int64(bad), "line"))
}

func seriesRow(r row) result.SeriesRow {
	return result.SeriesRow{TSec: int(r.whole("t_s", 0)), Op: r.text("op"), Offered: r.whole("offered", 0), OK: r.whole("ok", 0),
		Failed: r.whole("failed", 0), InDoubt: r.whole("in_doubt", 0), NotFound: r.whole("not_found", 0),
		ResponseP50US: r.number("response_p50_us"), ResponseP90US: r.number("response_p90_us"),
		ResponseP99US: r.number("response_p99_us"), ResponseMaxUS: r.number("response_max_us"),
		ServiceP99US: r.number("service_p99_us"), LatenessP99US: r.number("lateness_p99_us"),
		StagesAsked: int64(r.more("stages_asked")), StagesAnswered: int64(r.more("stages_answered"))}
}

// some is more for a count, which is zero without a figure.
func (r row) some(name string) int64 { return int64(max(r.more(name), 0)) }

// more reads a column that old folders lack: -1 then, or without a figure.
func (r row) more(name string) float64 {
	if _, ok := r.col[name]; !ok {
		return -1
	}
	if v := r.number(name); v >= 0 && !math.IsInf(v, 0) {
		return v
	}
	return -1
}

func generatorSample(r row) result.GeneratorSample {
	return result.GeneratorSample{TSec: r.number("t_s"), CPUPct: r.number("cpu_pct"), GCCPUPct: r.number("gc_cpu_pct"), GCPauseMaxUS: r.number("gc_pause_max_us"),
		SchedP99US: r.number("sched_p99_us"), HostCPUPct: r.number("host_cpu_pct"), StealPct: r.number("steal_pct"), InFlight: int(r.whole("in_flight", 0)),
		HeapBytes: r.whole("heap_bytes", 0), WallStepMS: r.number("wall_step_ms"), NetBusyPct: r.more("net_busy_pct"), NetDropped: int64(r.more("net_dropped")),
		InFlightPeak: int(r.more("in_flight_peak")), Queued: int64(r.more("queued")), Shed: int64(r.more("shed")), InFlightSec: r.more("in_flight_s"),
		LookedSec: r.more("looked_s"), Looks: int64(r.more("looks")), TargetSec: r.more("target_s")}
}

func deviceSample(r row) result.DeviceSample {
	return result.DeviceSample{TSec: r.number("t_s"), Device: r.text("device"), OverSec: r.number("over_s"), ReadsPerS: r.number("reads_s"),
		WritesPerS: r.number("writes_s"), SyncsPerS: r.number("syncs_s"), ReadBPerS: r.number("read_bytes_s"), WriteBPerS: r.number("write_bytes_s"),
		ReadUS: r.number("read_us"), WriteUS: r.number("write_us"), SyncUS: r.number("sync_us"), Queue: r.number("queue"), BusyPct: r.number("busy_pct")}
}

func nodeSample(r row) result.NodeSample {
	return result.NodeSample{TSec: r.number("t_s"), Up: r.whole("up", 0) == 1, ViewKey: r.text("view_key"),
		Members: int(r.whole("members", 0)), PartitionsLeft: r.whole("partitions_left", 0), BytesLeft: r.whole("bytes_left", 0),
		Masters: r.whole("masters", 0), Copies: r.whole("copies", 0), RSSBytes: r.whole("rss_bytes", -1), CPUPct: r.cpu(),
		Unavailable: r.some("unavailable"), UsedBytes: r.some("used_bytes"), NetBusyPct: r.more("net_busy_pct"), NetDropped: int64(r.more("net_dropped")),
		StopWrites: r.more("stop_writes") == 1, DevicePct: r.more("device_pct"), DeviceQueued: r.some("device_queued_blocks"),
		DevicesFailed: r.some("devices_failed"), Evicted: r.some("evicted")}
}

func (r row) cpu() float64 {
	if v := r.number("cpu_pct"); v >= 0 {
		return v
	}
	return -1
}
