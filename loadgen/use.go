package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"headroom/loadgen/result"
)

// busyShare is the utilisation from which a resource is called the limit: with
// random arrivals, waiting grows steeply beyond it.
const busyShare = 0.85

// use lists how busy the resources were in the measured phase, the busiest
// first, from the samples that are not written yet.
func (r *recorder) use(zero time.Time, d time.Duration, m *result.Summary) []result.Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []result.Use{}
	cores := runtime.NumCPU()
	if n := m.Generator.LocalNodes; n > 0 {
		cores = max(1, cores/n) // what the launcher gives each
	}
	type sum struct{ cpu, n float64 }
	nodes := map[string]*sum{}
	for _, s := range r.samples {
		if t := s.At.Sub(zero); t < time.Second || t > d+time.Second || s.CPUPct < 0 {
			continue
		}
		if nodes[s.Node] == nil {
			nodes[s.Node] = &sum{}
		}
		nodes[s.Node].cpu += s.CPUPct
		nodes[s.Node].n++
	}
	for name, s := range nodes {
		cpu := s.cpu / s.n
		list = append(list, result.Use{Resource: "node-cpu", Node: name, Utilisation: cpu / 100 / float64(cores),
			Text: fmt.Sprintf("%s used %.0f %% of a core, of %d it may use", name, cpu, cores)})
	}
	host, n := 0.0, 0.0
	for _, g := range r.generator {
		if g.HostCPUPct >= 0 && g.TSec >= 1 {
			host += g.HostCPUPct
			n++
		}
	}
	if n > 0 {
		what := "the generator's host"
		if m.Generator.LocalNodes > 0 {
			what = fmt.Sprintf("the host of the generator and %d nodes", m.Generator.LocalNodes)
		}
		list = append(list, result.Use{Resource: "host-cpu", Utilisation: host / n / 100,
			Text: fmt.Sprintf("%s was %.0f %% busy", what, host/n)})
	}
	g := &m.Generator
	if g.GOMAXPROCS > 0 {
		list = append(list, result.Use{Resource: "generator-cpu", Utilisation: g.CPUPct / 100 / float64(g.GOMAXPROCS),
			Text: fmt.Sprintf("the generator used %.0f %% of a core, of %d", g.CPUPct, g.GOMAXPROCS)})
	}
	if g.InFlightMax > 0 && m.Loop == "open" {
		list = append(list, result.Use{Resource: "in-flight", Utilisation: float64(g.InFlightPeak) / float64(g.InFlightMax),
			Text: fmt.Sprintf("at most %d of %d operations in flight", g.InFlightPeak, g.InFlightMax)})
	}
	slices.SortFunc(list, func(a, b result.Use) int {
		switch {
		case a.Utilisation > b.Utilisation:
			return -1
		case a.Utilisation < b.Utilisation:
			return 1
		}
		return 0
	})
	return list
}
