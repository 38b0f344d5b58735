package studies

import (
	"fmt"
	"math"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// headline of a cell: the knee where one was searched, else what was achieved.
func cellRate(c result.Cell) float64 {
	switch {
	case c.State != result.CellDone:
		return math.NaN()
	case c.KneeOpsPerSec != nil:
		return *c.KneeOpsPerSec
	default:
		return c.AchievedOpsPerSec
	}
}

func matrixDocument(m *result.Matrix) *page.Document {
	d := begin("Headroom matrix report", matrixTitle(m), m.Study)
	if t := deviceTable(m); t != nil {
		d.Add("devices", "By "+t.Head[0], page.Text(rateMeaning(m)), t)
	}
	d.Add("cells", "Every combination", cellFigure(m), cellTable(m), runTable(m))
	if len(m.Cells) == 0 {
		d.Add("cells", "Every combination", page.Absent("The matrix has no cell."))
	}
	return end(d, m.Study)
}

func rateMeaning(m *result.Matrix) string {
	if len(m.SLO) > 0 {
		return "The highest rate that holds " + sloText(m.SLO) + ", and the p99 measured there. A cell without a figure says why."
	}
	return "The achieved rate and its p99. Without an SLO these are not capacities. A cell without a figure says why."
}

func matrixTitle(m *result.Matrix) string {
	done, best, stretches := 0, -1, map[float64]bool{}
	for i, c := range m.Cells {
		if c.State != result.CellDone {
			continue
		}
		done++
		stretches[c.Dilated()] = true
		if best < 0 || cellRate(c) > cellRate(m.Cells[best]) {
			best = i
		}
	}
	if len(stretches) > 1 { // cells of different dilation share no ranking
		return fmt.Sprintf("%d of %s done, on devices whose times are stretched differently: no ranking", done, stats.Plural(int64(len(m.Cells)), "combination"))
	}
	if best < 0 {
		return fmt.Sprintf("None of %s is done", stats.Plural(int64(len(m.Cells)), "combination"))
	}
	t := fmt.Sprintf("%d of %s done", done, stats.Plural(int64(len(m.Cells)), "combination"))
	rate := rateText(cellRate(m.Cells[best]))
	switch n := alike(m, cellRate(m.Cells[best])); {
	case n == done && done > 1:
		return t + fmt.Sprintf("; each at %s, so that only their latencies differ", rate)
	case n > 1:
		return t + fmt.Sprintf("; the most is %s, of %d combinations alike", rate, n)
	}
	return t + fmt.Sprintf("; the most is %s with %s", rate, name(m, m.Cells[best], ""))
}

// alikeShare is how near a rate must come to the highest to be the same: one run
// a cell tells no smaller difference.
const alikeShare = 0.99

// alike counts the cells that are done whose rate is the highest.
func alike(m *result.Matrix, most float64) (n int) {
	for _, c := range m.Cells {
		if cellRate(c) >= alikeShare*most {
			n++
		}
	}
	return n
}

// name says which combination a cell is, without the axis named except.
func name(m *result.Matrix, c result.Cell, except string) string {
	var parts []string
	for _, a := range m.Axes {
		if a.Name != except && (len(a.Values) > 1 || len(m.Axes) == 1) {
			parts = append(parts, axisValue(a.Name, c.Values[a.Name]))
		}
	}
	if len(parts) == 0 {
		for _, a := range m.Axes {
			if a.Name != except {
				parts = append(parts, c.Values[a.Name])
			}
		}
	}
	return strings.Join(parts, ", ")
}

// axisValue is a value with as much of its axis' name as it needs.
func axisValue(axis, v string) string {
	switch axis {
	case "nodes":
		if v == "1" {
			return "1 node"
		}
		return v + " nodes"
	case "replication-factor":
		return "RF " + v
	case "value-size":
		return v + " values"
	case "workload", "device":
		return v
	}
	return axis + " " + v
}

// deviceTable puts the values of one axis in rows and everything else in
// columns: device types where there are some, else the axis with most values.
func deviceTable(m *result.Matrix) *page.Table {
	axis := -1
	for i, a := range m.Axes {
		if len(a.Values) > 1 && (axis < 0 || a.Name == "device" || m.Axes[axis].Name != "device" && len(a.Values) > len(m.Axes[axis].Values)) {
			axis = i
		}
	}
	if axis < 0 {
		return nil
	}
	by := m.Axes[axis]
	t := &page.Table{Name: "by-" + by.Name, Label: "Rate and p99 by " + by.Name, Head: []string{by.Name}}
	col := map[string]int{}
	for _, c := range m.Cells {
		n := name(m, c, by.Name)
		if _, ok := col[n]; !ok {
			col[n] = len(t.Head)
			t.Head = append(t.Head, n)
		}
	}
	const maxColumns = 12
	if len(t.Head) > maxColumns {
		return nil // the table of all cells tells it better
	}
	for _, v := range by.Values {
		row := make([]page.Cell, len(t.Head))
		row[0] = page.Cell{Text: v}
		for i := 1; i < len(row); i++ {
			row[i] = page.Cell{Text: "not run", Faint: true}
		}
		for _, c := range m.Cells {
			if c.Values[by.Name] == v {
				row[col[name(m, c, by.Name)]] = rateCell(c)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func rateCell(c result.Cell) page.Cell {
	if c.State != result.CellDone {
		text := string(c.State)
		if text == "" {
			text = "not run"
		}
		return page.Cell{Text: text, Note: c.Error, Faint: c.State != result.CellFailed, Bad: c.State == result.CellFailed}
	}
	v := page.Cell{Text: rateText(cellRate(c)), Raw: raw(cellRate(c)), Bad: c.Lost > 0}
	if c.P99US != nil {
		v.Note = "p99 " + stats.Micros(*c.P99US)
	}
	if c.LimitingText != "" {
		word := "; limited by "
		if !limited(c) {
			word = "; busiest: "
		}
		v.Note = strings.TrimPrefix(v.Note+word+c.Limiting, "; ")
	}
	if f := c.Dilated(); f > 1 {
		v.Note += "; " + stretched(c, f)
	}
	if c.Lost > 0 {
		v.Note = stats.Plural(c.Lost, "acknowledged write") + " lost"
	}
	return v
}

// limited reports whether a cell's rate is what the cell could do: the knee of
// one, the rate of a closed loop, or less than was offered.
func limited(c result.Cell) bool {
	return c.KneeOpsPerSec != nil || c.OfferedOpsPerSec <= 0 || c.AchievedOpsPerSec < alikeShare*c.OfferedOpsPerSec
}

// stretched says what a cell on a time-dilated device is in the device's own
// time. Only what the device limits scales with it.
func stretched(c result.Cell, f float64) string {
	text := fmt.Sprintf("time stretched %g times", f)
	if c.Limiting != "device" {
		return text + fmt.Sprintf(": the device's share of a latency is 1/%g in its own time, and it was not the limit", f)
	}
	text += ": " + rateText(cellRate(c)*f)
	if c.P99US != nil {
		text += " and p99 " + stats.Micros(*c.P99US/f)
	}
	return text + " in the device's own time"
}

// cellFigure shows all rates side by side, or where they are alike all
// latencies. Dilated devices have an axis of their own and are in the table
// only: their rates are not this machine's.
func cellFigure(m *result.Matrix) *page.Figure {
	var list []result.Cell
	most, timed := 0.0, 0
	for _, c := range m.Cells {
		if v := cellRate(c); !math.IsNaN(v) && c.Dilated() <= 1 {
			list, most = append(list, c), max(most, v)
			if c.P50US != nil && c.P99US != nil {
				timed++
			}
		}
	}
	if len(list) < 2 || len(list) > 40 {
		return nil
	}
	if alike(m, most) >= len(list) && timed == len(list) {
		return latencyRows(m, list)
	}
	r := chart.Rows{Unit: "operations per second", Alt: matrixTitle(m) + "."}
	for _, c := range list {
		v := cellRate(c)
		r.Rows = append(r.Rows, chart.Row{Label: name(m, c, ""), Text: rateText(v), Bars: []chart.Bar{{To: v, Ink: chart.Blue}}})
	}
	return rows("rates", r)
}

// latencyRows shows the latencies of cells at one rate.
func latencyRows(m *result.Matrix, list []result.Cell) *page.Figure {
	r := chart.Rows{Unit: "response time from p50 to p99, dot at p99, log scale", Log: true, Alt: matrixTitle(m) + ". One run each: a difference wants repeats."}
	for _, c := range list {
		r.Rows = append(r.Rows, chart.Row{Label: name(m, c, ""), Text: stats.Micros(*c.P99US),
			Bars: []chart.Bar{{From: *c.P50US, To: *c.P99US, Ink: chart.BlueWash}}, Dots: []chart.Dot{{At: *c.P99US, Ink: chart.Blue}}})
	}
	return rows("latencies", r)
}

// axisCell is a cell's value on an axis; a device's class and dilation are part
// of what it is.
func axisCell(c result.Cell, axis string) page.Cell {
	v := page.Cell{Text: c.Values[axis]}
	if axis == "device" && c.Device != nil {
		if c.Device.Class != v.Text {
			v.Note = c.Device.Class
		}
		if f := c.Dilated(); f > 1 {
			v.Note = strings.TrimPrefix(v.Note+fmt.Sprintf(", time stretched %g times", f), ", ")
		}
	}
	return v
}

// cellTable has a row for each combination, and a column for each axis on which
// they differ.
func cellTable(m *result.Matrix) *page.Table {
	if len(m.Cells) == 0 {
		return nil
	}
	t := &page.Table{Name: "cells", Label: "Every combination", Head: []string{"N"}, Words: map[int]bool{}}
	var axes []string
	for _, a := range m.Axes {
		if len(a.Values) > 1 || a.Name == "device" {
			t.Words[len(t.Head)] = true
			t.Head, axes = append(t.Head, a.Name), append(axes, a.Name)
		}
	}
	t.Head = append(t.Head, "rate", "p50", "p99", "failed", "lost", "busiest")
	t.Words[len(t.Head)-1] = true
	for _, c := range m.Cells {
		row := []page.Cell{{Text: fmt.Sprint(c.N)}}
		for _, a := range axes {
			row = append(row, axisCell(c, a))
		}
		t.Rows = append(t.Rows, append(row, measuredCells(c)...))
	}
	return t
}

// measuredCells are what a combination gave; one that was not run has a reason
// and no figures.
func measuredCells(c result.Cell) []page.Cell {
	rate := rateCell(c)
	if c.State != result.CellDone {
		return append([]page.Cell{rate}, make([]page.Cell, 5)...)
	}
	if rate.Note = ""; c.Dilated() > 1 {
		rate.Note = stretched(c, c.Dilated())
	}
	return []page.Cell{rate, {Text: optionalMicros(c.P50US)}, {Text: optionalMicros(c.P99US)}, {Text: stats.Count(c.Failed), Bad: c.Failed > 0},
		{Text: stats.Count(c.Lost), Bad: c.Lost > 0}, {Text: c.Limiting}}
}

// runTable says how each combination was run, and where it is kept.
func runTable(m *result.Matrix) page.Block {
	t := &page.Table{Name: "cell-runs", Label: "How each combination ran", Head: []string{"N", "node CPU", "node memory", "verdict", "folder"}, Words: map[int]bool{3: true, 4: true}}
	for _, c := range m.Cells {
		if c.State != result.CellDone {
			continue
		}
		cpu := page.Cell{Text: page.Missing, Faint: true}
		if c.NodeCPUPct != nil {
			cpu = page.Cell{Text: fmt.Sprintf("%.0f %%", *c.NodeCPUPct), Raw: raw(*c.NodeCPUPct)}
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: fmt.Sprint(c.N)}, cpu, {Text: stats.Bytes(float64(c.NodeRSSBytes))}, {Text: c.Verdict}, {Text: c.Dir}})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return page.Details{Summary: "How each combination ran", Blocks: []page.Block{t}}
}
