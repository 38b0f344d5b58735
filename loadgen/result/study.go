package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Formats of the documents of studies, which are made of several runs. Fields
// may be added under a format number, never renamed or retyped.
const (
	KneeFormat      = "headroom-knee/1"
	MatrixFormat    = "headroom-matrix/1"
	OverloadFormat  = "headroom-overload/1"
	CalibrateFormat = "headroom-calibrate/1"
)

// Files of a study, at the root of its folder. The runs it is made of are run
// folders below it, named by the Dir fields, which are relative to it.
const (
	KneeFile      = "knee.json"
	MatrixFile    = "matrix.json"
	MatrixTable   = "matrix.csv"
	OverloadFile  = "overload.json"
	CalibrateFile = "calibrate.json"
)

// Study is what all documents of studies begin with.
type Study struct {
	Format   string      `json:"format"`
	ID       string      `json:"id"`
	Command  []string    `json:"command"`
	Started  time.Time   `json:"started"`
	Target   string      `json:"target"`
	Workload Workload    `json:"workload"`
	Machine  Environment `json:"environment"`
	SpentSec float64     `json:"spent_s"`
	// Interrupted is true when the study was stopped before its end; what it
	// had found is there.
	Interrupted bool      `json:"interrupted"`
	Verdicts    []Verdict `json:"verdicts"`
}

// Limit is one term of an SLO: this percentile of this operation stays at or
// below this latency. Failed operations are infinitely slow in it.
type Limit struct {
	Op         string  `json:"op"`         // empty: all operations together
	Percentile string  `json:"percentile"` // p50, p90, p95, p99, p99_9, p99_99
	P          float64 `json:"p"`          // the same as a share: 0.99
	LatencyUS  float64 `json:"latency_us"`
}

// Knee is knee.json: the highest rate at which an SLO held.
type Knee struct {
	Study
	SLO []Limit `json:"slo"`
	// During is the fault under which the SLO had to hold (kill,
	// rolling-restart, …), empty for a healthy cluster.
	During string `json:"during"`
	// AnswerOpsPerSec is the highest rate that held, in the confirming run if
	// Confirmed; nil when no rate held. The knee lies between LowOpsPerSec (held)
	// and HighOpsPerSec (did not); a nil High means that no rate failed, because
	// the search ended by its limit, its budget or the generator's.
	AnswerOpsPerSec *float64 `json:"answer_ops_per_s"`
	LowOpsPerSec    *float64 `json:"low_ops_per_s"`
	HighOpsPerSec   *float64 `json:"high_ops_per_s"`
	// Confirmed says that a run of ConfirmSec at the answer held the SLO after
	// the search. Of that run, or the best probe: the response times, the
	// achieved share of what was offered, and what this generator could have
	// sent in units of the answer.
	Confirmed           bool        `json:"confirmed"`
	ConfirmSec          float64     `json:"confirm_s"`
	Response            Percentiles `json:"response_us"`
	AchievedOverOffered *float64    `json:"achieved_over_offered"`
	CouldOverOffered    *float64    `json:"could_over_offered"`
	Limiting            Limiting    `json:"limiting"`
	Hysteresis          *Hysteresis `json:"hysteresis"` // nil when the budget did not allow it
	Probes              []Probe     `json:"probes"`     // in the order in which they were run
	BudgetSec           float64     `json:"budget_s"`
	Audit               Audit       `json:"audit"` // of all probes together
}

// Outcome is what a probe says about its rate.
type Outcome string

// The outcomes of a probe. A generator-limited one says nothing about the
// target.
const (
	Holds            Outcome = "holds"
	Fails            Outcome = "fails"
	Undecided        Outcome = "undecided"
	GeneratorLimited Outcome = "generator-limited"
)

// Phases of a knee search.
const (
	PhaseProbe   = "probe"   // exponential, up
	PhaseBisect  = "bisect"  // between the highest that held and the lowest that failed
	PhaseUp      = "up"      // hysteresis: over the knee …
	PhaseDown    = "down"    // … and back below it
	PhaseConfirm = "confirm" // the long run at the answer
)

// Probe is one run of a knee search.
type Probe struct {
	N                 int          `json:"n"`
	Phase             string       `json:"phase"`
	Dir               string       `json:"dir"`
	AtSec             float64      `json:"at_s"`       // start, since the start of the search
	DurationSec       float64      `json:"duration_s"` // measured; shorter than planned when decided early
	RateOpsPerSec     float64      `json:"rate_ops_per_s"`
	OfferedOpsPerSec  float64      `json:"offered_ops_per_s"`
	AchievedOpsPerSec float64      `json:"achieved_ops_per_s"`
	Response          Percentiles  `json:"response_us"` // of all operations together
	LatenessP99US     *float64     `json:"lateness_p99_us"`
	Tests             []LimitTest  `json:"tests"` // one per term of the SLO
	Outcome           Outcome      `json:"outcome"`
	Early             bool         `json:"early"` // the sequential test ended the run
	Why               string       `json:"why"`   // one line
	Use               []Use        `json:"use"`   // of resources, the busiest first
	Gap               *float64     `json:"gap_ms"`
	Faults            []Fault      `json:"faults"`
	Migrating         *Percentiles `json:"migrating_us,omitempty"` // with a fault: of the seconds until redundancy was restored
}

// LimitTest is what a probe's samples say about one term of the SLO: Beyond of
// Samples operations were slower than the limit, where 1-P of them may be.
type LimitTest struct {
	Limit   Limit   `json:"limit"`
	Samples int64   `json:"samples"`
	Beyond  int64   `json:"beyond"`
	Outcome Outcome `json:"outcome"`
}

// Use is how busy one resource was.
type Use struct {
	Resource    string  `json:"resource"`    // node-cpu, device, network (of a node), host-cpu, host-network, host-buffers, generator-cpu, in-flight
	Node        string  `json:"node"`        // empty: the host or the generator
	Utilisation float64 `json:"utilisation"` // 0 to 1 of what there is
	Text        string  `json:"text"`
}

// Limiting is the resource that ends the rate at the knee.
type Limiting struct {
	Resource    string   `json:"resource"` // as in Use, "clients" (of a closed loop, when no resource was busy enough), or "unknown"
	Node        string   `json:"node"`
	Utilisation *float64 `json:"utilisation"`
	Text        string   `json:"text"`
}

// Hysteresis is the same rates on the way up and, after an overload, down: a
// cluster that fails at a rate that it held before has not recovered.
type Hysteresis struct {
	UpOpsPerSec    float64 `json:"up_ops_per_s"`   // above the knee
	DownOpsPerSec  float64 `json:"down_ops_per_s"` // below it, after the overload
	P99BeforeUS    float64 `json:"p99_before_us"`  // at about the down rate, before the overload; 0: not measured
	P99AfterUS     float64 `json:"p99_after_us"`   // after it; 0: infinite
	Recovered      bool    `json:"recovered"`
	RecoverSeconds float64 `json:"recover_s"` // into the down run until the SLO held; 0 when Recovered is false
}

// Overload is overload.json: what 120 % of a rate for a while leaves behind at
// 80 %.
type Overload struct {
	Study
	SLO             []Limit  `json:"slo"`
	RateOpsPerSec   float64  `json:"rate_ops_per_s"` // 100 %
	OverShare       float64  `json:"over"`           // 1.2
	UnderShare      float64  `json:"under"`          // 0.8
	BeforeSec       float64  `json:"before_s"`       // at UnderShare
	OverSec         float64  `json:"over_s"`
	AfterSec        float64  `json:"after_s"` // at UnderShare
	BaselineP99US   *float64 `json:"baseline_p99_us"`
	OverP99US       *float64 `json:"over_p99_us"`  // nil: infinite or too few
	ThresholdUS     float64  `json:"threshold_us"` // p99 of a second at or below it counts as recovered
	StableSec       float64  `json:"stable_s"`     // so long in a row
	RecoverSec      *float64 `json:"recover_s"`    // from the return to UnderShare; nil: not within AfterSec
	OverloadReached bool     `json:"overloaded"`   // the overload was one: p99 over the threshold, or not all achieved
	InFlightPeak    int      `json:"in_flight_peak"`
	Dir             string   `json:"dir"` // the run folder
}

// Axis is one dimension of a matrix.
type Axis struct {
	Name   string   `json:"name"` // workload, device, nodes, replication-factor, value-size
	Values []string `json:"values"`
}

// CellState is how far a cell of a matrix is.
type CellState string

// States of a cell.
const (
	CellPending CellState = "pending"
	CellDone    CellState = "done"
	CellFailed  CellState = "failed"
	CellSkipped CellState = "skipped" // cannot be: more copies than nodes
)

// Matrix is matrix.json: the product of its axes, one run or knee each.
type Matrix struct {
	Study
	Axes  []Axis  `json:"axes"`
	SLO   []Limit `json:"slo"` // with one, each cell is a knee search
	Cells []Cell  `json:"cells"`
}

// Cell is one combination of a matrix.
type Cell struct {
	N                 int               `json:"n"`
	Values            map[string]string `json:"values"` // one per axis
	Dir               string            `json:"dir"`    // a run folder, or a folder with knee.json
	State             CellState         `json:"state"`
	Error             string            `json:"error,omitempty"`
	Loop              string            `json:"loop"`
	OfferedOpsPerSec  float64           `json:"offered_ops_per_s"`
	AchievedOpsPerSec float64           `json:"achieved_ops_per_s"`
	KneeOpsPerSec     *float64          `json:"knee_ops_per_s"`
	P50US             *float64          `json:"p50_us"`
	P99US             *float64          `json:"p99_us"`
	Failed            int64             `json:"failed"`
	Lost              int64             `json:"lost"`
	NodeCPUPct        *float64          `json:"node_cpu_pct"` // all nodes together, of one core
	NodeRSSBytes      int64             `json:"node_rss_bytes"`
	Limiting          string            `json:"limiting"`
	LimitingText      string            `json:"limiting_text,omitempty"` // how busy it was; of an unknown one, how busy the busiest was
	Verdict           string            `json:"verdict"`                 // the gravest one
	// Device is what the nodes kept their records on; nil before the cell was
	// run. Cells of different dilation share no axis and no ranking.
	Device *Device `json:"device,omitempty"`
}

// Dilated is by how much the time of the cell's devices is stretched; 1 is
// real time.
func (c *Cell) Dilated() float64 {
	if c.Device == nil || c.Device.Dilation < 1 {
		return 1
	}
	return c.Device.Dilation
}

// Calibration is calibrate.json: what this generator on this machine can do.
type Calibration struct {
	Study
	ClockNS       float64 `json:"clock_ns"`  // of one reading
	NSPerOp       float64 `json:"ns_per_op"` // CPU time of one operation into a null target
	AllocsPerOp   float64 `json:"allocs_per_op"`
	NullOpsPerSec float64 `json:"null_ops_per_s"` // open loop into a null target, all arrivals kept
	Lanes         int     `json:"lanes"`
	CoresAwake    bool    `json:"cores_awake"` // they were kept from sleeping while the rows were measured
	Rows          []Pace  `json:"rows"`
}

// Pace is how late the generator was at one rate into a null target.
type Pace struct {
	Waiter            string      `json:"waiter"` // timer or precise
	RateOpsPerSec     float64     `json:"rate_ops_per_s"`
	AchievedOpsPerSec float64     `json:"achieved_ops_per_s"`
	Lateness          Percentiles `json:"lateness_us"`
	CPUPct            float64     `json:"cpu_pct"` // of one core
}

// WriteStudy writes the document v of a study into dir as name, replacing an
// earlier one in one step. It may be called as often as something is known.
func WriteStudy(dir, name string, v any) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("study folder: %w", err)
	}
	return writeJSON(filepath.Join(dir, name), v)
}

// ReadStudy reads the document name of the study in dir into v, one of the
// types above, and checks its format.
func ReadStudy(dir, name, format string, v any) error {
	path := filepath.Join(dir, name)
	var head struct {
		Format string `json:"format"`
	}
	if err := readJSON(path, &head); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s has no %s: %w", dir, name, os.ErrNotExist)
		}
		return err
	}
	if head.Format != format {
		return fmt.Errorf("%s: format %.40q, this program reads %q: use the version that wrote it", path, head.Format, format)
	}
	return readJSON(path, v)
}

// writeJSON writes v to a new file and renames it over the old one, so that a
// reader or a full disk never leaves half a file.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o644); err != nil {
		_ = os.Remove(path + ".tmp") // the first error is the one to tell
		return err
	}
	return os.Rename(path+".tmp", path)
}
