package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"headroom/planner/model"
)

// Observed is what a living cluster was seen to hold and do.
type Observed struct {
	Nodes       int     // that answered
	Members     int     // of the View, as the nodes say
	DeviceBytes float64 // of records on devices, at the node that has most
	Namespaces  map[string]Seen
}

// Seen is one namespace of a living cluster.
type Seen struct {
	Records     float64 // all copies
	ReadsPerSec float64
	WritesPerS  float64 // at masters
	MostBytes   float64 // index and data at the fullest node
	Unavailable float64 // partitions
	Migrating   float64 // partitions to migrate
}

// DriftLine is one figure of the plan against what was seen.
type DriftLine struct {
	What    string   `json:"what"`
	Planned *float64 `json:"planned"`
	Found   *float64 `json:"found"`
	// Over says that what was found is beyond what was planned for.
	Over bool   `json:"over"`
	Text string `json:"text"`
}

// driftTolerance is how far beyond the plan is still the plan: partitions
// differ by that much in small clusters.
const driftTolerance = 0.05

// Drift holds a plan's answer against a living cluster. What the plan carries
// is what it was made for: its horizon and its peak.
func (p *Plan) Drift(o Observed) ([]DriftLine, error) {
	best := p.Best()
	if best == nil {
		return nil, fmt.Errorf("the plan has no answer: nothing to compare a cluster with")
	}
	var list []DriftLine
	add := func(what string, planned, found float64, over bool, format string, args ...any) {
		list = append(list, DriftLine{what, finite(planned), finite(found), over, fmt.Sprintf(format, args...)})
	}
	add("nodes", float64(best.Nodes), float64(o.Members), o.Members < best.Nodes, "%s", nodesText(best.Nodes, o.Members, o.Nodes))
	at := func(t *model.Triple) float64 { return t.P50 }
	bytes, planned, records := 0.0, 0.0, 0.0
	for i := range p.Requirements.Namespaces {
		n := &p.Requirements.Namespaces[i]
		seen, ok := o.Namespaces[n.Name]
		if !ok {
			add(n.Name, math.NaN(), math.NaN(), true, "the cluster has no namespace %q", n.Name)
			continue
		}
		var d demand
		d.add(n, at, p.Requirements.Horizon)
		bytes += seen.MostBytes
		found := seen.Records / float64(best.Copies)
		planned, records = planned+d.records, records+found
		add(n.Name+" records", d.records, found, beyond(found, d.records), "%s", compared(found, d.records, "records"))
		add(n.Name+" reads", d.reads, seen.ReadsPerSec, beyond(seen.ReadsPerSec, d.reads), "%s", compared(seen.ReadsPerSec, d.reads, "reads a second at the peak"))
		add(n.Name+" writes", d.writes, seen.WritesPerS, beyond(seen.WritesPerS, d.writes), "%s", compared(seen.WritesPerS, d.writes, "writes a second at the peak"))
		if seen.Unavailable > 0 {
			add(n.Name+" unavailable", 0, seen.Unavailable, true, "%.0f partitions have no full copy", seen.Unavailable)
		}
		if seen.Migrating > 0 {
			add(n.Name+" migrating", 0, seen.Migrating, false, "%.0f partitions are being migrated: figures per node are of a cluster that changes", seen.Migrating)
		}
	}
	for name := range o.Namespaces {
		if !slices.ContainsFunc(p.Requirements.Namespaces, func(n Namespace) bool { return n.Name == name }) && o.Namespaces[name].Records > 0 {
			add(name, math.NaN(), o.Namespaces[name].Records, true, "namespace %q is not in the plan and holds records", name)
		}
	}
	bytes += o.DeviceBytes
	text := p.whyBytes(best, bytes)
	if each := bytes / records * planned / best.BytesPerNode; records > 0 && math.Abs(each-1) > driftTolerance {
		text += fmt.Sprintf("; a record takes %.2g times what was planned", each)
	}
	add("bytes per node", best.BytesPerNode, bytes, beyond(bytes, best.BytesPerNode), "%s", text)
	return list, nil
}

func beyond(found, planned float64) bool { return found > planned*(1+driftTolerance) }

func nodesText(planned, members, answered int) string {
	text := fmt.Sprintf("%d planned, %d in the View", planned, members)
	if answered != members {
		text += fmt.Sprintf(", %d answered: give --metrics for every node", answered)
	}
	return text
}

// compared puts found and planned in words.
func compared(found, planned float64, what string) string {
	if planned <= 0 {
		return fmt.Sprintf("%.4g %s, none planned", found, what)
	}
	return fmt.Sprintf("%.4g %s, %s of the %.4g planned", found, what, percent(found/planned), planned)
}

// whyBytes says how full the fullest node is against its limit and what moved
// it away from the plan.
func (p *Plan) whyBytes(best *Candidate, found float64) string {
	text := compared(found, best.BytesPerNode, "bytes at the fullest node")
	for _, s := range best.States {
		if s.State != stateNames[Healthy] || best.BytesPerNode <= 0 {
			continue
		}
		for _, r := range []string{resourceNames[DeviceBytes], resourceNames[Memory], resourceNames[IndexMemory]} {
			if use := s.Resources[r]; use != nil {
				text += fmt.Sprintf("; the plan has %s at %s of its limit, this is %s", strings.ReplaceAll(r, "_", " "), percent(*use), percent(*use*found/best.BytesPerNode))
				break
			}
		}
	}
	return text
}
