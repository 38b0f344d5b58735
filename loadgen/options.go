package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/pace"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
	"headroom/workloads/strict"
	"headroom/workloads/units"
)

// rateAuto as --rate means: a quarter of what a short closed loop reaches.
const rateAuto = "auto"

// options is a parsed and checked `run` command line.
type options struct {
	args        []string
	workload    *workloads.Workload
	target      string      // as given, for run.json
	spec        target.Spec // of a remote target
	null        bool
	nodes       int
	binary      string // of local nodes
	nodeFlags   map[string]string
	storage     storage       // of local nodes
	overwrite   bool          // a device target holds data that may go
	made        string        // file that a device target makes, to be removed
	profile     *pace.Profile // nil with closed, trace or auto
	trace       []time.Duration
	auto        bool
	closed      int
	think       time.Duration
	precise     bool
	slo         []result.Limit
	shard       *result.Shard // nil: this process makes the whole load
	arrivals    drive.Arrivals
	duration    time.Duration
	warmup      time.Duration
	deadline    time.Duration
	readBack    time.Duration
	seed        uint64
	lanes       int
	inFlight    int
	faults      []local.Fault
	out         string
	json        bool
	audit       bool
	waterfall   int // drive.Config's
	credentials string
	insecure    bool
	namespace   string
	linkSpeed   int64 // bits a second, of all machines; zero: what they tell
}

// raw is the command line before its values are read.
type raw struct {
	rate, arrivals, duration, warmup, deadline, readBack, device string
	trace, think, precise, shard, startAt, waterfall, linkSpeed  string
	sets, faults, slo                                            []string
	closed                                                       bool // was given
}

// addRun adds the flags that only `run` has: what is offered when.
func addRun(f *pflag.FlagSet, o *options, r *raw) {
	f.StringVar(&r.rate, "rate", "", "open loop: 20k/s, 'ramp 1k/s 20k/s 60s', 'steps 1k/s,5k/s 10s', 'sine 10k/s 5k/s 30s'; auto takes a quarter of what a 3 s closed loop reaches (default auto)")
	f.StringVar(&r.trace, "trace", "", "open loop: replay the intended starts in `FILE`, seconds, one a line")
	f.IntVar(&o.closed, "closed", 0, "closed loop with this many clients, each waiting for its answer, instead of --rate")
	f.StringVar(&r.think, "think", "0s", "rest of a closed client between an answer and its next operation")
	f.StringVar(&r.duration, "duration", "", "length of the measured phase (default 30s, or as long as the trace or the workload's stages)")
	f.StringVar(&r.warmup, "warmup", "5s", "length of the phase before it, driven and not measured")
	f.StringArrayVar(&r.faults, "fault", nil, "`'kill node3 @10s'` (or @40%): kill, term, stop, cont, start, fail-device, corrupt-device, fill or empty of node1…, all or random; local nodes; repeatable (default those of the workload)")
	f.StringVar(&r.shard, "shard", "", "`I/N`: make part I (0 to N-1) of the load, with records of its own; merge joins the runs")
	f.StringVar(&r.startAt, "start-at", "", "`TIME` at which all shards start measuring: 2026-11-22T22:00:00Z or seconds since 1970")
	f.StringArrayVar(&r.slo, "slo", nil, "`p99=2ms` or get.p99_9=10ms: a limit that the run must hold, else exit 3; repeatable")
}

// addCommon adds the flags of all commands that put load on something.
func addCommon(f *pflag.FlagSet, o *options, r *raw) {
	f.StringVar(&o.target, "target", "", "what to load: `quic://HOST:PORT,…` (Headroom), redis://…, memcached://…, aerospike://HOST:PORT/NAMESPACE, device:PATH (a file that is made, or a block device); null: measures the generator alone")
	f.BoolVar(&o.overwrite, "overwrite", false, "the PATH of --target device:PATH holds data: destroy it")
	f.IntVar(&o.nodes, "local-nodes", 0, "start this many node processes on this machine instead")
	f.StringVar(&r.arrivals, "arrivals", string(drive.ArrivePoisson), "poisson or constant")
	f.StringVar(&r.deadline, "deadline", "2s", "of each operation")
	f.Uint64Var(&o.seed, "seed", 1, "of arrivals, keys and values")
	f.StringVar(&o.out, "out", "", "run folder to write (default runs/WORKLOAD-TIME)")
	f.BoolVar(&o.json, "json", false, "print run.json on stdout instead of the table")
	f.StringVar(&r.device, "device", "dram", "storage of local nodes: dram, file[:DIR], or emulated:PROFILE[@DILATION] (nvme, sata-ssd, hdd, cloud-network, FILE.yaml)")
	f.StringArrayVar(&r.sets, "set", nil, "override `KEY=VALUE` of the workload (records, value-size, mix.get, …) or of local nodes (replication-factor, …); repeatable")
	f.BoolVar(&o.audit, "audit", true, "count lost writes, stale reads, corrupt values and false not-founds")
	f.StringVar(&r.readBack, "read-back", "30s", "at most this long for reading all written keys at the end")
	f.StringVar(&r.waterfall, "waterfall", "auto", "ask one operation in `N` where its time went; off: none; auto: 100 a second of each kind, one in 10 to 1000")
	f.StringVar(&o.credentials, "credentials", "", "`DIR` of the client's credentials for --target")
	f.BoolVar(&o.insecure, "insecure", false, "believe the target's nodes without proof")
	f.StringVar(&o.namespace, "namespace", "default", "namespace to load")
	f.StringVar(&r.linkSpeed, "link-speed", "", "of the machines' network interfaces, such as `10Gb/s`, where they do not tell it (virtual machines): so that the network can be named as the limit")
	f.IntVar(&o.lanes, "lanes", 0, "goroutines that issue load (default one per core)")
	f.IntVar(&o.inFlight, "in-flight", 0, "most operations in flight (default 1.5 deadlines of the rate)")
	f.StringVar(&r.precise, "precise", "auto", "on: lanes spin before an arrival, a core each; off: a timer; auto: on with 8 cores or more that no local node shares")
}

// loadCommand is a command that puts a workload on a target.
type loadCommand struct {
	name, form string
	add        func(*pflag.FlagSet, *options, *raw)
	finish     func(*options, *raw) error // after everything else is read
}

// parse reads the command line of c. Its errors are usage errors.
func (c *loadCommand) parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{args: args, nodeFlags: map[string]string{}}
	r := &raw{warmup: "5s", think: "0s"}
	f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	f.SortFlags = false
	c.add(f, o, r)
	addCommon(f, o, r)
	f.SetOutput(stdout)
	f.Usage = func() {
		fmt.Fprintf(stdout, "usage: headroom-loadgen %s [flags]\n\n%s", c.form, f.FlagUsagesWrapped(100))
	}
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil, err
		}
		return nil, usageError{fmt.Errorf("%w; 'headroom-loadgen %s --help' lists the flags", err, c.name)}
	}
	r.closed = f.Changed("closed")
	if f.NArg() != 1 {
		return nil, usagef("%s wants one workload, got %d: a file or one of %s", c.name, f.NArg(), strings.Join(workloads.Names(), ", "))
	}
	var err error
	if o.workload, err = workloads.Load(f.Arg(0)); err != nil {
		return nil, usageError{err}
	}
	steps := []func() error{
		func() error { return o.parseTarget(r) }, func() error { return o.parseLoad(r) },
		func() error { return o.parseSets(r.sets) }, func() error { return o.parseFaults(r.faults) },
		func() error { return o.parseSLO(r.slo) }, func() error { return o.parseWaterfall(r.waterfall) }, o.workload.Validate,
	}
	steps = append(steps, func() error { return o.parseShard(r.shard, r.startAt) }, o.parseDevice)
	if c.finish != nil {
		steps = append(steps, func() error { return c.finish(o, r) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, usageError{err}
		}
	}
	if o.out == "" {
		o.out = fmt.Sprintf("runs/%s-%s", o.workload.Name, time.Now().UTC().Format("20060102-150405"))
		if c.name != "run" {
			o.out = fmt.Sprintf("runs/%s-%s-%s", c.name, o.workload.Name, time.Now().UTC().Format("20060102-150405"))
		}
	}
	return o, nil
}

var runCommand = loadCommand{name: "run", form: "run WORKLOAD (--local-nodes N | --target quic://HOST:PORT,…)", add: addRun}

func (o *options) parseTarget(r *raw) error {
	switch {
	case (o.target == "") == (o.nodes == 0):
		return fmt.Errorf("give either --target quic://HOST:PORT,… or --local-nodes N")
	case o.nodes < 0 || o.nodes > local.MaxNodes:
		return fmt.Errorf("--local-nodes %d: want 1 to %d", o.nodes, local.MaxNodes)
	case o.nodes > 0 && r.linkSpeed != "":
		return fmt.Errorf("--link-speed is of the machines of a --target; local nodes share one")
	case o.nodes > 0:
		o.target = fmt.Sprintf("local:%d", o.nodes)
		var err error
		if o.binary, err = local.FindNode(); err != nil {
			return err
		}
		o.storage, err = parseStorage(r.device, o.binary)
		return err
	case r.device != "dram":
		return fmt.Errorf("--device %s says what local nodes keep records on: it needs --local-nodes", r.device)
	}
	var err error
	if r.linkSpeed != "" {
		speed, err := units.ParseBits(r.linkSpeed)
		if err != nil {
			return fmt.Errorf("--link-speed: %w", err)
		}
		o.linkSpeed = int64(speed)
	}
	if o.spec, err = target.ParseSpec(o.target); err != nil {
		return fmt.Errorf("--target %w", err)
	}
	o.null = o.spec.Scheme == "null"
	return nil
}

func (o *options) parseLoad(r *raw) (err error) {
	given := 0
	for _, g := range []bool{r.rate != "", o.closed != 0, r.trace != ""} {
		if g {
			given++
		}
	}
	if given > 1 {
		return fmt.Errorf("--rate and --trace are open loops and --closed a closed one: give one of them")
	}
	switch {
	case o.closed < 0 || o.closed > drive.MaxClosed || o.closed == 0 && r.closed:
		return fmt.Errorf("--closed %d: want 1 to %d", o.closed, drive.MaxClosed)
	case o.closed > 0:
	case r.trace != "":
		if o.trace, err = readTrace(r.trace); err != nil {
			return err
		}
	case r.rate == "" || r.rate == rateAuto:
		o.auto = true
	default:
		if o.profile, err = pace.ParseProfile(r.rate); err != nil {
			return fmt.Errorf("--rate: %w, or auto", err)
		}
	}
	o.arrivals = drive.Arrivals(r.arrivals)
	if o.arrivals != drive.ArrivePoisson && o.arrivals != drive.ArriveConstant {
		return fmt.Errorf("--arrivals %q: want poisson or constant", r.arrivals)
	}
	if err := o.parseDurations(r); err != nil {
		return err
	}
	if o.think > 0 && o.closed == 0 {
		return fmt.Errorf("--think is the rest of the clients of --closed")
	}
	if o.lanes < 0 || o.lanes > drive.MaxLanes || o.inFlight < 0 || o.inFlight > drive.MaxInFlight {
		return fmt.Errorf("--lanes %d, --in-flight %d: want at most %d and %d, 0 for the default", o.lanes, o.inFlight, drive.MaxLanes, drive.MaxInFlight)
	}
	if p := o.profile; p != nil && p.Flat() && len(o.workload.Stages) > 0 {
		o.profile = drive.StagesProfile(o.workload, p.Peak(), o.duration)
	}
	return o.parsePrecise(r.precise)
}

func readTrace(path string) ([]time.Duration, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--trace: there is no file %s: give one with an intended start in seconds on each line", path)
	} else if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	defer f.Close()
	return pace.ReadTrace(path, f)
}

// preciseCores is how many cores a machine has on which lanes may hold theirs.
const preciseCores = 8

// parsePrecise decides whether lanes spin; then half of the cores are lanes.
func (o *options) parsePrecise(s string) error {
	switch s {
	case "on":
		o.precise = true
	case "off":
	case "auto":
		o.precise = o.nodes == 0 && o.closed == 0 && runtime.NumCPU() >= preciseCores
	default:
		return fmt.Errorf("--precise %q: want on, off or auto", s)
	}
	if o.precise && o.lanes == 0 {
		o.lanes = min(drive.MaxLanes, max(1, runtime.GOMAXPROCS(0)/2))
	}
	return nil
}

func (o *options) parseDurations(r *raw) (err error) {
	switch {
	case r.duration != "":
	case len(o.trace) > 0:
		r.duration = max(time.Second, o.trace[len(o.trace)-1]+time.Second-o.traceWarmup(r)).String()
	case o.workload.Span() > 0:
		r.duration = o.workload.Span().String()
	default:
		r.duration = "30s"
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
		least      time.Duration
	}{{"duration", r.duration, &o.duration, time.Second}, {"warmup", r.warmup, &o.warmup, 0},
		{"deadline", r.deadline, &o.deadline, time.Millisecond}, {"read-back", r.readBack, &o.readBack, 0},
		{"think", r.think, &o.think, 0}} {
		if *d.to, err = units.ParseDuration(d.text); err != nil {
			return fmt.Errorf("--%s: %w", d.name, err)
		}
		if *d.to < d.least || *d.to > drive.MaxPhase {
			return fmt.Errorf("--%s %s: want %v to %d days", d.name, d.text, d.least, drive.MaxPhase/(24*time.Hour))
		}
	}
	return nil
}

// parseWaterfall reads how often operations are sampled.
func (o *options) parseWaterfall(text string) error {
	switch text {
	case "auto", "":
		return nil
	case "off":
		o.waterfall = drive.NoWaterfall
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1e9 {
		return fmt.Errorf("--waterfall %q: want auto, off or a number of operations, such as 1000", text)
	}
	o.waterfall = n
	return nil
}

// traceWarmup is how much of a trace is warm-up.
func (o *options) traceWarmup(r *raw) time.Duration {
	d, _ := units.ParseDuration(r.warmup) // a wrong one is told of in its place
	return d
}

// parseSLO reads "p99=2ms" and "get.p99_9=10ms".
func (o *options) parseSLO(texts []string) error {
	for _, t := range texts {
		limit, err := parseLimit(t)
		if err != nil {
			return err
		}
		if limit.Op != "" && !o.has(limit.Op) {
			return fmt.Errorf("--slo %s: the workload has no operation %q", t, limit.Op)
		}
		o.slo = append(o.slo, limit)
	}
	return nil
}

func (o *options) has(op string) bool {
	for i := range workloads.Ops {
		if o.workload.Issues(i) && i.String() == op {
			return true
		}
	}
	return false
}

// shares are the percentiles that a limit may be put on.
var shares = map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999, "p99_99": 0.9999}

func parseLimit(t string) (result.Limit, error) {
	wrong := fmt.Errorf("--slo %q: want [OPERATION.]PERCENTILE=TIME, such as p99=2ms or get.p99_9=10ms, with p50, p90, p95, p99, p99_9 or p99_99", t)
	left, right, ok := strings.Cut(t, "=")
	if !ok {
		return result.Limit{}, wrong
	}
	var limit result.Limit
	if i := strings.Index(left, ".p"); i > 0 {
		limit.Op, left = left[:i], left[i+1:]
	}
	limit.Percentile = strings.ReplaceAll(left, ".", "_")
	limit.P = shares[limit.Percentile]
	d, err := units.ParseDuration(right)
	if limit.P == 0 || err != nil || d <= 0 {
		return result.Limit{}, wrong
	}
	limit.LatencyUS = float64(d) / 1e3
	return limit, nil
}

// parseSets applies --set to the workload or collects it for the nodes. A key
// that both know needs the prefix "workload." or "node.".
func (o *options) parseSets(sets []string) error {
	var nodeKeys []string
	if o.nodes > 0 && len(sets) > 0 {
		var err error
		if nodeKeys, err = local.NodeKeys(o.binary); err != nil {
			return err
		}
	}
	for _, s := range sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("--set %q: want KEY=VALUE", s)
		}
		if err := o.set(strings.TrimSpace(key), value, nodeKeys); err != nil {
			return fmt.Errorf("--set %s: %w", s, err)
		}
	}
	if len(o.nodeFlags) == 0 {
		return nil
	}
	flags := maps.Clone(o.nodeFlags)
	if o.storage.prefix != nil {
		flags["device"] = *o.storage.prefix + "node1.device" // some keys need one
	}
	return local.CheckFlags(o.binary, flags)
}

func (o *options) set(key, value string, nodeKeys []string) error {
	forWorkload, forNode := workloads.Has(key), slices.Contains(nodeKeys, key)
	if k, ok := strings.CutPrefix(key, "workload."); ok {
		key, forWorkload, forNode = k, true, false
	}
	if k, ok := strings.CutPrefix(key, "node."); ok {
		key, forWorkload, forNode = k, false, true
		if o.nodes == 0 {
			return fmt.Errorf("node keys need --local-nodes")
		}
		if !slices.Contains(nodeKeys, k) {
			return unknown(k, nodeKeys)
		}
	}
	switch {
	case forWorkload && forNode:
		return fmt.Errorf("both the workload and the nodes have this key: write workload.%s or node.%s", key, key)
	case forWorkload:
		return o.workload.Set(key, value)
	case forNode:
		o.nodeFlags[key] = value
		return nil
	}
	return unknown(key, append(workloads.Keys(), nodeKeys...))
}

// set1 applies KEY=VALUE to the workload alone.
func (o *options) set1(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("--set %q: want KEY=VALUE", s)
	}
	return o.set(strings.TrimSpace(key), value, nil)
}

func unknown(key string, known []string) error {
	if near := strict.Nearest(key, known); near != "" {
		return fmt.Errorf("unknown key %q: did you mean %q?", key, near)
	}
	return fmt.Errorf("unknown key %q: want one of %s", key, strings.Join(known, ", "))
}

// atShare replaces an instant in percent of the measured phase, "kill node3
// @40%", by its time.
func atShare(fault string, length time.Duration) (string, error) {
	text, ok := strings.CutSuffix(fault, "%")
	at := strings.LastIndexByte(text, '@')
	if !ok || at < 0 {
		return fault, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text[at+1:]), 64)
	if err != nil || !(v >= 0 && v < 100) {
		return "", fmt.Errorf("fault %q: want a share of the measured phase from 0%% to below 100%%, or a time", fault)
	}
	return fmt.Sprintf("%s@%v", text[:at], time.Duration(v/100*float64(length)).Round(time.Millisecond)), nil
}

func (o *options) parseFaults(texts []string) error {
	if len(texts) > 0 && o.nodes == 0 {
		return fmt.Errorf("--fault works on --local-nodes only")
	}
	// A workload's own faults happen unless others are asked for, and only
	// where there are nodes to hit: what they cost is part of its story.
	if len(texts) == 0 && o.nodes > 0 && o.args[1] == "run" {
		texts = o.workload.Faults
	}
	for _, t := range texts {
		t, err := atShare(t, o.duration)
		if err != nil {
			return err
		}
		f, err := local.ParseFault(t)
		if err != nil {
			return err
		}
		if err := f.Check(o.nodes, o.duration); err != nil {
			return err
		}
		if (f.Action == local.FailDevice || f.Action == local.CorruptDevice) && o.storage.prefix == nil {
			return fmt.Errorf("fault %q: the nodes keep their records in memory: give --device file or --device emulated:PROFILE", f)
		}
		o.faults = append(o.faults, f)
	}
	slices.SortStableFunc(o.faults, func(a, b local.Fault) int { return int(a.At - b.At) })
	return nil
}
