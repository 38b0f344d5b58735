package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/target"
	"headroom/workloads"
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
	rate        units.Rate // zero with closed or auto
	auto        bool
	closed      int
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
	credentials string
	insecure    bool
	namespace   string
}

// raw is the command line before its values are read.
type raw struct {
	rate, arrivals, duration, warmup, deadline, readBack, device string
	sets, faults                                                 []string
}

func flags(o *options, r *raw) *pflag.FlagSet {
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&o.target, "target", "", "what to load: `quic://HOST:PORT,…` (Headroom), redis://…, memcached://…, aerospike://HOST:PORT/NAMESPACE; null: measures the generator alone")
	f.IntVar(&o.nodes, "local-nodes", 0, "start this many node processes on this machine instead")
	f.StringVar(&r.rate, "rate", "", "open loop, for example 20k/s; auto takes a quarter of what a 3 s closed loop reaches (default auto)")
	f.IntVar(&o.closed, "closed", 0, "closed loop with this many operations in flight instead of --rate")
	f.StringVar(&r.arrivals, "arrivals", string(drive.ArrivePoisson), "poisson or constant")
	f.StringVar(&r.duration, "duration", "30s", "length of the measured phase")
	f.StringVar(&r.warmup, "warmup", "5s", "length of the phase before it, driven and not measured")
	f.StringVar(&r.deadline, "deadline", "2s", "of each operation")
	f.Uint64Var(&o.seed, "seed", 1, "of arrivals, keys and values")
	f.StringVar(&o.out, "out", "", "run folder to write (default runs/WORKLOAD-TIME)")
	f.BoolVar(&o.json, "json", false, "print run.json on stdout instead of the table")
	f.StringVar(&r.device, "device", "dram", "storage of local nodes; this version has dram")
	f.StringArrayVar(&r.sets, "set", nil, "override `KEY=VALUE` of the workload (records, value-size, mix.get, …) or of local nodes (replication-factor, …); repeatable")
	f.StringArrayVar(&r.faults, "fault", nil, "`'kill node3 @10s'`: kill, term, stop, cont or start of node1…, all or random; local nodes; repeatable")
	f.BoolVar(&o.audit, "audit", true, "count lost writes, stale reads, corrupt values and false not-founds")
	f.StringVar(&r.readBack, "read-back", "30s", "at most this long for reading all written keys at the end")
	f.StringVar(&o.credentials, "credentials", "", "`DIR` of the client's credentials for --target")
	f.BoolVar(&o.insecure, "insecure", false, "believe the target's nodes without proof")
	f.StringVar(&o.namespace, "namespace", "default", "namespace to load")
	f.IntVar(&o.lanes, "lanes", 0, "goroutines that issue load (default one per core)")
	f.IntVar(&o.inFlight, "in-flight", 0, "most operations in flight (default 1.5 deadlines of the rate)")
	return f
}

// parseRun reads the command line of `run`. Its errors are usage errors.
func parseRun(args []string, stdout io.Writer) (*options, error) {
	o, r := &options{args: args, nodeFlags: map[string]string{}}, &raw{}
	f := flags(o, r)
	f.SetOutput(stdout)
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil, err
		}
		return nil, usageError{fmt.Errorf("%w; 'headroom-loadgen run --help' lists the flags", err)}
	}
	if f.NArg() != 1 {
		return nil, usagef("run wants one workload, got %d: a file or one of %s", f.NArg(), strings.Join(workloads.Names(), ", "))
	}
	var err error
	if o.workload, err = workloads.Load(f.Arg(0)); err != nil {
		return nil, usageError{err}
	}
	for _, step := range []func() error{
		func() error { return o.parseTarget(r) }, func() error { return o.parseLoad(r) },
		func() error { return o.parseSets(r.sets) }, func() error { return o.parseFaults(r.faults) },
	} {
		if err := step(); err != nil {
			return nil, usageError{err}
		}
	}
	if err := o.workload.Validate(); err != nil {
		return nil, usagef("workload %s: %w", f.Arg(0), err)
	}
	if o.out == "" {
		o.out = fmt.Sprintf("runs/%s-%s", o.workload.Name, time.Now().UTC().Format("20060102-150405"))
	}
	return o, nil
}

func (o *options) parseTarget(r *raw) error {
	switch {
	case (o.target == "") == (o.nodes == 0):
		return fmt.Errorf("give either --target quic://HOST:PORT,… or --local-nodes N")
	case o.nodes < 0 || o.nodes > local.MaxNodes:
		return fmt.Errorf("--local-nodes %d: want 1 to %d", o.nodes, local.MaxNodes)
	case r.device != "dram":
		return fmt.Errorf("--device %s: this version has dram only", r.device)
	case o.nodes > 0:
		o.target = fmt.Sprintf("local:%d", o.nodes)
		var err error
		o.binary, err = local.FindNode()
		return err
	}
	var err error
	if o.spec, err = target.ParseSpec(o.target); err != nil {
		return fmt.Errorf("--target %w", err)
	}
	o.null = o.spec.Scheme == "null"
	return nil
}

func (o *options) parseLoad(r *raw) (err error) {
	if r.rate != "" && o.closed != 0 {
		return fmt.Errorf("--rate is an open loop and --closed a closed one: give one of them")
	}
	switch {
	case o.closed < 0 || o.closed > drive.MaxClosed:
		return fmt.Errorf("--closed %d: want 1 to %d", o.closed, drive.MaxClosed)
	case o.closed > 0:
	case r.rate == "" || r.rate == rateAuto:
		o.auto = true
	default:
		if o.rate, err = units.ParseRate(r.rate); err != nil {
			return fmt.Errorf("--rate: %w, or auto", err)
		}
	}
	o.arrivals = drive.Arrivals(r.arrivals)
	if o.arrivals != drive.ArrivePoisson && o.arrivals != drive.ArriveConstant {
		return fmt.Errorf("--arrivals %q: want poisson or constant", r.arrivals)
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
		least      time.Duration
	}{{"duration", r.duration, &o.duration, time.Second}, {"warmup", r.warmup, &o.warmup, 0},
		{"deadline", r.deadline, &o.deadline, time.Millisecond}, {"read-back", r.readBack, &o.readBack, 0}} {
		if *d.to, err = units.ParseDuration(d.text); err != nil {
			return fmt.Errorf("--%s: %w", d.name, err)
		}
		if *d.to < d.least {
			return fmt.Errorf("--%s %v: want at least %v", d.name, *d.to, d.least)
		}
	}
	if o.lanes < 0 || o.lanes > drive.MaxLanes || o.inFlight < 0 {
		return fmt.Errorf("--lanes %d, --in-flight %d: want up to %d lanes and no negative number", o.lanes, o.inFlight, drive.MaxLanes)
	}
	return nil
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
	return nil
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

func unknown(key string, known []string) error {
	if near := workloads.Nearest(key, known); near != "" {
		return fmt.Errorf("unknown key %q: did you mean %q?", key, near)
	}
	return fmt.Errorf("unknown key %q: want one of %s", key, strings.Join(known, ", "))
}

func (o *options) parseFaults(texts []string) error {
	if len(texts) > 0 && o.nodes == 0 {
		return fmt.Errorf("--fault works on --local-nodes only")
	}
	for _, t := range texts {
		f, err := local.ParseFault(t)
		if err != nil {
			return err
		}
		if err := f.Check(o.nodes, o.duration); err != nil {
			return err
		}
		o.faults = append(o.faults, f)
	}
	slices.SortStableFunc(o.faults, func(a, b local.Fault) int { return int(a.At - b.At) })
	return nil
}
