package result

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The raw files that exist only so that every number of run.json can be
// computed again.
const (
	auditFile   = "audit.csv"
	historyFile = "histories.csv"
	waitsFile   = "waits.csv"
	metersFile  = "meters.csv"
	lanesFile   = "lanes.hlog"
	shardsDir   = "shards"
)

var (
	auditHeader = []string{"t_s", "acknowledged_writes", "in_doubt_writes", "stale_reads", "corrupt", "false_not_found", "lost", "keys_written",
		"read_back", "read_back_failed", "stale_age_max_ms"}
	historyHeader = []string{"t_s", "key", "operations", "verdict"}
	waitsHeader   = []string{"t_s", "worst_us", "failed", "in_doubt"}
	metersHeader  = []string{"meter", "from", "to"}
)

// File is one raw file of a run folder as it was when run.json was written.
type File struct {
	Name   string `json:"name"` // with slashes, below the run folder
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// AuditSample is a line of audit.csv: what the audit counted since the line
// before, up to TSec; the first line holds what was counted while loading.
// Only the linearizability of sampled keys is not in it (History).
type AuditSample struct {
	TSec float64
	Audit
}

// History is a line of histories.csv: a stretch of the operations on one sampled
// key that was judged as a whole.
type History struct {
	TSec       float64 // its begin
	Key        uint64
	Operations int
	Verdict    string // HistoryFits, HistoryViolates or HistoryUndecided
}

// What a History may be.
const (
	HistoryFits      = "fits"
	HistoryViolates  = "violates"
	HistoryUndecided = "undecided"
)

// Wait is a line of waits.csv: what became of the operations intended in one
// millisecond around a fault.
type Wait struct {
	TSec            float64
	WorstUS         int64 // the longest response, a failed one counting its deadline
	Failed, InDoubt int64
}

// Meter is a line of meters.csv: a counter of the generator or its host, read
// before and after what its name says.
type Meter struct {
	Name     string
	From, To int64
}

// Names of meters. Times are nanoseconds.
const (
	MeterMeasured     = "measured_ns"
	MeterCPU          = "generator_cpu_ns" // over the measured phase
	MeterGCCPU        = "generator_gc_cpu_ns"
	MeterTicks        = "host_ticks" // from the warm-up to the end of the measured phase
	MeterSteal        = "host_steal_ticks"
	MeterLoad         = "load_ns"
	MeterLoaded       = "load_records"
	MeterCalibrated   = "calibration_ns"
	MeterCalibratedOK = "calibration_operations" // that succeeded
	MeterCould        = "could_ns"               // sending to a null target
	MeterCouldSent    = "could_operations"
	MeterAuditRead    = "audit_read_ns" // auditing audit_reads answers, timed after the run
	MeterAuditReads   = "audit_reads"
	MeterAuditWrite   = "audit_write_ns"
	MeterAuditWrites  = "audit_writes"
	MeterReads        = "audited_reads" // of the measured phase
	MeterWrites       = "audited_writes"
	MeterClockOffset  = "clock_offset_ns" // this machine's wall clock less the reference's
	MeterClockError   = "clock_error_ns"
	MeterDevice       = "device_use_ns"      // time of requests at a device target, or that its busiest resource was busy
	MeterDeviceOver   = "device_capacity_ns" // what that could have been at most
	// MeterSched begins the meters of a histogram: how many goroutines waited at
	// most so many microseconds for a thread, and more than the bucket before.
	MeterSched = "sched_us_to_"
)

// Audit appends a line to audit.csv.
func (w *Writer) Audit(s AuditSample) {
	w.line(auditFile, auditHeader, seconds(s.TSec), whole(s.AcknowledgedWrites), whole(s.InDoubtWrites), whole(s.StaleReads), whole(s.Corrupt),
		whole(s.FalseNotFound), whole(s.Lost), whole(s.KeysWritten), whole(s.ReadBack), whole(s.ReadBackFailed), exact(s.StaleAgeMaxMS))
}

// History appends a line to histories.csv.
func (w *Writer) History(s History) {
	w.line(historyFile, historyHeader, seconds(s.TSec), strconv.FormatUint(s.Key, 10), strconv.Itoa(s.Operations), s.Verdict)
}

// Wait appends a line to waits.csv.
func (w *Writer) Wait(s Wait) {
	w.line(waitsFile, waitsHeader, precise(s.TSec), whole(s.WorstUS), whole(s.Failed), whole(s.InDoubt))
}

// Meter appends a line to meters.csv.
func (w *Writer) Meter(s Meter) {
	w.line(metersFile, metersHeader, s.Name, whole(s.From), whole(s.To))
}

// line appends a line to a file that is made with its first one.
func (w *Writer) line(name string, header []string, cells ...string) {
	f := w.more[name]
	if f == nil {
		var err error
		if f, err = createCSV(filepath.Join(w.dir, name), header); err != nil {
			w.keep(err)
			return
		}
		w.more[name] = f
	}
	w.keep(f.line(cells...))
}

// Lanes writes lanes.hlog: how late each lane was in the measured phase, one
// interval for each lane.
func (w *Writer) Lanes(list []*hdr.Histogram, from, to time.Time) {
	l, err := createHlog(filepath.Join(w.dir, lanesFile), from)
	if err != nil {
		w.keep(err)
		return
	}
	for _, h := range list {
		h.SetStartTimeMs(from.UnixMilli())
		h.SetEndTimeMs(to.UnixMilli())
		w.keep(l.log.OutputIntervalHistogram(h))
	}
	w.keep(errors.Join(l.buf.Flush(), l.f.Close()))
}

// Shard writes the summary of one shard of a merged run.
func (w *Writer) Shard(index int, s *Summary) {
	if err := os.MkdirAll(filepath.Join(w.dir, shardsDir), 0o755); err != nil {
		w.keep(err)
		return
	}
	w.json(filepath.Join(shardsDir, strconv.Itoa(index)+".json"), s)
}

// LanesLog is the path of lanes.hlog in a run folder.
func LanesLog(dir string) string { return filepath.Join(dir, lanesFile) }

// Files lists the raw files of the run folder dir: all but run.json. Documents
// and run folders of a study around it are not below it.
func Files(dir string) ([]File, error) {
	list := []File{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || !raw(filepath.ToSlash(name)) {
			return err
		}
		f, err := FileAt(dir, filepath.ToSlash(name))
		list = append(list, f)
		return err
	})
	return list, err
}

// raw reports whether a file of a run folder is one that the generator wrote.
func raw(name string) bool {
	switch dir, base, below := strings.Cut(name, "/"); {
	case below:
		return !strings.Contains(base, "/") && (dir == nodesDir || dir == devicesDir || dir == shardsDir)
	default:
		ext := filepath.Ext(name)
		return ext == ".csv" || ext == ".hlog" || name == workloadFile || name == environmentFile
	}
}

// FileAt is what a File of that name would be now.
func FileAt(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return File{Name: name}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{Name: name, Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// Audits reads audit.csv. Like the other readers of this file it returns
// os.ErrNotExist when the run has none.
func (r *Run) Audits() (list []AuditSample, err error) {
	err = readCSV(filepath.Join(r.Dir, auditFile), auditHeader, func(c *cells) {
		s := AuditSample{TSec: c.number(0)}
		for _, p := range []*int64{&s.AcknowledgedWrites, &s.InDoubtWrites, &s.StaleReads, &s.Corrupt, &s.FalseNotFound, &s.Lost, &s.KeysWritten,
			&s.ReadBack, &s.ReadBackFailed} {
			*p = c.whole(0)
		}
		s.StaleAgeMaxMS = c.number(0)
		list = append(list, s)
	})
	return list, err
}

// Histories reads histories.csv.
func (r *Run) Histories() (list []History, err error) {
	err = readCSV(filepath.Join(r.Dir, historyFile), historyHeader, func(c *cells) {
		s := History{TSec: c.number(0)}
		key := c.text()
		if s.Key, err = strconv.ParseUint(key, 10, 64); err != nil && c.err == nil {
			c.err = fmt.Errorf("column %d: %q is no key", c.at, key)
		}
		s.Operations, s.Verdict = int(c.whole(0)), c.text()
		list = append(list, s)
	})
	return list, err
}

// Waits reads waits.csv.
func (r *Run) Waits() (list []Wait, err error) {
	err = readCSV(filepath.Join(r.Dir, waitsFile), waitsHeader, func(c *cells) {
		list = append(list, Wait{TSec: c.number(0), WorstUS: c.whole(0), Failed: c.whole(0), InDoubt: c.whole(0)})
	})
	return list, err
}

// Meters reads meters.csv, by name.
func (r *Run) Meters() (map[string]Meter, error) {
	list := map[string]Meter{}
	err := readCSV(filepath.Join(r.Dir, metersFile), metersHeader, func(c *cells) {
		m := Meter{Name: c.text(), From: c.whole(0), To: c.whole(0)}
		list[m.Name] = m
	})
	return list, err
}

// Shard reads the summary of a shard of a merged run.
func (r *Run) Shard(index int) (*Summary, error) {
	s := &Summary{}
	return s, readJSON(filepath.Join(r.Dir, shardsDir, strconv.Itoa(index)+".json"), s)
}

// Diff is how much the meter went up.
func (m Meter) Diff() float64 { return float64(m.To - m.From) }

// precise prints an instant to the microsecond.
func precise(t float64) string { return strconv.FormatFloat(t, 'f', 6, 64) }

// exact prints a figure with three decimals, nothing when it is unknown.
func exact(v float64) string {
	if math.IsNaN(v) || v < 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
