package runs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// stageOf says whose time a stage is and what passes in it.
type stageOf struct {
	whose, what string
	ink         chart.Ink
}

var stageWords = map[string]stageOf{
	"lateness":    {"generator", "before it was sent", chart.Grey},
	"wait":        {"client", "for a node to send it to", chart.Grey},
	"send":        {"client", "in the send buffer", chart.Grey},
	"queue":       {"node", "behind earlier requests", chart.Blue},
	"admission":   {"node", "for the partition", chart.Blue},
	"storage":     {"node", "reading or writing the record", chart.Blue},
	"replication": {"node", "until every copy has it", chart.Plum},
	"durable":     {"node", "until the device has it", chart.Blue},
	"forward":     {"node", "passing it on to the master", chart.Blue},
	"reply":       {"node", "writing the reply", chart.Blue},
	"network":     {"network", "there and back", chart.Green},
	"receive":     {"client", "behind earlier answers", chart.Grey},
}

// rest is the row of what no stage accounts for.
const rest = "unaccounted"

// waterfalls adds the section that says where the time of sampled operations
// went.
func waterfalls(d *page.Document, f *stats.Facts) {
	s := f.Run.Summary.Stages
	if s == nil || len(s.Operations) == 0 {
		d.Add("stages", "Where the time goes", page.Absent("No operation was asked where its time went: the run was made with --waterfall off, or its target does not tell."))
		return
	}
	blocks := []page.Block{page.Text("Some operations asked the node to tell how long each stage of their way took; the client and the generator add theirs. " +
		"A row is the mean of sampled operations about as slow as the median, or as p99: these are the same operations in every bar, so that the bars add up to the whole. " +
		"Each bar begins where the one above ends.")}
	for _, op := range stats.Operations(f.Run) {
		if x, ok := s.Operations[op]; ok {
			blocks = append(blocks, waterfall(f, op, x)...)
		}
	}
	d.Add("stages", "Where the time goes", blocks...)
}

// waterfall returns what the samples of one operation show.
func waterfall(f *stats.Facts, op string, s result.StageSummary) []page.Block {
	blocks := []page.Block{page.Heading(op), page.Text(sampledSentence(s) + manySentence(op))}
	for _, row := range s.Rows {
		blocks = append(blocks, cascade(op, row))
	}
	if len(s.Rows) < 2 {
		blocks = append(blocks, page.Absent(fmt.Sprintf("Too few samples for a row of %s: 500 give one. Run longer, or with a smaller --waterfall.", missingRows(s.Rows))))
	}
	if s.Samples > 0 {
		inner := []page.Block{stageTable(f, op, s)}
		if idle := idleSentence(s); idle != nil {
			inner = append(inner, idle)
		}
		blocks = append(blocks, page.Details{Summary: "Stages of " + op + " in numbers", Blocks: inner})
	}
	return blocks
}

func missingRows(rows []result.StageRow) string {
	if len(rows) == 0 {
		return "the median or of p99"
	}
	return "p99"
}

// sampledSentence says how many operations the figures rest on.
func sampledSentence(s result.StageSummary) string {
	text := fmt.Sprintf("One operation in %s was asked; %s of %s told.", stats.Count(int64(s.Every)), stats.Count(s.Answered), stats.Count(s.Asked))
	if s.Answered < s.Asked {
		text += " The others failed, or their node is of a version that does not tell."
	}
	if s.Samples < s.Answered {
		text += fmt.Sprintf(" An even part of them was kept: %s.", stats.Count(s.Samples))
	}
	return text
}

// manySentence says whose time is that of an operation made of many requests.
func manySentence(op string) string {
	switch op {
	case "batch-get", "batch-put":
		return " The requests of a batch go to all nodes at once: these are the stages of the one that was answered last, and at its node those of the record that was ready last, its queue including the records before it."
	case "scan":
		return " The requests of a scan follow each other: their stages are added up."
	}
	return ""
}

// stagesShown are the stages of a row that take a thousandth of the whole or
// more, in order.
func stagesShown(row result.StageRow) (out []string) {
	for _, name := range result.StageNames {
		if row.StagesUS[name] >= row.ResponseUS/1000 {
			out = append(out, name)
		}
	}
	return out
}

// cascade draws one row of samples as a waterfall.
func cascade(op string, row result.StageRow) *page.Figure {
	r := chart.Rows{Unit: fmt.Sprintf("%s, operations near %s: from the intended start", op, row.At), X: chart.Times, Alt: cascadeCaption(op, row)}
	from := 0.0
	add := func(label string, us float64, ink chart.Ink) {
		r.Rows = append(r.Rows, chart.Row{Label: label, Text: fmt.Sprintf("%s, %s", stats.Micros(us), stagePercent(us, row)),
			Bars: []chart.Bar{{From: from, To: from + us, Ink: ink}}})
		from += us
	}
	left := 0.0 // of stages too short to show
	for _, name := range result.StageNames {
		if !slices.Contains(stagesShown(row), name) {
			left += row.StagesUS[name]
			continue
		}
		w := stageWords[name]
		add(stageLabel(name, w), row.StagesUS[name], w.ink)
	}
	label := rest
	if left > 0 {
		label = "shorter stages, " + rest
	}
	add(label, max(0, left+row.RestUS), chart.Amber)
	r.Rows = append(r.Rows, chart.Row{Label: "the whole", Text: stats.Micros(row.ResponseUS), Bars: []chart.Bar{{To: row.ResponseUS, Ink: chart.Text}}})
	return &page.Figure{Name: fmt.Sprintf("stages-%s-%s", op, row.At), Caption: r.Alt, Wide: r.Draw(chart.Wide), Narrow: r.Draw(chart.Narrow)}
}

func stageLabel(name string, w stageOf) string {
	if w.whose == name {
		return name + ", " + w.what
	}
	return fmt.Sprintf("%s: %s", w.whose, name)
}

func stagePercent(us float64, row result.StageRow) string {
	share := us / max(row.ResponseUS, 1e-3)
	if share > 0 && share < 0.0005 {
		return "<0.1 %"
	}
	return stats.Percent(math.Round(1000*share) / 1000)
}

// cascadeCaption names the stages that took most.
func cascadeCaption(op string, row result.StageRow) string {
	names := stagesShown(row)
	slices.SortStableFunc(names, func(a, b string) int { return cmpDown(row.StagesUS[a], row.StagesUS[b]) })
	text := fmt.Sprintf("%s of %s near %s (%s to %s) took %s on average", stats.Plural(int64(row.Samples), "sample"), op, row.At, stats.Micros(row.FromUS),
		stats.Micros(row.ToUS), stats.Micros(row.ResponseUS))
	for i, name := range names[:min(len(names), 2)] {
		w := stageWords[name]
		text += []string{": ", ", then "}[i] + fmt.Sprintf("%s %s (%s)", stagePercent(row.StagesUS[name], row), name, w.what)
	}
	return text + fmt.Sprintf("; no stage accounts for %s.", stats.Micros(max(0, row.RestUS)))
}

func cmpDown(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// stageTable holds the numbers of all stages of an operation that took any
// time.
func stageTable(f *stats.Facts, op string, s result.StageSummary) *page.Table {
	t := &page.Table{Name: "stages-" + op, Label: "Stages of sampled operations: " + op, Head: []string{"Stage of " + op}, Units: map[int]string{}}
	for _, row := range s.Rows {
		t.Head = append(t.Head, "near "+row.At)
	}
	t.Head = append(t.Head, "own p50", "own p99")
	for i := 1; i < len(t.Head); i++ {
		t.Units[i] = "us"
	}
	line := func(name, note string, of func(result.StageRow) float64, own result.StagePercentiles) {
		cells := []page.Cell{{Text: name, Note: note}}
		for _, row := range s.Rows {
			cells = append(cells, microsCell(of(row)))
		}
		t.Rows = append(t.Rows, append(cells, ownCell(own.P50), ownCell(own.P99)))
	}
	for _, name := range result.StageNames {
		if own := s.StagesUS[name]; !idleStage(name, s) {
			w := stageWords[name]
			line(name, w.whose+": "+w.what, func(r result.StageRow) float64 { return r.StagesUS[name] }, own)
		}
	}
	line("sum of stages", "", func(r result.StageRow) float64 { return r.ResponseUS - r.RestUS }, result.StagePercentiles{})
	line(rest, "the generator's own bookkeeping", func(r result.StageRow) float64 { return r.RestUS }, result.StagePercentiles{})
	all := f.Run.Summary.Operations[op].Response
	line("the whole", "own: of all operations, sampled or not", func(r result.StageRow) float64 { return r.ResponseUS }, result.StagePercentiles{P50: all.P50, P99: all.P99})
	return t
}

// idleStage reports whether a stage took no time near any row, nor at its own
// p99.
func idleStage(name string, s result.StageSummary) bool {
	for _, row := range s.Rows {
		if row.StagesUS[name] > 0 {
			return false
		}
	}
	own := s.StagesUS[name].P99
	return own == nil || *own == 0
}

// idleSentence names the stages that the table leaves out.
func idleSentence(s result.StageSummary) page.Block {
	var names []string
	for _, name := range result.StageNames {
		if idleStage(name, s) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return page.Text("No time went to " + strings.Join(names, ", ") + ".")
}

// microsCell prints a time; the rest of a row may be a rounding below zero.
func microsCell(us float64) page.Cell {
	text := stats.Micros(math.Abs(us))
	if us < 0 && math.Abs(us) >= 0.005 {
		text = "−" + text
	}
	return page.Cell{Text: text, Raw: strconv.FormatFloat(us, 'f', -1, 64)}
}

// ownCell is a percentile of one stage over all samples.
func ownCell(v *float64) page.Cell {
	if v == nil {
		return page.Cell{Text: "–", Faint: true}
	}
	return microsCell(*v)
}
