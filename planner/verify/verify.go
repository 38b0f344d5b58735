// Package verify runs a plan: it starts a miniature of the planned cluster on
// this machine, with the plan's number of nodes and with one fewer, kills the
// planned number of nodes under the planned load, and says whether the first
// held and the second failed in the state that binds the plan. It plans
// nothing; the load comes from headroom-loadgen, whose run folders it leaves
// as evidence.
//
// The invariant to know: a miniature divides rates and bytes, never nodes,
// copies or failures, so that the partition table and the loss sets are the
// plan's own.
//
// Start reading at Run, then mini.go (what is scaled), trial.go (one cluster)
// and judge.go (the verdict).
package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"headroom/node/disk/profile"
	"headroom/planner/plan"
)

// MostNodes is the largest cluster that is started: beyond it the nodes of a
// small machine are late because of each other.
const MostNodes = 16

// Config says what to verify. Zero values mean defaults.
type Config struct {
	Plan *plan.Plan
	// Dir is where the run folders go; it is made.
	Dir string
	// OpsPerSec is the load of the miniature, default 1,000: two cores carry
	// eight nodes with it at a third of their time.
	OpsPerSec float64
	// NodeBytes is what its fullest node holds, default 48 MiB: some thousand
	// pages of each size class, and seconds to load. A quarter of it where
	// records lie on an emulated device.
	NodeBytes float64
	// Profile names the device profile that gives emulated devices the shape
	// of their service times, default nvme; rates are those of the machine
	// type.
	Profile string
	// Phase is how long each state is watched, default 10 s.
	Phase time.Duration
	Now   time.Time
	Host  string
	// Start runs one cluster; default headroom-loadgen beside this program.
	Start Starter
	Say   func(format string, args ...any) // progress; nil: silent
}

// Starter runs a load on so many fresh local nodes and leaves a run folder.
type Starter func(ctx context.Context, t Load) error

// Load is one run of a miniature.
type Load struct {
	Dir      string // of the run folder
	Workload string // file
	Nodes    int
	Rate     float64
	Shape    string // of the load over time, as --rate of headroom-loadgen; empty: Rate
	Program  string // headroom-loadgen; empty: beside this program or on PATH
	Duration time.Duration
	Warmup   time.Duration
	ReadBack time.Duration // how long written keys are read at the end; 0: the load generator's default
	Device   string        // of the nodes, as --device of headroom-loadgen; empty: memory
	Set      []string      // KEY=VALUE
	Faults   []string
}

func (c Config) withDefaults() Config {
	if c.OpsPerSec == 0 {
		c.OpsPerSec = 1000
	}
	if c.NodeBytes == 0 {
		c.NodeBytes = 48 << 20
	}
	if c.Profile == "" {
		c.Profile = baseProfile
	}
	if c.Phase == 0 {
		c.Phase = 10 * time.Second
	}
	if c.Start == nil {
		c.Start = Loadgen
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	return c
}

// Check says why a verification cannot begin: a plan without an answer or too
// large for this machine, a device profile that is none. It starts nothing.
func Check(cfg Config) error {
	cfg = cfg.withDefaults()
	if _, err := profile.Load(cfg.Profile); err != nil {
		return err
	}
	_, err := shrink(&cfg)
	return err
}

// Run verifies the answer of a plan. It takes minutes; ctx ends it.
func Run(ctx context.Context, cfg Config) (*plan.Verification, error) {
	cfg = cfg.withDefaults()
	m, err := shrink(&cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(m.workload, m.yaml, 0o644); err != nil {
		return nil, err
	}
	if m.device != nil {
		_, p := m.device.spec(m.file())
		if err := os.WriteFile(m.file(), p.YAML(), 0o644); err != nil {
			return nil, err
		}
	}
	card := &plan.Verification{Format: plan.CardFormat, When: cfg.Now.UTC().Format(time.RFC3339), Host: cfg.Host, Binding: &m.bind, Miniature: m.card}
	enough, err := m.trial(ctx, m.best.Nodes)
	if err != nil {
		return nil, err
	}
	card.Trials = append(card.Trials, enough.Trial)
	card.Compared = m.compare(enough)
	var fewer *seen
	if why := m.cannotRunFewer(); why == "" {
		if fewer, err = m.trial(ctx, m.fewerNodes()); err != nil {
			return nil, err
		}
		card.Trials = append(card.Trials, fewer.Trial)
	}
	m.judge(card, enough, fewer)
	return card, nil
}

// fewerNodes is the cluster that must fail: that of the plan's own proof.
func (m *miniature) fewerNodes() int { return m.best.WhyNotFewer.Nodes }

var errNoAnswer = errors.New("the plan has no answer to verify: nothing meets its requirements")

// best returns the candidate to verify.
func best(p *plan.Plan) (*plan.Candidate, error) {
	c := p.Best()
	if c == nil {
		return nil, errNoAnswer
	}
	if c.Binding == nil || c.WhyNotFewer == nil || c.Binding.Utilisation == nil {
		return nil, fmt.Errorf("the plan does not say what binds: plan again with this version")
	}
	if c.Nodes > MostNodes {
		return nil, fmt.Errorf("%d nodes: this machine starts %d at most; plan a slice of the load (headroom-planner plan … --set with rates and records divided by %d) and verify that",
			c.Nodes, MostNodes, (c.Nodes+5)/6)
	}
	if c.Copies > c.Nodes {
		return nil, fmt.Errorf("%d copies on %d nodes", c.Copies, c.Nodes)
	}
	return c, nil
}
