package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
)

// Format is the format number of a plan file.
const Format = "headroom-plan/1"

// Plan is the answer to requirements, as the plan file holds it. Utilisations
// are of the limit that the requirements state: 1 is the limit. A null number
// is unknown or, where listed, infinite.
type Plan struct {
	Format       string        `json:"format"`
	Requirements *Requirements `json:"requirements"`
	Model        ModelRef      `json:"model"`
	// Answer is the index of the cheapest feasible candidate, null for none.
	Answer     *int        `json:"answer"`
	Candidates []Candidate `json:"candidates"`

	// What follows is about the answer.
	Summary     string     `json:"summary,omitempty"` // a paragraph in plain words
	Shadow      []Shadow   `json:"shadow_prices,omitempty"`
	Curve       []Chance   `json:"p_feasible_by_nodes,omitempty"`
	Tornado     []Swing    `json:"tornado,omitempty"`
	LeastRegret *int       `json:"least_regret_nodes,omitempty"`
	Full        *TimeUntil `json:"time_to_full_months,omitempty"`
	NodeConfig  string     `json:"node_config,omitempty"`
	// Assumptions are what the figures rest on, those of priors among them.
	Assumptions []Assumption `json:"assumptions"`
	// OnPaper lists what the answer needs and this cluster cannot do yet: it
	// is not verifiable by this cluster.
	OnPaper []string `json:"on_paper,omitempty"`
	// Verification is the latest, by headroom-planner verify.
	Verification *Verification `json:"verification,omitempty"`
}

// ModelRef says what the plan's figures rest on.
type ModelRef struct {
	Name  string   `json:"name"`
	Prior bool     `json:"prior"`
	Runs  []string `json:"runs,omitempty"`
	// PriorCPU and PriorPace say that what operations cost, or how fast copies
	// are made again, rests on a prior although the model was fitted.
	PriorCPU  bool `json:"prior_cpu,omitempty"`
	PriorPace bool `json:"prior_pace,omitempty"`
}

// Candidate is a machine type in a layout with its fewest nodes.
type Candidate struct {
	Type       string   `json:"type"`
	Nodes      int      `json:"nodes"`
	Copies     int      `json:"rf"`
	Racks      int      `json:"racks"` // 1: none named
	USDPerHour *float64 `json:"usd_per_hour"`
	Feasible   bool     `json:"feasible"`
	Reason     string   `json:"reason,omitempty"` // why not feasible

	Binding     *Binding `json:"binding"`
	WhyNotFewer *Fewer   `json:"why_not_fewer"`
	States      []State  `json:"states,omitempty"`

	BytesPerNode float64  `json:"bytes_per_node"` // the fullest node, index and records, healthy
	RebuildSec   *float64 `json:"rebuild_s"`      // after the loss of fail-nodes nodes
	MTTDLYears   *float64 `json:"mttdl_years"`    // until the first partition is lost
	Unavailable  *float64 `json:"unavailable_s_per_year"`
	PFeasible    float64  `json:"p_feasible"`
	LowWaterMark *float64 `json:"low_water_mark"` // of defragmentation; null without devices

	Confidence  string `json:"confidence"` // of the catalog row
	Source      string `json:"source"`
	Date        string `json:"date"`
	Note        string `json:"note,omitempty"`
	Transferred bool   `json:"transferred"` // the type is not the one the model was measured on
}

// Binding is the state and resource with the least room.
type Binding struct {
	State       string   `json:"state"`
	Resource    string   `json:"resource"`
	Utilisation *float64 `json:"utilisation"`
}

// Fewer is why a step fewer nodes do not do.
type Fewer struct {
	Nodes       int      `json:"nodes"`
	State       string   `json:"state"` // "structure": a rule forbids it
	Resource    string   `json:"resource"`
	Utilisation *float64 `json:"utilisation"`
	// Failing is the share of Monte-Carlo draws in which that many fail.
	Failing float64 `json:"draws_failing"`
	// Of the answer: Level is the share of the draws at which the claim shows
	// best, and the others what the resource is used to in that share of them,
	// at most, with the answer's nodes and with fewer.
	Level    float64  `json:"level,omitempty"`
	EnoughAt *float64 `json:"enough_at_level,omitempty"`
	FewerAt  *float64 `json:"at_level,omitempty"`
	Text     string   `json:"text"`
}

// State is one state of a candidate.
type State struct {
	State       string              `json:"state"`
	Nodes       int                 `json:"nodes"` // that are up
	Resources   map[string]*float64 `json:"resources"`
	Unavailable int                 `json:"unavailable_partitions"`
	RebuildSec  *float64            `json:"rebuild_s,omitempty"`
	P50         *float64            `json:"p50_ms"` // of reads
	P99         *float64            `json:"p99_ms"`
	P999        *float64            `json:"p99_9_ms"`
	WriteP50    *float64            `json:"write_p50_ms"`
	WriteP99    *float64            `json:"write_p99_ms"`
	WriteP999   *float64            `json:"write_p99_9_ms"`
	// P99Range is P99 widened by the error that verification found.
	P99Range    *[2]float64 `json:"p99_ms_range,omitempty"`
	Unsupported []string    `json:"unsupported,omitempty"`
	Infinite    []string    `json:"infinite,omitempty"`
}

// Shadow is the price of a constraint: how much more of a resource each node
// would need for a step fewer nodes to do, by itself or, if Together, with the
// other one of the list.
type Shadow struct {
	Resource string  `json:"resource"`
	More     float64 `json:"more"` // 0.18: 18 % more
	Amount   string  `json:"amount"`
	Saves    int     `json:"saves_nodes"`
	USD      float64 `json:"saves_usd_per_hour"`
	Together bool    `json:"together,omitempty"`
}

// Chance is the probability that so many nodes are enough, and the expected
// regret of choosing them.
type Chance struct {
	Nodes     int     `json:"nodes"`
	PFeasible float64 `json:"p_feasible"`
	Regret    float64 `json:"regret"`
}

// Swing is how far one uncertain input moves the answer, all others at their
// median: the fewest nodes with the input at its p10 and at its p90.
type Swing struct {
	Input string `json:"input"`
	P10   int    `json:"nodes_p10"`
	P90   int    `json:"nodes_p90"`
}

// TimeUntil is when the plan is full, in months from now; null: not within
// ten years.
type TimeUntil struct {
	P10 *float64 `json:"p10"`
	P50 *float64 `json:"p50"`
	P90 *float64 `json:"p90"`
}

// Assumption is one line that the figures rest on.
type Assumption struct {
	Text  string `json:"text"`
	Prior bool   `json:"prior"`
}

// finite returns v, or nil where JSON has no number for it.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// maxPlan bounds a plan file.
const maxPlan = 64 << 20

// Read reads a plan file.
func Read(path string) (*Plan, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPlan {
		return nil, fmt.Errorf("%s: %d bytes, a plan has at most %d", path, info.Size(), maxPlan)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: not a plan that headroom-planner wrote: %w", path, err)
	}
	if p.Format != Format {
		return nil, fmt.Errorf("%s: format %q, this program reads %q: plan again", path, p.Format, Format)
	}
	if p.Answer != nil && (*p.Answer < 0 || *p.Answer >= len(p.Candidates)) {
		return nil, fmt.Errorf("%s: answer %d of %d candidates", path, *p.Answer, len(p.Candidates))
	}
	return p, nil
}

// Best returns the candidate that is the answer, nil for none.
func (p *Plan) Best() *Candidate {
	if p.Answer == nil {
		return nil
	}
	return &p.Candidates[*p.Answer]
}

// Write writes the plan file.
func (p *Plan) Write(path string) error {
	text, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
