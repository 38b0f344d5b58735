package stats

import (
	"fmt"
	"math"
	"sort"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
)

// NodeRow is what the samples of one node say. Zero-valued lists of samples
// give no row; negative numbers are unknown.
type NodeRow struct {
	Node            string
	Up              bool // at the last sample
	Masters, Copies int64
	MemoryEnd       int64
	MemoryPeak      int64
	CPUPct          float64 // median, of one core
}

// Derive computes the facts of a run that Load returned with its problems.
func Derive(run *result.Run, problems []string) *Facts {
	f := &Facts{Run: run, Problems: problems}
	f.Total = total(run)
	f.Seconds = seconds(run)
	f.Redundancy = redundancy(run)
	f.Migrations = migrations(f.Redundancy)
	f.Down = down(run)
	f.NodeRows = nodeRows(run)
	f.Extras = extras(run)
	f.StopWrites = stops(run, f.Extras)
	f.Nodes = max(run.Summary.Generator.LocalNodes, len(run.Nodes))
	f.latencies()
	return f
}

// end returns the end of the measured phase in seconds.
func (f *Facts) end() float64 {
	end := f.Run.Summary.DurationSec
	if n := len(f.Seconds); n > 0 {
		end = max(end, float64(f.Seconds[n-1].T+1))
	}
	return end
}

// End returns the end of the time axis: the measured phase and whatever
// migrations and faults were still sampled after it.
func (f *Facts) End() float64 {
	end := f.end()
	for i, m := range f.Redundancy {
		if m.Partitions > 0 || i > 0 && f.Redundancy[i-1].Partitions > 0 {
			end = max(end, m.T) // idle nodes are sampled on while records are read back
		}
	}
	for _, x := range f.Run.Summary.Faults {
		end = max(end, x.AtSec)
	}
	return max(end, 1)
}

func total(run *result.Run) (t result.Operation) {
	for _, o := range run.Summary.Operations {
		t.Count += o.Count
		t.OK += o.OK
		t.Failed += o.Failed
		t.InDoubt += o.InDoubt
		t.NotFound += o.NotFound
	}
	return t
}

// seconds adds up the operations of each second of the measured phase.
func seconds(run *result.Run) []Second {
	at := map[int]*Second{}
	for _, r := range run.Series {
		if r.TSec < 0 {
			continue
		}
		s := at[r.TSec]
		if s == nil {
			s = &Second{T: r.TSec, P50: math.NaN(), P99: math.NaN(), Max: math.NaN()}
			at[r.TSec] = s
		}
		s.Offered += r.Offered
		s.OK += r.OK
		s.Failed += r.Failed + r.InDoubt
	}
	out := make([]Second, 0, len(at))
	for _, s := range at {
		out = append(out, *s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].T < out[j].T })
	return out
}

// infinite counts the operations that never completed beside the histograms
// that m went through.
func (f *Facts) infinite(kind result.Kind, m merged) (n int64) {
	if kind == result.Lateness {
		return 0 // an operation that failed was still submitted, late or not
	}
	if m.until == math.MaxInt {
		for op := range m.ops {
			o := f.Run.Summary.Operations[op]
			n += o.Failed + o.InDoubt
		}
		return n
	}
	for _, r := range f.Run.Series {
		if m.ops[r.Op] && r.TSec >= 0 && r.TSec < m.until {
			n += r.Failed + r.InDoubt
		}
	}
	return n
}

// fallback takes the per-second latencies of the busiest operation from
// series.csv when no interval log can be read: percentiles of several
// operations cannot be merged.
func (f *Facts) fallback() {
	var most int64
	for _, op := range Operations(f.Run) {
		if n := f.Run.Summary.Operations[op].Count; n > most {
			most, f.SecondsOf = n, op
		}
	}
	index := map[int]int{}
	for i, s := range f.Seconds {
		index[s.T] = i
	}
	for _, r := range f.Run.Series {
		if i, ok := index[r.TSec]; ok && r.Op == f.SecondsOf {
			s := &f.Seconds[i]
			s.P50, s.P99, s.Max = r.ResponseP50US, r.ResponseP99US, r.ResponseMaxUS
		}
	}
}

// steadySeconds returns the seconds outside every fault's window, and, when at
// least minSteady of them remain, only those with all nodes up and no
// migration under way.
func (f *Facts) steadySeconds() (set map[int]bool, healthy bool) {
	apart := map[int]bool{}
	calm := map[int]bool{}
	for _, s := range f.Seconds {
		from, to := float64(s.T), float64(s.T+1)
		if to > f.Run.Summary.DurationSec+0.001 && f.Run.Summary.DurationSec > 0 {
			continue // a cut second or the drain after the end
		}
		if x := f.Run.Summary.Steady; x.Reached && from < x.FromSec {
			continue // warm-up by the run's own rule
		}
		if !f.apart(from, to) {
			continue
		}
		apart[s.T] = true
		if !touches(f.Migrations, from, to) && !touches(f.Down, from, to) {
			calm[s.T] = true
		}
	}
	if len(calm) >= minSteady {
		return calm, true
	}
	return apart, false
}

func (f *Facts) apart(from, to float64) bool {
	for _, x := range f.Run.Summary.Faults {
		if to > x.AtSec-faultBefore && from < x.AtSec+faultAfter {
			return false
		}
	}
	return true
}

func touches(spans []Span, from, to float64) bool {
	for _, s := range spans {
		if to > s.From && from < s.To {
			return true
		}
	}
	return false
}

// unsteady is why a run is not steady by its own word, empty when it is or was
// not judged: a generator warns of what drifted, and only notes that faults or
// a schedule left too little to judge.
func (f *Facts) unsteady() string {
	s := f.Run.Summary.Steady
	for _, v := range f.Run.Summary.Verdicts {
		switch {
		case v.Rule != "R5":
		case v.Level == result.Warn && s.Rule != "" && !s.Reached && s.Why != "":
			return s.Why
		case v.Level == result.Fail:
			return v.Text
		}
	}
	return ""
}

// steady sums up the steady seconds.
func (f *Facts) steady(set map[int]bool, healthy bool, calm *hlog.Counts) Steady {
	s := Steady{Seconds: len(set), Healthy: healthy}
	if s.Why = f.unsteady(); s.Why != "" {
		return s
	}
	if len(set) < minSteady {
		s.Why = fmt.Sprintf("only %s outside fault windows, %d needed", Plural(int64(len(set)), "whole second"), minSteady)
		return s
	}
	var rates, offered []float64
	var failed int64
	for _, x := range f.Seconds {
		if set[x.T] {
			rates, offered = append(rates, float64(x.OK)), append(offered, float64(x.Offered))
			failed += x.Failed
		}
	}
	s.OK, s.Rate, s.Offered = true, Median(rates), Median(offered)
	s.Response = result.Summarize(calm.Histogram(), failed)
	return s
}

// redundancy adds up what is left to migrate over all nodes, each node's last
// sample holding until its next.
func redundancy(run *result.Run) []Redundancy {
	type sample struct {
		node string
		s    result.NodeSample
	}
	var all []sample
	for node, list := range run.Nodes {
		for _, s := range list {
			if !math.IsNaN(s.TSec) && !math.IsInf(s.TSec, 0) && s.TSec >= 0 {
				all = append(all, sample{node, s})
			}
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].s.TSec != all[j].s.TSec {
			return all[i].s.TSec < all[j].s.TSec
		}
		return all[i].node < all[j].node
	})
	var out []Redundancy
	last := map[string]result.NodeSample{}
	sum := Redundancy{}
	for _, x := range all {
		was := last[x.node]
		if !x.s.Up {
			x.s.PartitionsLeft, x.s.BytesLeft = 0, 0
		}
		sum.Partitions += x.s.PartitionsLeft - was.PartitionsLeft
		sum.Bytes += x.s.BytesLeft - was.BytesLeft
		sum.T = x.s.TSec
		last[x.node] = x.s
		if n := len(out); n > 0 && out[n-1].T == sum.T {
			out[n-1] = sum
			continue
		}
		out = append(out, sum)
	}
	return out
}

// migrations returns the spans in which partitions were left to migrate.
func migrations(list []Redundancy) []Span {
	var out []Span
	open := false
	for _, m := range list {
		switch {
		case m.Partitions > 0 && !open:
			out, open = append(out, Span{From: m.T, To: math.Inf(1)}), true
		case m.Partitions <= 0 && open:
			out[len(out)-1].To, open = m.T, false
		}
	}
	return out
}

// down returns when nodes were stopped: from a fault that stops one to the
// fault that brings it back.
func down(run *result.Run) []Span {
	var out []Span
	open := map[string]int{}
	for _, x := range run.Summary.Faults {
		i, isOpen := open[x.Node]
		switch x.What {
		case "kill", "term", "stop":
			if !isOpen {
				open[x.Node] = len(out)
				out = append(out, Span{From: x.AtSec, To: math.Inf(1), Node: x.Node})
			}
		case "start", "cont":
			if isOpen {
				out[i].To = max(x.AtSec, out[i].From)
				delete(open, x.Node)
			}
		}
	}
	return out
}

func nodeRows(run *result.Run) []NodeRow {
	var out []NodeRow
	for node, list := range run.Nodes {
		if len(list) == 0 {
			continue
		}
		r := NodeRow{Node: node, Masters: -1, Copies: -1, MemoryEnd: -1, MemoryPeak: -1, CPUPct: -1}
		var cpu []float64
		for _, s := range list {
			r.Up = s.Up
			if !s.Up {
				continue
			}
			r.Masters, r.Copies = s.Masters, s.Copies
			if s.RSSBytes >= 0 {
				r.MemoryEnd, r.MemoryPeak = s.RSSBytes, max(r.MemoryPeak, s.RSSBytes)
			}
			if s.CPUPct >= 0 && s.TSec >= 0 {
				cpu = append(cpu, s.CPUPct)
			}
		}
		if len(cpu) > 0 {
			r.CPUPct = Median(cpu).Value
		}
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool { return natural(out[i].Node, out[j].Node) })
	return out
}

// natural orders node2 before node10.
func natural(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}
