package diff

import (
	"fmt"
	"math"

	"headroom/reports/stats"
)

// Decision is what a gate says.
type Decision string

// The decisions: the change is shown to stay within the threshold, shown to
// exceed it, or the runs cannot tell.
const (
	Pass      Decision = "pass"
	Fail      Decision = "fail"
	Undecided Decision = "undecided"
)

// Judgement is the gate's word on one figure.
type Judgement struct {
	Of       string // p99, throughput
	Run      string // the run judged
	Decision Decision
	Text     string
}

// Gate judges each candidate at the gated percentiles and its throughput. The
// whole is the worst of the parts; without any figure it is undecided.
func (r *Result) Gate() (Decision, []Judgement) {
	var list []Judgement
	for _, s := range r.Shifts {
		few := true
		for _, d := range s.Points {
			if !isGated(d.P) || !d.Supported {
				continue
			}
			few = false
			list = append(list, judge(s, d, stats.PercentileName(d.P), r.Options.Threshold))
		}
		if few { // a throughput alone must not pass
			list = append(list, Judgement{Of: "latency", Run: s.B, Decision: Undecided, Text: "no percentile has enough samples in both runs: measure longer"})
		}
		list = append(list, judge(s, s.Rate, "throughput", r.Options.Threshold))
	}
	whole := Undecided
	if len(list) > 0 {
		whole = Pass
	}
	for _, j := range list {
		if j.Decision == Fail || j.Decision == Undecided && whole == Pass {
			whole = j.Decision
		}
	}
	return whole, list
}

// inverse turns a change of B against A into that of A against B.
func inverse(c float64) float64 { return 1/(1+c) - 1 }

func isGated(p float64) bool {
	for _, g := range gated {
		if p == g {
			return true
		}
	}
	return false
}

// judge decides one figure: a latency, or the throughput, of which more is
// better. What is said of it are its own changes.
func judge(s Shift, d Difference, of string, threshold float64) Judgement {
	j := Judgement{Of: of, Run: s.B}
	changed := fmt.Sprintf("%s (%s to %s)", signed(d.Change), signed(d.ChangeLo), signed(d.ChangeHi))
	if d.P == 0 { // turn it round: a worsening is positive from here on
		d.Change, d.ChangeLo, d.ChangeHi = inverse(d.Change), inverse(d.ChangeHi), inverse(d.ChangeLo)
	}
	switch {
	case math.IsInf(d.B, 1) && !math.IsInf(d.A, 1):
		j.Decision, j.Text = Fail, fmt.Sprintf("%s of %s is infinite: failed operations reach it", of, s.B)
	case !d.Known():
		j.Decision, j.Text = Undecided, fmt.Sprintf("%s: no interval, %s", of, reason(s, d))
	case d.ChangeLo > threshold:
		j.Decision, j.Text = Fail, fmt.Sprintf("%s changed by %s, worse than the %s allowed", of, changed, stats.Percent(threshold))
	case d.ChangeHi <= threshold:
		j.Decision, j.Text = Pass, fmt.Sprintf("%s is worse by no more than %s: it changed by %s", of, stats.Percent(threshold), changed)
	default:
		j.Decision, j.Text = Undecided, fmt.Sprintf("%s changed by %s: too wide an interval to decide about %s; %s", of, changed, stats.Percent(threshold), more(s, d, threshold))
	}
	return j
}

func reason(s Shift, d Difference) string {
	if s.Why != "" {
		return s.Why
	}
	if math.IsInf(d.A, 1) || math.IsInf(d.B, 1) {
		return "failed operations reach it"
	}
	return "too few samples, or failed operations reach it in part"
}

// manyPairs are more than anybody would run to decide one figure.
const manyPairs = 100

// more says how many more pairs would narrow the interval enough. Its width
// shrinks with the root of their number.
func more(s Shift, d Difference, threshold float64) string {
	if s.Pairs == 0 {
		return fmt.Sprintf("interleaved pairs tell more (--pairs, at least %d)", minPairs)
	}
	half := (math.Log1p(d.ChangeHi) - math.Log1p(d.ChangeLo)) / 2
	room := math.Abs(math.Log1p(threshold) - math.Log1p(d.Change))
	if room < half/math.Sqrt(1+manyPairs/float64(s.Pairs)) {
		return fmt.Sprintf("more than %d pairs more would be needed: measure longer, on a quieter machine, or choose another threshold", manyPairs)
	}
	n := int(math.Ceil(float64(s.Pairs)*half*half/(room*room))) - s.Pairs
	return fmt.Sprintf("about %s more would decide", stats.Plural(int64(max(n, 1)), "pair"))
}

// signed prints a change: +12.3 %, −4 %.
func signed(c float64) string {
	if math.IsNaN(c) || math.IsInf(c, 0) {
		return "unknown"
	}
	sign := "+"
	if c < 0 {
		sign = "−"
	}
	v := math.Abs(c) * 100
	switch {
	case v < 0.05:
		return "0 %"
	case v < 9.95:
		return fmt.Sprintf("%s%.1f %%", sign, v)
	default:
		return fmt.Sprintf("%s%s %%", sign, stats.Count(int64(math.Round(min(v, 1e15)))))
	}
}
