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

	"headroom/planner/plan"
)

// maxPlan bounds a plan file.
const maxPlan = 64 << 20

// Plan is a plan file as the planner wrote it. Its requirements stay text: a
// report shows those of newer planners, too.
type Plan struct {
	Format       string             `json:"format"`
	Requirements json.RawMessage    `json:"requirements"`
	Model        plan.ModelRef      `json:"model"`
	Answer       *int               `json:"answer"`
	Candidates   []plan.Candidate   `json:"candidates"`
	Summary      string             `json:"summary"`
	Shadow       []plan.Shadow      `json:"shadow_prices"`
	Curve        []plan.Chance      `json:"p_feasible_by_nodes"`
	Tornado      []plan.Swing       `json:"tornado"`
	LeastRegret  *int               `json:"least_regret_nodes"`
	Full         *plan.TimeUntil    `json:"time_to_full_months"`
	NodeConfig   string             `json:"node_config"`
	Assumptions  []plan.Assumption  `json:"assumptions"`
	OnPaper      []string           `json:"on_paper"`
	Card         *plan.Verification `json:"verification"`
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
	if head.Format != plan.Format {
		return nil, fmt.Errorf("%s: format %q, this program reads plans of format %q", path, head.Format, plan.Format)
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
func (p *Plan) best() *plan.Candidate {
	if p.Answer == nil {
		return nil
	}
	return &p.Candidates[*p.Answer]
}
