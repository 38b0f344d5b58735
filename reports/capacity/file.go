// Package capacity words and arranges the report of a plan: how few servers,
// why not fewer, what they rest on. It reads plan files of format
// headroom-plan/1 and knows nothing else of the planner; it computes no plan.
//
// The invariant to know: every figure that rests on a prior, on arithmetic
// alone or on no verification says so beside it.
//
// Start reading at Document.
package capacity

import (
	"encoding/json"
	"fmt"
	"os"
)

// Format is the format of the plan files this package reads.
const Format = "headroom-plan/1"

// maxPlan bounds a plan file.
const maxPlan = 64 << 20

// Plan is a plan file as far as the report shows it. A nil number is unknown.
type Plan struct {
	Format       string          `json:"format"`
	Requirements json.RawMessage `json:"requirements"`
	Model        struct {
		Name  string   `json:"name"`
		Prior bool     `json:"prior"`
		Runs  []string `json:"runs"`
	} `json:"model"`
	Answer      *int         `json:"answer"`
	Candidates  []Candidate  `json:"candidates"`
	Summary     string       `json:"summary"`
	Shadow      []Shadow     `json:"shadow_prices"`
	Curve       []Chance     `json:"p_feasible_by_nodes"`
	Tornado     []Swing      `json:"tornado"`
	LeastRegret *int         `json:"least_regret_nodes"`
	Full        *TimeUntil   `json:"time_to_full_months"`
	NodeConfig  string       `json:"node_config"`
	Assumptions []Assumption `json:"assumptions"`
	OnPaper     []string     `json:"on_paper"`
	Card        *Card        `json:"verification"`
}

// Candidate is a machine type in a layout with its fewest nodes.
type Candidate struct {
	Type         string   `json:"type"`
	Nodes        int      `json:"nodes"`
	Copies       int      `json:"rf"`
	Racks        int      `json:"racks"`
	USDPerHour   *float64 `json:"usd_per_hour"`
	Feasible     bool     `json:"feasible"`
	Reason       string   `json:"reason"`
	Binding      *Binding `json:"binding"`
	WhyNotFewer  *Fewer   `json:"why_not_fewer"`
	States       []State  `json:"states"`
	BytesPerNode float64  `json:"bytes_per_node"`
	RebuildSec   *float64 `json:"rebuild_s"`
	MTTDLYears   *float64 `json:"mttdl_years"`
	Unavailable  *float64 `json:"unavailable_s_per_year"`
	PFeasible    float64  `json:"p_feasible"`
	LowWaterMark *float64 `json:"low_water_mark"`
	Confidence   string   `json:"confidence"`
	Source       string   `json:"source"`
	Date         string   `json:"date"`
	Note         string   `json:"note"`
	Transferred  bool     `json:"transferred"`
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
	State       string   `json:"state"`
	Resource    string   `json:"resource"`
	Utilisation *float64 `json:"utilisation"`
	Failing     float64  `json:"draws_failing"`
	Text        string   `json:"text"`
}

// State is one state of a candidate.
type State struct {
	State       string              `json:"state"`
	Nodes       int                 `json:"nodes"`
	Resources   map[string]*float64 `json:"resources"`
	Unavailable int                 `json:"unavailable_partitions"`
	RebuildSec  *float64            `json:"rebuild_s"`
	P50         *float64            `json:"p50_ms"`
	P99         *float64            `json:"p99_ms"`
	WriteP50    *float64            `json:"write_p50_ms"`
	WriteP99    *float64            `json:"write_p99_ms"`
	P99Range    *[2]float64         `json:"p99_ms_range"`
	Infinite    []string            `json:"infinite"`
}

// Shadow is the price of a constraint.
type Shadow struct {
	Resource string  `json:"resource"`
	More     float64 `json:"more"`
	Amount   string  `json:"amount"`
	Saves    int     `json:"saves_nodes"`
	USD      float64 `json:"saves_usd_per_hour"`
}

// Chance is the probability that so many nodes are enough.
type Chance struct {
	Nodes     int     `json:"nodes"`
	PFeasible float64 `json:"p_feasible"`
	Regret    float64 `json:"regret"`
}

// Swing is how far one uncertain input moves the answer.
type Swing struct {
	Input string `json:"input"`
	P10   int    `json:"nodes_p10"`
	P90   int    `json:"nodes_p90"`
}

// TimeUntil is when the plan is full, in months.
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
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%s: not a plan that headroom-planner wrote: %w", path, err)
	}
	if head.Format != Format {
		return nil, fmt.Errorf("%s: format %q, this program reads plans of format %q", path, head.Format, Format)
	}
	p := &Plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: damaged plan: %w", path, err)
	}
	if p.Answer != nil && (*p.Answer < 0 || *p.Answer >= len(p.Candidates)) {
		return nil, fmt.Errorf("%s: damaged plan: its answer is candidate %d of %d", path, *p.Answer, len(p.Candidates))
	}
	return p, nil
}

// best returns the answer, nil for none.
func (p *Plan) best() *Candidate {
	if p.Answer == nil {
		return nil
	}
	return &p.Candidates[*p.Answer]
}
