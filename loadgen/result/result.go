// Package result owns the run folder: the plain files in which one load test
// leaves everything that was measured, and from which every number of a report
// can be recomputed. It writes the folder (Writer) and reads it back (Open).
// It measures nothing and judges nothing.
//
// The files of a run folder:
//
//	run.json         Summary: what was run, operations, audit, faults, verdicts
//	workload.yaml    the workload as run, after every --set
//	environment.json Environment: machine, kernel, versions, steal
//	series.csv       one line per second and operation (SeriesRow)
//	events.csv       faults, views, migrations, audit findings, phases (Event)
//	OP-KIND.hlog     HdrHistogram interval log 1.3 per operation, KIND being
//	                 response, service or lateness; values are nanoseconds, one
//	                 interval per second, absolute time stamps, measured phase only
//	nodes/NODE.csv   samples of each node (NodeSample)
//	devices/NODE.csv how its devices were used (DeviceSample)
//	nodes/NODE.json  the node's last status answer (headroom-status/1) as it came
//	nodes/NODE.log   the end of a local node's log, when the audit found something
//	generator.csv    samples of the generator itself (GeneratorSample)
//	stages.csv       where sampled operations spent their time (StageSample)
//	audit.csv        what the audit counted, second by second (AuditSample)
//	histories.csv    the judged histories of sampled keys (History)
//	waits.csv        the operations around faults by the millisecond (Wait)
//	meters.csv       counters that were read at the ends of a phase (Meter)
//	lanes.hlog       lateness of each lane over the measured phase, one interval each
//	shards/N.json    of a merged run: run.json of each shard
//
// Time axis: t_s = 0 is the start of the measured phase (Summary.MeasuredFrom);
// events of the load and warm-up phases have negative t_s.
//
// series.csv, a line covers [t_s, t_s+1):
//
//	t_s, op
//	offered             operations whose intended start lies in the second
//	ok, failed, in_doubt, not_found  operations completed in the second
//	response_p50_us, response_p90_us, response_p99_us, response_max_us
//	service_p99_us, lateness_p99_us
//	stages_asked, stages_answered   sampled operations that ended in the second, and
//	                    those of them whose node told its stages
//
// A percentile cell is "inf" where failed operations reach it, empty where
// nothing completed; per-second values are points on a curve, not claims, so
// they are not tested for support.
//
// events.csv: t_s (microseconds; to the millisecond in old folders), kind (fault,
// view, migration, audit, phase, settled), node (may be empty), what. A settled
// event says when the cluster had one View, or full redundancy, after a fault.
//
// nodes/NODE.csv: t_s, up (0 or 1), view_key, members, partitions_left,
// bytes_left, masters, copies, rss_bytes, cpu_pct (of one core, over half a second
// or more), unavailable (partitions), used_bytes (of index and records),
// net_busy_pct (of the node's link or receive buffer), net_dropped (datagrams;
// both since the last sample), stop_writes (0 or 1), device_pct (how busy the
// busiest device was since the last sample, of what it can do),
// device_queued_blocks, devices_failed, evicted (records, since the node
// started). Old folders lack columns from unavailable on.
// Cells of a node that is down, and rss and cpu of a remote node, are empty.
//
// generator.csv: t_s, cpu_pct (own, of one core), gc_cpu_pct (of it, for
// collecting), gc_pause_max_us, sched_p99_us (runnable goroutines waiting for a
// thread), host_cpu_pct and steal_pct (of all cores), in_flight, heap_bytes,
// wall_step_ms (how far the wall clock was set), net_busy_pct (of the speed of
// the busiest interface), net_dropped (datagrams that found a full UDP buffer on
// this host), in_flight_peak (the lanes' highest, added up), queued (times that
// the limit held arrivals back), shed (never started), in_flight_s (operations in
// flight times seconds, as sampled), looked_s and looks (over which time, in how
// many samples), target_s (that the operations which ended were at the target).
// Old folders lack columns from net_busy_pct on. Each is over the second before
// t_s; unknown cells are empty.
//
// Several runs make a study (study.go): a folder with one JSON document
// (knee.json, matrix.json, overload.json, calibrate.json) and run folders below.
//
// The invariant to know: histograms hold finite latencies only; operations that
// failed or are in doubt are counted beside them and take part in every
// percentile as infinite latency (see Summarize).
//
// Start reading at Summary.
package result

import "time"

// Format is the format number of run.json. Fields may be added under it, never
// renamed or retyped.
const Format = "headroom-run/1"

// MaxLatency is the highest latency a histogram holds. An operation beyond it
// counts as failed in percentiles, never as dropped: deadlines are seconds, so
// ten minutes means a queue that grew without bound.
const MaxLatency = 10 * time.Minute

// Kind is what a latency histogram measures.
type Kind string

// The three histograms of each operation.
const (
	Response Kind = "response" // completion - intended start: what a user waits
	Service  Kind = "service"  // completion - real submission: what the target took
	// Lateness is real submission - intended start, the generator's own fault. An
	// operation that the in-flight limit or a write of its key held back has none.
	Lateness Kind = "lateness"
)

// Kinds lists the histogram kinds in the order in which they are printed.
var Kinds = [...]Kind{Response, Service, Lateness}

// Summary is run.json.
type Summary struct {
	Format   string    `json:"format"`
	ID       string    `json:"id"`
	Command  []string  `json:"command"`
	Started  time.Time `json:"started"`
	Target   string    `json:"target"`
	Workload Workload  `json:"workload"`
	// Loop is "open" or "closed"; a closed run's latencies say nothing about
	// an independent arrival stream (rule R1).
	Loop              string               `json:"loop"`
	OfferedOpsPerSec  float64              `json:"offered_ops_per_s"`
	AchievedOpsPerSec float64              `json:"achieved_ops_per_s"`
	DurationSec       float64              `json:"duration_s"`
	Operations        map[string]Operation `json:"operations"`
	Audit             Audit                `json:"audit"`
	Faults            []Fault              `json:"faults"`
	// Conflicts are the acknowledged versions that the nodes have discarded,
	// since they were started or since the run before on the same nodes, when a
	// split healed.
	Conflicts []Conflict `json:"conflicts_discarded,omitempty"`
	Verdicts  []Verdict  `json:"verdicts"`

	// MeasuredFrom is t_s = 0 of every CSV file.
	MeasuredFrom time.Time `json:"measured_from"`
	Generator    Generator `json:"generator"`
	// Interrupted is true when the run was stopped before its duration ended.
	Interrupted bool `json:"interrupted"`

	// Schedule is the offered load in words: "20k/s", "ramp 1k/s to 20k/s in
	// 1m0s". In a closed loop it names the clients and their think time.
	Schedule string `json:"schedule"`
	// All is every operation together.
	All Operation `json:"all"`
	// GoodputOpsPerSec counts the operations that succeeded within the SLO's
	// latency, without an SLO within their deadline.
	GoodputOpsPerSec float64 `json:"goodput_ops_per_s"`
	// SLO are the limits given with the run, and SLOTests what became of them.
	SLO    []LimitTest `json:"slo,omitempty"`
	Steady Steady      `json:"steady"`
	// NothingFromSec is the t_s from which on to the end nothing succeeded, when
	// that was three seconds or more.
	NothingFromSec *float64 `json:"nothing_from_s,omitempty"`
	// Use is how busy the resources were, the busiest first.
	Use []Use `json:"use,omitempty"`
	// Device is what the local nodes keep their records on; nil for a target
	// that the run did not start.
	Device *Device `json:"device,omitempty"`
	// Stages says where the time of sampled operations went; nil when none was
	// sampled.
	Stages *Stages `json:"stages,omitempty"`
	// Shard is set when this run is one of several that load one target.
	Shard *Shard `json:"shard,omitempty"`
	// Merged lists the shards that this folder was merged from.
	Merged []Shard `json:"merged,omitempty"`
	// Files are the raw files, from which every number above can be computed
	// again. Empty in folders of old versions, which lack some.
	Files []File `json:"files,omitempty"`
}

// Conflict counts discarded acknowledged versions of one namespace and cause:
// "merge", while copies were merged, or "access", when a client asked for the
// record before that.
type Conflict struct {
	Namespace string `json:"namespace"`
	Cause     string `json:"cause"`
	Discarded int64  `json:"discarded"`
}

// Steady is the part of the measured phase in which nothing drifted, by Rule.
// A run without one has no headline figure (rule R5).
type Steady struct {
	Rule    string  `json:"rule"` // in words, with its numbers
	Reached bool    `json:"reached"`
	FromSec float64 `json:"from_s"` // t_s; what lies before is warm-up by the rule
	ToSec   float64 `json:"to_s"`   // the end, or the first fault
	Why     string  `json:"why"`    // not reached, or not judged
	// Response holds the response times of [FromSec, ToSec) alone, per
	// operation, when reached.
	Response map[string]Percentiles `json:"response_us,omitempty"`
}

// Shard is one part of a load that several processes make together.
type Shard struct {
	ID      string    `json:"id"`    // of the run
	Index   int       `json:"index"` // 0 to Of-1
	Of      int       `json:"of"`
	StartAt time.Time `json:"start_at"` // planned start of the measured phase
	// ClockOffsetMS is this machine's wall clock less the reference's, within
	// ClockErrorMS. It moves the time axis, never a latency. ClockSource says how
	// it was found: "target" (quickest of several questions to a node), "kernel"
	// (the kernel's own estimate against its time source) or "unknown".
	ClockOffsetMS *float64 `json:"clock_offset_ms"`
	ClockErrorMS  *float64 `json:"clock_error_ms"`
	ClockSource   string   `json:"clock_source"`
	// ClockReference is the node that "target" compares with.
	ClockReference string `json:"clock_reference,omitempty"`
}

// Device is the device of local nodes. Times of an emulated device are Dilation
// times those of the real one, and rates as many times lower: runs of different
// dilation share no axis and no ranking.
type Device struct {
	Spec     string  `json:"spec"`  // as given: dram, file:PATH, emulated:PROFILE@DILATION
	Class    string  `json:"class"` // what lies below, or what an emulated one stands for
	Why      string  `json:"why"`   // on what ground
	Profile  string  `json:"profile,omitempty"`
	Dilation float64 `json:"dilation"` // 1: real time
}

// Workload names what was run. Runs of different SHA256 are not comparable.
type Workload struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"` // of workload.yaml
}

// Generator is how the load was made and what the generator says of itself.
type Generator struct {
	Lanes        int     `json:"lanes"`
	Seed         uint64  `json:"seed"`
	Arrivals     string  `json:"arrivals"`       // poisson, constant or closed
	InFlightMax  int     `json:"in_flight_max"`  // the limit, over all lanes
	InFlightPeak int     `json:"in_flight_peak"` // of the highest second, sum of the lanes' peaks
	Queued       int64   `json:"queued"`         // times that the in-flight limit held arrivals back
	WarmupSec    float64 `json:"warmup_s"`
	LoadSec      float64 `json:"load_s"`
	LoadedRecs   int64   `json:"loaded_records"`
	DeadlineMS   float64 `json:"deadline_ms"`
	// CalibratedOpsPerSec is the closed-loop rate found by a calibration, zero without one.
	CalibratedOpsPerSec float64 `json:"calibrated_ops_per_s"`
	LocalNodes          int     `json:"local_nodes"` // nodes sharing this host, zero for a remote target
	CPUPct              float64 `json:"cpu_pct"`     // own CPU in the measured phase, of one core
	StealPct            float64 `json:"steal_pct"`   // of all cores, from /proc/stat

	SharedHost bool    `json:"shared_host"` // the target, or a part of it, is on this machine
	Precise    bool    `json:"precise"`     // lanes spin before an arrival
	CoresAwake bool    `json:"cores_awake"` // they were kept from sleeping
	ThinkMS    float64 `json:"think_ms"`    // of closed clients
	Shed       int64   `json:"shed"`        // offered and never started: failed
	GOMAXPROCS int     `json:"gomaxprocs"`
	// CouldOpsPerSec is what this generator offered to a null target just before
	// the run with the same workload and lanes; 0: not tried. CouldOverOffered is
	// it in units of the offered rate.
	CouldOpsPerSec   float64  `json:"could_ops_per_s"`
	CouldOverOffered *float64 `json:"could_over_offered"`
	// InFlightMean is sampled; LittleResidual is its difference from rate times
	// mean service time, as a share of the greater; nil with too few samples or
	// less than 1 in flight.
	InFlightMean    float64  `json:"in_flight_mean"`
	InFlightSamples int64    `json:"in_flight_samples"`
	LittleResidual  *float64 `json:"little_residual"`
	// WorstLaneLatenessUS is the highest p99 of the lateness of any lane.
	WorstLaneLatenessUS *float64    `json:"worst_lane_lateness_p99_us"`
	GCCPUPct            float64     `json:"gc_cpu_pct"` // of one core
	GCPauseMaxUS        float64     `json:"gc_pause_max_us"`
	SchedP99US          float64     `json:"sched_p99_us"`
	WallStepMS          float64     `json:"wall_step_ms"` // how far the wall clock was set in the run, either way
	Lateness            Percentiles `json:"lateness_us"`  // of all operations together
}

// Operation is the summary of one operation kind over the measured phase.
// Count = OK + Failed + InDoubt; NotFound is a part of OK.
type Operation struct {
	Count    int64       `json:"count"`
	OK       int64       `json:"ok"`
	Failed   int64       `json:"failed"`
	InDoubt  int64       `json:"in_doubt"`
	NotFound int64       `json:"not_found"`
	Response Percentiles `json:"response_us"`
	Service  Percentiles `json:"service_us"`
	Lateness Percentiles `json:"lateness_us"`
}

// Percentiles are latencies in microseconds. A nil one is named in Unsupported
// (too few samples to bound it) or Infinite (failed operations reach it).
type Percentiles struct {
	P50         *float64 `json:"p50"`
	P90         *float64 `json:"p90"`
	P99         *float64 `json:"p99"`
	P999        *float64 `json:"p99_9"`
	Max         *float64 `json:"max"`
	Samples     int64    `json:"samples"` // finite and infinite together
	Unsupported []string `json:"unsupported"`
	Infinite    []string `json:"infinite"`
	// Wide names percentiles that have an interval (CI99) but fewer samples
	// than rule R3 wants for a margin of (1-p)/20 at 99 % confidence.
	Wide []string `json:"wide"`
	// CI99 holds the 99 % confidence interval [low, high] in microseconds of
	// each supported, finite percentile, from order statistics; an upper end
	// reached by failed operations is nil. Samples are taken as independent.
	CI99 map[string][2]*float64 `json:"ci99"`
	// Boot95 holds 95 % intervals from a block bootstrap over the seconds of the
	// run, which counts their correlation: quote these. Empty below 10 seconds.
	Boot95 map[string][2]*float64 `json:"boot95,omitempty"`
}

// Audit counts what the values read and read back say about the target.
type Audit struct {
	Enabled            bool  `json:"enabled"`
	AcknowledgedWrites int64 `json:"acknowledged_writes"`
	Lost               int64 `json:"lost"`            // keys whose last acknowledged write was gone at the final read-back
	StaleReads         int64 `json:"stale_reads"`     // reads older than a write acknowledged before the read was submitted
	Corrupt            int64 `json:"corrupt"`         // values whose checksum, key or length is wrong
	FalseNotFound      int64 `json:"false_not_found"` // "not found" for a key with an acknowledged write
	InDoubtWrites      int64 `json:"in_doubt_writes"`
	// ReadBack keys of KeysWritten were read at the end; ReadBackFailed could
	// not be read. Lost is a count over the ReadBack keys.
	KeysWritten    int64   `json:"keys_written"`
	ReadBack       int64   `json:"read_back"`
	ReadBackFailed int64   `json:"read_back_failed"`
	StaleAgeMaxMS  float64 `json:"stale_age_max_ms"`
	Why            string  `json:"why,omitempty"` // why it was off
	// What the audit itself costs: measured on this machine after the run, and
	// the share of one core at the run's rate.
	CostReadNS  float64    `json:"cost_read_ns"`
	CostWriteNS float64    `json:"cost_write_ns"`
	CostCPUPct  float64    `json:"cost_cpu_pct"`
	Linear      *Linearity `json:"linearizability,omitempty"`
}

// Linearity is what became of the histories of a few sampled keys: for each,
// whether its operations could have happened one at a time.
type Linearity struct {
	Promised   bool `json:"promised"` // by the target
	Keys       int  `json:"keys"`
	Windows    int  `json:"windows"` // stretches of a key's history that were judged
	Operations int  `json:"operations"`
	Violations int  `json:"violations"` // windows without any possible order
	Undecided  int  `json:"undecided"`  // not judged within the time
}

// Fault is one injected fault. Nil fields were not observed.
type Fault struct {
	AtSec float64 `json:"at_s"`
	What  string  `json:"what"` // kill, term, stop, cont, start
	Node  string  `json:"node"`
	// GapMS is the longest completion - intended start among operations
	// intended from 1 s before to 5 s after the fault, a failed one counting
	// its deadline.
	GapMS   *float64 `json:"gap_ms"`
	Failed  int64    `json:"failed"`   // in the same window
	InDoubt int64    `json:"in_doubt"` // in the same window
	// OneViewMS is fault to the last survivor's commit of the View without
	// (or, for start and cont, with) the node.
	OneViewMS *float64 `json:"one_view_ms"`
	// RedundancyRestoredSec is fault to the first moment when no member had a
	// migration left, in the View that followed it.
	RedundancyRestoredSec *float64 `json:"redundancy_restored_s"`
}

// Level is how much a Verdict weighs.
type Level string

// Verdict levels.
const (
	Fail Level = "fail" // the run's figures must not be used as the target's
	Warn Level = "warn"
	Info Level = "info"
)

// Verdict is one judgement about the run. Rule is a rule of the methodology
// (R1 to R15) or a word such as AUDIT or GENERATOR-LIMITED.
type Verdict struct {
	Rule  string `json:"rule"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Environment is environment.json: where the run was made.
type Environment struct {
	Kernel     string            `json:"kernel"`
	CPUModel   string            `json:"cpu_model"`
	Cores      int               `json:"cores"`
	MemBytes   uint64            `json:"mem_bytes"`
	GoVersion  string            `json:"go_version"`
	GOMAXPROCS int               `json:"gomaxprocs"`
	GOOS       string            `json:"goos"`
	GOARCH     string            `json:"goarch"`
	GitSHA     string            `json:"git_sha"` // empty when the binary does not know
	GitDirty   bool              `json:"git_dirty"`
	Governor   string            `json:"governor"`
	Clock      string            `json:"clock_source"`
	LoadAvg    string            `json:"load_avg"` // at the start of the run
	StealPct   float64           `json:"steal_pct"`
	Flags      map[string]string `json:"flags"` // node keys given with --set
}

// GeneratorSample is a line of generator.csv. Negative is unknown.
type GeneratorSample struct {
	TSec         float64
	CPUPct       float64 // own, of one core
	GCCPUPct     float64 // of one core
	GCPauseMaxUS float64
	SchedP99US   float64
	HostCPUPct   float64 // of all cores
	StealPct     float64 // of all cores
	InFlight     int
	HeapBytes    int64
	WallStepMS   float64 // absolute
	NetBusyPct   float64 // of the speed of the host's busiest interface that tells its own
	NetDropped   int64   // datagrams of the whole host for which a UDP buffer had no room

	// What the lanes say of the second.
	InFlightPeak int     // sum of the lanes' highest
	Queued, Shed int64   // arrivals held back by the in-flight limit; never started
	InFlightSec  float64 // sampled operations in flight, times seconds
	LookedSec    float64 // seconds of these samples
	Looks        int64   // their number
	TargetSec    float64 // that the operations which ended were at the target, added up
}

// SeriesRow is a line of series.csv. Percentiles are microseconds, +Inf where
// failed operations reach them, NaN where nothing completed.
type SeriesRow struct {
	TSec     int
	Op       string
	Offered  int64
	OK       int64
	Failed   int64
	InDoubt  int64
	NotFound int64

	ResponseP50US, ResponseP90US, ResponseP99US, ResponseMaxUS float64
	ServiceP99US, LatenessP99US                                float64

	// Sampled operations that ended, and those whose stages are known; negative in
	// old folders.
	StagesAsked, StagesAnswered int64
}

// EventKind is the kind column of events.csv.
type EventKind string

// Kinds of events.
const (
	EventFault     EventKind = "fault"
	EventView      EventKind = "view"
	EventMigration EventKind = "migration"
	EventAudit     EventKind = "audit"
	EventPhase     EventKind = "phase"
	EventSettled   EventKind = "settled"
)

// Event is a line of events.csv.
type Event struct {
	TSec float64
	Kind EventKind
	Node string // "node3", or empty
	What string // one line of text
}

// NodeSample is a line of nodes/NODE.csv. The fields after Up mean nothing
// when Up is false; a negative RSSBytes or CPUPct is unknown (empty cell).
// DevicePct is how busy the busiest device was since the sample before, of what
// its busiest resource can do; negative: unknown, or in memory.
type NodeSample struct {
	TSec           float64
	Up             bool
	ViewKey        string
	Members        int
	PartitionsLeft int64
	BytesLeft      int64
	Masters        int64
	Copies         int64
	RSSBytes       int64
	CPUPct         float64
	Unavailable    int64 // partitions that the node knows to be unavailable
	StopWrites     bool  // a namespace of the node refuses writes: it has no room
	DevicePct      float64
	DeviceQueued   int64 // write blocks that wait for the node's devices
	DevicesFailed  int64
	Evicted        int64 // records removed before their time to make room, since the node started
	UsedBytes      int64 // of index and records in memory, of records on devices (their index is not counted)
	// Since the last sample, negative when unknown: the use of the node's link or
	// receive buffer, and datagrams for which the buffer had no room.
	NetBusyPct float64
	NetDropped int64
}
