package recompute

import (
	"fmt"

	"headroom/loadgen/result"
)

// printed is what one decimal of a percentage hides of a share.
const printed = 0.00051

// mean of figures; negative ones are unknown.
type mean struct{ sum, n float64 }

func (m *mean) add(v float64) {
	if v >= 0 {
		m.sum += v
		m.n++
	}
}

// use recomputes how busy each resource was.
func (c *checker) use() {
	for i, u := range c.run.Summary.Use {
		share, from, ok := c.share(u)
		if !ok {
			continue
		}
		c.close(fmt.Sprintf("use[%d].utilisation", i), u.Utilisation, share, printed, from)
	}
}

// share is how busy the resource of u was; not ok when no raw file tells.
func (c *checker) share(u result.Use) (share float64, from string, ok bool) {
	g := c.run.Summary.Generator
	switch {
	case u.Node != "":
		m := c.nodeMean(u)
		return m.sum / max(m.n, 1), "nodes/" + u.Node + ".csv", m.n > 0
	case u.Resource == "generator-cpu" && g.GOMAXPROCS > 0:
		return g.CPUPct / 100 / float64(g.GOMAXPROCS), "generator.cpu_pct", true
	case u.Resource == "in-flight" && g.InFlightMax > 0:
		return float64(g.InFlightPeak) / float64(g.InFlightMax), "generator.in_flight_peak", true
	case u.Resource == "device":
		most := c.meters[result.MeterDeviceOver].Diff()
		return min(c.meters[result.MeterDevice].Diff()/max(most, 1), 1), "meters.csv", most > 0
	}
	m := c.hostMean(u.Resource)
	return m.sum / max(m.n, 1), "generator.csv", m.n > 0
}

// nodeMean is over the samples of the measured phase, each of which tells of the
// time before it.
func (c *checker) nodeMean(u result.Use) (m mean) {
	cores := c.run.Environment.Cores
	if n := c.run.Summary.Generator.LocalNodes; n > 0 {
		cores = max(1, cores/n) // what the launcher gives each
	}
	for _, x := range c.run.Nodes[u.Node] {
		if !x.Up || x.TSec < 1 || x.TSec > c.run.Summary.DurationSec+1 {
			continue
		}
		switch u.Resource {
		case "node-cpu":
			m.add(x.CPUPct / 100 / float64(max(cores, 1)))
		case "device":
			m.add(x.DevicePct / 100)
		case "network":
			m.add(x.NetBusyPct / 100)
		}
	}
	return m
}

func (c *checker) hostMean(resource string) (m mean) {
	for _, x := range c.run.Generator {
		if x.TSec < 1 {
			continue
		}
		switch resource {
		case "host-cpu":
			m.add(x.HostCPUPct / 100)
		case "host-network":
			m.add(x.NetBusyPct / 100)
		case "host-buffers":
			full := 0.0
			if x.NetDropped > 0 {
				full = 1
			}
			m.add(full)
		}
	}
	return m
}
