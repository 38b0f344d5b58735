package runs

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// deviceUse is the samples of one device.
type deviceUse struct {
	label, node, path string
	list              []result.DeviceSample // of the measured phase
}

// deviceMeasures are what is drawn of every device.
var deviceMeasures = []struct {
	name, unit, what string
	y                chart.Measure
	of               func(result.DeviceSample) float64
	print            func(float64) string
}{
	{"device-busy", "busiest resource of the device", "use of a device's busiest resource", chart.Percent, func(s result.DeviceSample) float64 { return s.BusyPct },
		func(v float64) string { return fmt.Sprintf("%.0f %%", v) }},
	{"device-queue", "requests under way, mean of a second", "mean queue depth", chart.Default, func(s result.DeviceSample) float64 { return s.Queue },
		func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }},
	{"device-read-latency", "time of a read, mean of a second", "mean time of a read", chart.Times, func(s result.DeviceSample) float64 { return s.ReadUS }, stats.Micros},
	{"device-write-latency", "time of a write, mean of a second", "mean time of a write", chart.Times, func(s result.DeviceSample) float64 { return s.WriteUS }, stats.Micros},
	{"device-read-bytes", "bytes read per second", "rate of reading", chart.Sizes, func(s result.DeviceSample) float64 { return s.ReadBPerS },
		func(v float64) string { return stats.Bytes(v) + "/s" }},
	{"device-write-bytes", "bytes written per second", "rate of writing", chart.Sizes, func(s result.DeviceSample) float64 { return s.WriteBPerS },
		func(v float64) string { return stats.Bytes(v) + "/s" }},
}

// devices adds the section on the nodes' devices, if there are any.
func devices(d *page.Document, f *stats.Facts) {
	list := deviceUses(f)
	if len(list) == 0 {
		return
	}
	blocks := []page.Block{page.Text(deviceSentence(f, len(list)))}
	d.Add("devices", "Devices", append(append(blocks, deviceFigures(f, list)...), deviceTable(list))...)
}

// deviceUses returns every device in the order of nodes and paths.
func deviceUses(f *stats.Facts) (out []deviceUse) {
	for node, samples := range f.Run.Devices {
		paths := map[string][]result.DeviceSample{}
		for _, s := range samples {
			if s.TSec >= 0 && s.TSec <= f.End()+1 {
				paths[s.Device] = append(paths[s.Device], s)
			}
		}
		for path, list := range paths {
			u := deviceUse{label: node, node: node, path: path, list: list}
			if len(paths) > 1 {
				u.label = node + " " + filepath.Base(path)
			}
			out = append(out, u)
		}
	}
	order := nodeNames(f)
	slices.SortFunc(out, func(a, b deviceUse) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.node), slices.Index(order, b.node)), cmp.Compare(a.node, b.node), cmp.Compare(a.path, b.path))
	})
	return out
}

// deviceSentence says what the devices are, and how their time runs.
func deviceSentence(f *stats.Facts, n int) string {
	text := stats.Plural(int64(n), "device") + " held records. A sample covers the second before it."
	if x := f.Run.Summary.Device; x != nil && x.Dilation > 1 {
		text += fmt.Sprintf(" They are emulated (%s), slowed down %s times: times here are %[2]s times those of the real device, rates as many times lower.",
			x.Profile, strconv.FormatFloat(x.Dilation, 'g', 4, 64))
	}
	return text
}

// deviceFigures draws each measure over time, devices side by side.
func deviceFigures(f *stats.Facts, list []deviceUse) []page.Block {
	var panels []chart.Panel
	var names, idle, unknown, labels []string
	var hovers []*page.Hover
	for _, u := range list {
		labels = append(labels, u.label)
	}
	for _, m := range deviceMeasures {
		curves := map[string][]chart.Point{}
		peak, of, at := 0.0, "", 0.0
		for _, u := range list {
			for _, s := range u.list {
				v := m.of(s)
				curves[u.label] = append(curves[u.label], chart.Point{X: s.TSec, Y: v})
				if v > peak {
					peak, of, at = v, u.label, s.TSec
				}
			}
		}
		if known, some := values(curves); !known {
			unknown = append(unknown, m.what)
			continue
		} else if !some {
			idle = append(idle, m.what)
			continue
		}
		p := chart.Panel{Unit: m.unit, Y: m.y, To: f.End(), Bands: bands(f), NameBands: len(panels) == 0, Height: 110,
			Alt: fmt.Sprintf("The highest %s was %s, of %s at %.0f s.", m.what, m.print(peak), of, at)}
		hovers = append(hovers, sideBySide(f, &p, labels, curves, of, m.print))
		panels, names = append(panels, p), append(names, m.name)
	}
	return append(stacked(panels, names, hovers), undrawn(idle, unknown)...)
}

// deviceTable sums each device up over the measured phase.
func deviceTable(list []deviceUse) *page.Table {
	t := &page.Table{Name: "devices", Label: "How each device was used in the measured phase", Head: []string{"Device", "busy", "queue", "reads", "writes", "syncs",
		"a read", "a write", "a sync", "read", "written"}, Units: map[int]string{1: "%", 3: "1/s", 4: "1/s", 5: "1/s", 6: "us", 7: "us", 8: "us", 9: "B/s", 10: "B/s"}}
	for _, u := range list {
		m := meanUse(u.list)
		cells := []page.Cell{{Text: u.label, Note: u.path}, numberCell(m.BusyPct, func(v float64) string { return fmt.Sprintf("%.0f %%", v) }),
			numberCell(m.Queue, func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) })}
		for _, v := range []float64{m.ReadsPerS, m.WritesPerS, m.SyncsPerS} {
			cells = append(cells, numberCell(v, func(v float64) string { return stats.Rate(v) + "/s" }))
		}
		for _, v := range []float64{m.ReadUS, m.WriteUS, m.SyncUS} {
			cells = append(cells, numberCell(v, stats.Micros))
		}
		for _, v := range []float64{m.ReadBPerS, m.WriteBPerS} {
			cells = append(cells, numberCell(v, func(v float64) string { return stats.Bytes(v) + "/s" }))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// meanUse is the use over all samples: each weighs as much as the time, or the
// requests, that it covers.
func meanUse(list []result.DeviceSample) (m result.DeviceSample) {
	var reads, writes, syncs, readUS, writeUS, syncUS float64
	for _, s := range list {
		m.OverSec += s.OverSec
	}
	weigh := func(n, took *float64, perS, us, over float64) {
		if !math.IsNaN(us) {
			*n += perS * over
			*took += perS * over * us
		}
	}
	for _, s := range list {
		w := s.OverSec / max(m.OverSec, 1e-9)
		m.BusyPct += w * s.BusyPct
		m.Queue += w * s.Queue
		m.ReadsPerS += w * s.ReadsPerS
		m.WritesPerS += w * s.WritesPerS
		m.SyncsPerS += w * s.SyncsPerS
		m.ReadBPerS += w * s.ReadBPerS
		m.WriteBPerS += w * s.WriteBPerS
		weigh(&reads, &readUS, s.ReadsPerS, s.ReadUS, s.OverSec)
		weigh(&writes, &writeUS, s.WritesPerS, s.WriteUS, s.OverSec)
		weigh(&syncs, &syncUS, s.SyncsPerS, s.SyncUS, s.OverSec)
	}
	m.ReadUS, m.WriteUS, m.SyncUS = readUS/reads, writeUS/writes, syncUS/syncs // NaN without requests
	return m
}

func numberCell(v float64, print func(float64) string) page.Cell {
	if math.IsNaN(v) {
		return page.Cell{Text: "none", Faint: true}
	}
	return page.Cell{Text: print(v), Raw: strconv.FormatFloat(v, 'f', -1, 64)}
}

// values says whether a measure has any value, and any that is not zero.
func values(curves map[string][]chart.Point) (known, some bool) {
	for _, c := range curves {
		for _, p := range c {
			known = known || !math.IsNaN(p.Y)
			some = some || !math.IsNaN(p.Y) && p.Y != 0
		}
	}
	return known, some
}

// undrawn says which measures have no figure, and why.
func undrawn(zero, unknown []string) (out []page.Block) {
	if len(zero) > 0 {
		out = append(out, page.Absent("Zero in every sample, and not drawn: "+strings.Join(zero, ", ")+"."))
	}
	if len(unknown) > 0 {
		out = append(out, page.Absent("Without a value in any sample, and not drawn: "+strings.Join(unknown, ", ")+"."))
	}
	return out
}
