package studies

import (
	"fmt"
	"math"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/runs"
	"headroom/reports/stats"
)

// The document of a device's qualification, which stands beside the run.json
// of its last load.
const (
	deviceFile   = "device.json"
	deviceFormat = "headroom-device/1"
)

// device is device.json as far as the report shows it.
type device struct {
	Path      string   `json:"path"`
	Class     string   `json:"class"`
	ClassWhy  string   `json:"class_why"`
	SizeBytes int64    `json:"size_bytes"`
	Rate      float64  `json:"rate_ops_per_s"`
	ACTX      *float64 `json:"act_x"`
	Load      struct {
		ReadShare   float64 `json:"read_share"`
		RecordBytes int     `json:"record_bytes"`
		BlockBytes  int     `json:"block_bytes"`
		ReadsPerS   float64 `json:"reads_per_s"`
		BlocksPerS  float64 `json:"blocks_per_s"`
	} `json:"load"`
	Limits   []string `json:"limits"`
	Passed   bool     `json:"passed"`
	Why      string   `json:"why"`
	Slices   []slice  `json:"slices"`
	Worst    int      `json:"worst_slice"`
	Searched []struct {
		Rate   float64 `json:"rate_ops_per_s"`
		Passed bool    `json:"passed"`
		Why    string  `json:"why"`
	} `json:"searched"`
	Profile   string `json:"profile"`
	Emulation *struct {
		Profile  string  `json:"profile"`
		Class    string  `json:"class"`
		Dilation float64 `json:"dilation"`
	} `json:"emulation"`
}

// slice is a stretch of the load that is judged by itself.
type slice struct {
	TSec    int `json:"t_s"`
	Seconds int `json:"seconds"`
	Kinds   []struct {
		Kind   string             `json:"kind"`
		Count  int64              `json:"count"`
		Failed int64              `json:"failed"`
		P      result.Percentiles `json:"response_us"`
	} `json:"kinds"`
	Over   []float64 `json:"over"`
	Passed bool      `json:"passed"`
}

// deviceDocument is the report of the run with what it says about the device
// before everything else.
func deviceDocument(dir string, v *device) (*page.Document, error) {
	run, problems, err := stats.Load(dir)
	if err != nil {
		return nil, err
	}
	var missed []string
	for _, p := range problems {
		if !strings.HasPrefix(p, "workload.yaml is missing") { // blocks are no workload
			missed = append(missed, p)
		}
	}
	d := runs.Document(stats.Derive(run, missed))
	d.Kind, d.Title = "Headroom device report", deviceTitle(v)
	own := &page.Document{}
	own.Add("device", "The device", deviceValues(v), page.Text(deviceText(v)), sliceFigure(v), sliceTable(v), searchTable(v))
	at := min(1, len(d.Sections)) // after the verdicts
	sections := append([]page.Section(nil), d.Sections[:at]...)
	for _, s := range append(own.Sections, d.Sections[at:]...) {
		if s.ID != "figures" && s.ID != "audit" && s.ID != "redundancy" && s.ID != "nodes" { // a device has none of these
			sections = append(sections, s)
		}
	}
	d.Sections = sections
	return d, nil
}

func (v *device) name() string {
	if e := v.Emulation; e != nil {
		return "The emulated device " + e.Profile
	}
	return "The device " + v.Path
}

func deviceTitle(v *device) string {
	did := "does not pass"
	if v.Passed {
		did = "passes"
	}
	t := fmt.Sprintf("%s %s at %s", v.name(), did, rateText(v.Rate))
	if v.ACTX != nil {
		t += fmt.Sprintf(" (%.3gx of ACT)", *v.ACTX)
	}
	if v.Emulation != nil && v.Emulation.Dilation != 1 {
		t += fmt.Sprintf(", time stretched %g times", v.Emulation.Dilation)
	}
	return t
}

func deviceValues(v *device) page.Values {
	out := page.Values{
		{Label: "Class", Text: v.Class, Note: v.ClassWhy},
		{Label: "Load", Text: rateText(v.Rate), Note: fmt.Sprintf("%s reads and %s blocks of %s a second", stats.Rate(v.Load.ReadsPerS), stats.Rate(v.Load.BlocksPerS), stats.Bytes(float64(v.Load.BlockBytes)))},
		{Label: "Size", Text: stats.Bytes(float64(v.SizeBytes))}}
	if e := v.Emulation; e != nil && e.Dilation > 0 && e.Dilation != 1 {
		out = append(out, page.Value{Label: "Dilation", Text: fmt.Sprintf("%g", e.Dilation), Bad: true,
			Note: fmt.Sprintf("driven at %s: latencies and limits here are %g times those of the device itself", rateText(v.Rate/e.Dilation), e.Dilation)})
	}
	return out
}

func deviceText(v *device) string {
	text := "Limits: " + strings.Join(v.Limits, "; ") + "."
	if len(v.Limits) == 0 {
		text = "No limit was set."
	}
	if v.Why != "" {
		text += " " + strings.ToUpper(v.Why[:1]) + v.Why[1:] + "."
	}
	return text
}

// sliceFigure draws the p99 of each kind of operation slice by slice, nil
// without percentiles.
func sliceFigure(v *device) *page.Figure {
	byKind := map[string]*chart.Series{}
	var order []string
	end, n := 1.0, 0
	for _, s := range v.Slices {
		end = max(end, float64(s.TSec+s.Seconds))
		for _, k := range s.Kinds {
			if byKind[k.Kind] == nil {
				byKind[k.Kind] = &chart.Series{Name: k.Kind, Ink: chart.Lines[len(order)%len(chart.Lines)], Dots: len(v.Slices) <= 60}
				order = append(order, k.Kind)
			}
			p := value(k.P, "p99")
			if !math.IsNaN(p) {
				n++
			}
			byKind[k.Kind].Points = append(byKind[k.Kind].Points, chart.Point{X: float64(s.TSec) + float64(s.Seconds)/2, Y: p})
		}
	}
	if n == 0 {
		return nil
	}
	p := chart.Panel{Unit: "p99 of a slice, log scale", Log: true, To: end, Height: 200}
	for _, k := range order {
		p.Series = append(p.Series, *byKind[k])
	}
	p.Alt = fmt.Sprintf("The p99 of each kind of operation in %s of the load. %s.", stats.Plural(int64(len(v.Slices)), "slice"), deviceTitle(v))
	return figure("slices", p)
}

// maxSlices bounds the table of slices.
const maxSlices = 100

func sliceTable(v *device) *page.Table {
	t := &page.Table{Name: "slices", Label: "Slices of the load", Head: []string{"Slice", "verdict", "most beyond a limit"}, Words: map[int]bool{1: true}}
	for i, s := range v.Slices {
		if i == maxSlices {
			break
		}
		verdict := page.Cell{Text: "passed"}
		if !s.Passed {
			verdict = page.Cell{Text: "failed", Bad: true}
		}
		row := []page.Cell{{Text: fmt.Sprintf("%d to %d s", s.TSec, s.TSec+s.Seconds)}, verdict, {Text: over(s.Over)}}
		if i == v.Worst {
			row[0].Note = "the worst"
		}
		for _, k := range s.Kinds {
			if i == 0 {
				t.Head = append(t.Head, k.Kind+" p99")
			}
			row = append(row, latencyCell(k.P, "p99"))
		}
		if len(row) == len(t.Head) {
			t.Rows = append(t.Rows, row)
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

func over(list []float64) string {
	worst := -1.0
	for _, v := range list {
		worst = max(worst, v)
	}
	if worst < 0 {
		return "no limit"
	}
	return stats.Percent(math.Round(worst*1e4) / 1e4)
}

func searchTable(v *device) *page.Table {
	t := &page.Table{Name: "searched", Label: "Rates that were tried", Head: []string{"Rate", "verdict", "why"}, Words: map[int]bool{1: true, 2: true}}
	for _, s := range v.Searched {
		verdict := page.Cell{Text: "passed"}
		if !s.Passed {
			verdict = page.Cell{Text: "failed", Bad: true}
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: rateText(s.Rate), Raw: raw(s.Rate)}, verdict, {Text: s.Why}})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}
