package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"headroom/planner/catalog"
	"headroom/planner/plan"
)

// options are the flags of all commands; each registers those it reads.
type options struct {
	args    []string
	model   string
	catalog []string
	set     []string
	json    bool
	output  string
	all     bool
	nodes   []int
	kind    string
	racks   int
	copies  int

	metrics  []string
	interval time.Duration
	devices  []string
	name     string
	dir      string
	rate     string
	phase    time.Duration
	profile  string
}

// parseOptions reads the flags of a verb.
func parseOptions(v verb, args []string, stdout io.Writer) (*options, error) {
	o, nodes := &options{}, ""
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	if v.name != "example" {
		f.BoolVar(&o.json, "json", false, "print JSON for machines")
	}
	if !slices.Contains([]string{"diff", "drift", "example", "fit", "verify"}, v.name) {
		f.StringArrayVar(&o.catalog, "catalog", nil, "`FILE` with machine types, or a shipped catalog by name; beside the default ones, whose rows it overrides; repeatable")
	}
	switch v.name {
	case "plan", "whatif", "reverse", "fleet":
		f.StringVar(&o.model, "model", "", "`FILE` that fit wrote; without it shipped priors, which predict no percentile")
		f.StringArrayVar(&o.set, "set", nil, "`KEY=VALUE` overrides a key of the requirements; repeatable")
	}
	switch v.name {
	case "plan":
		f.StringVarP(&o.output, "output", "o", "", "`FILE` to write the plan to, as JSON")
		f.BoolVar(&o.all, "all", false, "list every combination of type, copies and racks")
	case "verify":
		f.StringVar(&o.dir, "out", "", "`DIR` for the run folders and the card (default runs/verify-PLAN)")
		f.StringVar(&o.rate, "rate", "", "`RATE` of the miniature (default 1k/s)")
		f.StringVar(&o.profile, "device", "", "device `PROFILE`, shipped or a file, with the times of emulated devices; rates are the machine type's (default nvme)")
		f.DurationVar(&o.phase, "phase", 10*time.Second, "how long each state is watched")
		f.StringVar(&o.model, "model", "", "model `FILE` whose errors are raised to what is found")
	case "fit":
		f.StringVarP(&o.output, "output", "o", "model.json", "`FILE` to write the model to")
		f.StringArrayVar(&o.devices, "device", nil, "device `PROFILE`, shipped or a file; repeatable")
		f.StringVar(&o.kind, "type", "", "catalog `TYPE` of the machine that the runs were made on")
		f.StringVar(&o.name, "name", "", "of the model")
	case "drift":
		f.StringSliceVar(&o.metrics, "metrics", nil, "`URL` of a node's metrics, such as http://127.0.0.1:9310/metrics; every node's, repeated or with commas")
		f.DurationVar(&o.interval, "interval", 10*time.Second, "time between the two readings that rates are computed from")
	case "reverse", "fleet":
		f.StringVar(&nodes, "nodes", "", "number of nodes; for fleet several, with commas")
		f.StringVar(&o.kind, "type", "", "machine `TYPE` of the catalog")
		f.IntVar(&o.racks, "racks", 0, "racks; default the first that the requirements name")
		f.IntVar(&o.copies, "rf", 0, "copies; default that of the requirements with which it takes most")
	}
	if err := f.Parse(args); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(stdout, "usage: headroom-planner %s %s\n%s.\n\n%s", v.name, v.args, v.help, f.FlagUsages())
		return nil, err
	} else if err != nil {
		return nil, usagef("%s: %w; 'headroom-planner %s --help' lists the flags", v.name, err, v.name)
	}
	if err := o.parseNodes(nodes); err != nil {
		return nil, err
	}
	o.args = f.Args()
	return o, nil
}

// parseNodes reads numbers of nodes, separated by commas.
func (o *options) parseNodes(text string) error {
	if text == "" {
		return nil
	}
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return usagef("--nodes %s: %q is no number of nodes; want one such as 5, for fleet several such as 5,10,20", text, s)
		}
		o.nodes = append(o.nodes, n)
	}
	return nil
}

// requirements loads the one argument, applies --catalog and, if told, --set.
func (o *options) requirements(set bool) (*plan.Requirements, error) {
	if len(o.args) != 1 {
		return nil, usagef("give one requirements file or example, not %d", len(o.args))
	}
	r, err := plan.Load(o.args[0])
	if err != nil {
		return nil, usageError{err}
	}
	if len(o.catalog) > 0 {
		if len(r.Catalogs) == 0 {
			r.Catalogs = catalog.Default()
		}
		r.Catalogs = append(r.Catalogs, o.catalog...)
	}
	if set {
		err = o.apply(r)
	}
	return r, err
}

// apply sets what --set says.
func (o *options) apply(r *plan.Requirements) error {
	if len(o.set) == 0 {
		return nil
	}
	if err := r.Set(o.set...); err != nil {
		return usageError{err}
	}
	return nil
}

// input is what the plan package needs.
func (o *options) input(r *plan.Requirements) (plan.Input, error) {
	in := plan.Input{Requirements: r, Shapes: plan.NewShapes()}
	if o.model != "" {
		m, err := readModel(o.model)
		if err != nil {
			return in, err
		}
		in.Model = m
	}
	return in, nil
}
