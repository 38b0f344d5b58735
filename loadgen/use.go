package main

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
)

// busyShare is the utilisation from which a resource is called the limit: with
// random arrivals, waiting grows steeply beyond it.
const busyShare = 0.85

// means of the figures of one node or of the generator over the measured phase.
type mean struct{ sum, n float64 }

// add takes a figure, which is negative when unknown.
func (m *mean) add(v float64) {
	if v >= 0 {
		m.sum += v
		m.n++
	}
}

func (m *mean) value() float64 { return m.sum / m.n }

// nodeUse is what one node used in the measured phase, in percent.
type nodeUse struct {
	cpu, net, device mean
	dropped          int64
}

// limitOf names the resource that ended the rate: the busiest one of the
// target's own, if it was busy enough, else the host that they share with
// others. A filled in-flight window is what an overload does, not what causes
// it.
func limitOf(list []result.Use) result.Limiting {
	list = slices.DeleteFunc(slices.Clone(list), func(u result.Use) bool { return u.Resource == "in-flight" })
	if len(list) == 0 {
		return result.Limiting{Resource: "unknown", Text: "no resource of the target was seen"}
	}
	i := slices.IndexFunc(list, func(u result.Use) bool { return u.Utilisation >= busyShare && u.Resource != "host-cpu" })
	if i < 0 {
		i = 0
	}
	u := list[i]
	if u.Utilisation < busyShare {
		return result.Limiting{Resource: "unknown", Text: fmt.Sprintf("no resource that was seen was %.0f %% busy; the busiest: %s", 100*busyShare, u.Text)}
	}
	return result.Limiting{Resource: u.Resource, Node: u.Node, Utilisation: &u.Utilisation, Text: u.Text}
}

// limitOfLoop is limitOf, and for a closed loop that no resource ended the
// number of its clients: each of them waits for its last answer, so the rate is
// that number over the response time whatever else is idle (Little's law).
func limitOfLoop(s *result.Summary) result.Limiting {
	limit := limitOf(s.Use)
	if limit.Resource != "unknown" || s.Loop != "closed" || s.Generator.InFlightMax <= 0 {
		return limit
	}
	limit.Resource = "clients"
	limit.Text = fmt.Sprintf("each of %d clients waited for its last answer: more of them find the limit; %s", s.Generator.InFlightMax, limit.Text)
	return limit
}

// use lists how busy the resources were in the measured phase, the busiest
// first, from the samples that are not written yet and what is known besides.
func (r *recorder) use(zero time.Time, d time.Duration, m *result.Summary, list []result.Use) []result.Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := map[string]*nodeUse{}
	for i := range r.samples {
		s := &r.samples[i]
		t := s.At.Sub(zero).Round(time.Millisecond) // as the folder has it
		if s.Up && t >= time.Second && t <= d+time.Second {
			if nodes[s.Node] == nil {
				nodes[s.Node] = &nodeUse{}
			}
			nodes[s.Node].take(s)
		}
	}
	cores := runtime.NumCPU()
	if n := m.Generator.LocalNodes; n > 0 {
		cores = max(1, cores/n) // what the launcher gives each
	}
	for name, u := range nodes {
		list = append(list, u.list(name, cores)...)
	}
	list = append(list, r.generatorUse(m)...)
	slices.SortFunc(list, func(a, b result.Use) int {
		return cmp.Or(cmp.Compare(b.Utilisation, a.Utilisation), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Resource, b.Resource))
	})
	return list
}

func (u *nodeUse) take(s *local.Sample) {
	u.cpu.add(s.CPUPct)
	u.net.add(s.NetBusyPct)
	u.device.add(s.DevicePct)
	u.dropped += max(0, s.NetDropped)
}

// list names the resources of a node of which anything is known.
func (u *nodeUse) list(name string, cores int) []result.Use {
	var list []result.Use
	add := func(resource string, share float64, format string, args ...any) {
		list = append(list, result.Use{Resource: resource, Node: name, Utilisation: share, Text: name + fmt.Sprintf(format, args...)})
	}
	if u.cpu.n > 0 {
		add("node-cpu", u.cpu.value()/100/float64(cores), " used %.0f %% of a core, of %d it may use", u.cpu.value(), cores)
	}
	if u.device.n > 0 {
		add("device", u.device.value()/100, "'s busiest device was used to %.0f %% of what it can do", u.device.value())
	}
	if u.net.n > 0 {
		text := fmt.Sprintf(" used %.0f %% of its link and receive buffer", u.net.value())
		if u.dropped > 0 {
			text = fmt.Sprintf("'s port had no room for %d datagrams, in %.0f %% of the samples", u.dropped, u.net.value())
		}
		add("network", u.net.value()/100, "%s", text)
	}
	return list
}

// generatorUse lists what the generator and its host used.
func (r *recorder) generatorUse(m *result.Summary) []result.Use {
	var list []result.Use
	var host, net, drops mean
	dropped := int64(0)
	for _, g := range r.generator {
		if g.TSec < 1 {
			continue
		}
		host.add(g.HostCPUPct)
		net.add(g.NetBusyPct)
		full := 0.0
		if g.NetDropped > 0 {
			full, dropped = 1, dropped+g.NetDropped
		}
		drops.add(full)
	}
	if host.n > 0 {
		what := "the generator's host"
		if m.Generator.LocalNodes > 0 {
			what = "the host of the generator and " + drive.Nodes(m.Generator.LocalNodes)
		}
		list = append(list, result.Use{Resource: "host-cpu", Utilisation: host.value() / 100, Text: fmt.Sprintf("%s was %.0f %% busy", what, host.value())})
	}
	if net.n > 0 {
		list = append(list, result.Use{Resource: "host-network", Utilisation: net.value() / 100,
			Text: fmt.Sprintf("the generator's host used %.0f %% of its link", net.value())})
	}
	if dropped > 0 {
		list = append(list, result.Use{Resource: "host-buffers", Utilisation: drops.value(),
			Text: fmt.Sprintf("UDP buffers of the generator's host had no room for %d datagrams, in %.0f %% of the seconds", dropped, 100*drops.value())})
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
	return list
}
