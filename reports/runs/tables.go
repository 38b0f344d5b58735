package runs

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/stats"
)

func faultTable(f *stats.Facts) *page.Table {
	list := f.Run.Summary.Faults
	if len(list) == 0 {
		return nil
	}
	t := &page.Table{Name: "faults", Label: "What each fault cost", Head: []string{"Fault", "at", "longest gap", "failed", "in doubt", "one view after", "full redundancy after"},
		Units: map[int]string{1: "s", 2: "ms", 5: "ms", 6: "s"}}
	for _, x := range list {
		row := page.Plain(strings.TrimSpace(x.What+" "+x.Node), stats.Seconds(x.AtSec), optional(x.GapMS, stats.Millis),
			stats.Count(x.Failed), stats.Count(x.InDoubt), optional(x.OneViewMS, stats.Millis), optional(x.RedundancyRestoredSec, stats.Seconds))
		row[1].Text = at(x.AtSec)
		row[1].Raw, row[2].Raw, row[5].Raw, row[6].Raw = rawNumber(&x.AtSec), rawNumber(x.GapMS), rawNumber(x.OneViewMS), rawNumber(x.RedundancyRestoredSec)
		row[3].Raw, row[4].Raw = strconv.FormatInt(x.Failed, 10), strconv.FormatInt(x.InDoubt, 10)
		t.Rows = append(t.Rows, row)
	}
	return t
}

func rawNumber(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// at prints a moment of the measured phase, which may lie before its start.
func at(sec float64) string {
	if math.Abs(sec) < 0.005 {
		sec = 0 // no negative zero
	}
	return strconv.FormatFloat(sec, 'f', 2, 64) + " s"
}

func optional(v *float64, f func(float64) string) string {
	if v == nil {
		return stats.Missing
	}
	return f(*v)
}

func auditTable(f *stats.Facts) *page.Table {
	a := f.Run.Summary.Audit
	if !a.Enabled {
		return nil
	}
	t := &page.Table{Name: "audit", Label: "Counts of the audit", Head: []string{"Checked in the same run", "count"}}
	add := func(label string, n int64, broken bool, note string) {
		t.Rows = append(t.Rows, []page.Cell{{Text: label, Note: note}, countCell(n, broken)})
	}
	add("Acknowledged writes", a.AcknowledgedWrites, false, "")
	add("Lost", a.Lost, true, "last acknowledged write gone at the final read-back")
	add("Stale reads", a.StaleReads, true, staleNote(a))
	add("Corrupt values", a.Corrupt, true, "checksum, key or length wrong")
	add("False not-found answers", a.FalseNotFound, true, "for a key with an acknowledged write")
	add("Writes in doubt", a.InDoubtWrites, false, "neither acknowledged nor refused; not counted as lost")
	add("Keys written", a.KeysWritten, false, "")
	add("Keys read back at the end", a.ReadBack, false, "")
	add("Keys that could not be read back", a.ReadBackFailed, true, "nothing is claimed of these")
	if len(f.Run.Summary.Conflicts) > 0 {
		add("Versions discarded", discarded(f), true, "acknowledged, and lost against the other side when a split healed")
	}
	if l := a.Linear; l != nil {
		note := fmt.Sprintf("of %d stretches of the histories of %d sampled keys", l.Windows, l.Keys)
		if !l.Promised {
			note += "; the target does not promise it"
		}
		add("Not linearizable", int64(l.Violations), l.Promised, note)
		add("Linearizability undecided", int64(l.Undecided), false, "")
	}
	return t
}

// sloTable says of each term of the SLO whether it was met.
func sloTable(f *stats.Facts) *page.Table {
	list := f.Run.Summary.SLO
	if len(list) == 0 {
		return nil
	}
	t := &page.Table{Name: "slo", Label: "The SLO of the run, term by term", Head: []string{"Target", "beyond it", "allowed", "verdict"}, Words: map[int]bool{3: true}}
	for _, x := range list {
		t.Rows = append(t.Rows, []page.Cell{{Text: target(x.Limit)}, {Text: stats.Count(x.Beyond), Note: "of " + stats.Count(x.Samples), Raw: fmt.Sprint(x.Beyond)},
			{Text: stats.Count(int64((1 - x.Limit.P) * float64(x.Samples)))}, {Text: string(x.Outcome), Bad: x.Outcome == result.Fails}})
	}
	return t
}

// discarded counts the acknowledged versions that a split cost.
func discarded(f *stats.Facts) (n int64) {
	for _, x := range f.Run.Summary.Conflicts {
		n += x.Discarded
	}
	return n
}

// conflictTable lists discarded acknowledged versions.
func conflictTable(f *stats.Facts) *page.Table {
	list := f.Run.Summary.Conflicts
	if discarded(f) == 0 {
		return nil // the audit's table has it
	}
	t := &page.Table{Name: "conflicts", Label: "Acknowledged versions discarded after a split", Head: []string{"Namespace", "found", "discarded"}, Words: map[int]bool{1: true}}
	for _, x := range list {
		t.Rows = append(t.Rows, []page.Cell{{Text: x.Namespace}, {Text: "on " + x.Cause}, {Text: stats.Count(x.Discarded), Raw: fmt.Sprint(x.Discarded), Bad: x.Discarded > 0}})
	}
	return t
}

func staleNote(a result.Audit) string {
	if a.StaleReads > 0 {
		return "older than a write acknowledged before the read; oldest by " + stats.Millis(a.StaleAgeMaxMS)
	}
	return "older than a write acknowledged before the read"
}

func nodeTable(f *stats.Facts) *page.Table {
	if len(f.NodeRows) == 0 {
		return nil
	}
	t := &page.Table{Name: "nodes", Label: "Nodes at their last sample", Head: []string{"Node", "state", "masters", "copies", "memory at end", "memory peak", "CPU, median of one core"}, Words: map[int]bool{1: true}}
	for _, r := range f.NodeRows {
		state := page.Cell{Text: "up"}
		if !r.Up {
			state = page.Cell{Text: "down", Bad: true}
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: r.Node}, state, known(r.Masters, stats.Count(r.Masters)), known(r.Copies, stats.Count(r.Copies)),
			known(r.MemoryEnd, stats.Bytes(float64(r.MemoryEnd))), known(r.MemoryPeak, stats.Bytes(float64(r.MemoryPeak))),
			known(int64(r.CPUPct), fmt.Sprintf("%.0f %%", r.CPUPct))})
	}
	return t
}

// known is a cell for a number of which a negative value means unknown.
func known(n int64, text string) page.Cell {
	if n < 0 {
		return page.Cell{Text: stats.Missing, Faint: true}
	}
	return page.Cell{Text: text}
}

func operationTable(f *stats.Facts) *page.Table {
	ops := stats.Operations(f.Run)
	if len(ops) == 0 {
		return nil
	}
	t := &page.Table{Name: "operations", Label: "Operations of the measured phase, response times", Head: []string{"Operation", "count", "failed", "in doubt", "not found", "p50", "p90", "p99", "p99.9", "max"}, Units: map[int]string{5: "us", 6: "us", 7: "us", 8: "us", 9: "us"}}
	for _, op := range ops {
		o := f.Run.Summary.Operations[op]
		row := []page.Cell{{Text: op}, countCell(o.Count, false), countCell(o.Failed, true), countCell(o.InDoubt, true), countCell(o.NotFound, false)}
		for _, p := range percentileNames {
			row = append(row, percentileCell(o.Response, p.field))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// percentileNames are the percentiles of every latency table, as in run.json
// and as headings.
var percentileNames = []struct{ field, head string }{{"p50", "p50"}, {"p90", "p90"}, {"p99", "p99"}, {"p99_9", "p99.9"}, {"max", "max"}}

// kindTable holds the values behind the percentile curves.
func kindTable(f *stats.Facts) *page.Table {
	if len(f.Curves) == 0 {
		return nil
	}
	t := &page.Table{Name: "percentiles", Label: "Percentiles over all operations", Head: []string{"All operations"}, Units: map[int]string{1: "us", 2: "us", 3: "us", 4: "us", 5: "us"}}
	for _, p := range percentileNames {
		t.Head = append(t.Head, p.head)
	}
	for _, c := range f.Curves {
		if c.Percentiles.Samples == 0 {
			continue // its logs hold nothing: DATA says so
		}
		row := page.Plain(string(c.Kind))
		for _, p := range percentileNames {
			row = append(row, percentileCell(c.Percentiles, p.field))
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// countCell is a count; a bad one is red when there is any.
func countCell(n int64, bad bool) page.Cell {
	return page.Cell{Text: stats.Count(n), Raw: strconv.FormatInt(n, 10), Bad: bad && n > 0}
}

func percentileCell(p result.Percentiles, name string) page.Cell {
	c := page.Cell{Text: percentile(p, name)}
	if v := (map[string]*float64{"p50": p.P50, "p90": p.P90, "p99": p.P99, "p99_9": p.P999, "max": p.Max})[name]; v != nil {
		c.Raw = strconv.FormatFloat(*v, 'f', -1, 64)
	}
	if ci, ok := p.CI99[name]; ok && ci[0] != nil && ci[1] != nil {
		c.Note = stats.Between(*ci[0], *ci[1], stats.Micros)
		if c.Note == c.Text {
			c.Note = ""
		}
	}
	if head, tail, ok := strings.Cut(c.Text, " ("); ok { // the reason in small print
		c.Text, c.Note, c.Faint, c.Bad = head, strings.TrimSuffix(tail, ")"), head != "∞", head == "∞"
		if c.Bad {
			c.Raw = "inf"
		}
	}
	c.Faint = c.Faint || c.Text == stats.Missing
	return c
}

func generatorTable(f *stats.Facts) *page.Table {
	s, g := f.Run.Summary, f.Run.Summary.Generator
	t := &page.Table{Name: "load", Label: "How the load was made", Head: []string{"Load", "value"}, Words: map[int]bool{1: true}}
	add := func(label, text string) { t.Rows = append(t.Rows, page.Plain(label, text)) }
	add("Workload", strings.TrimSpace(s.Workload.Name+" "+short(s.Workload.SHA256)))
	add("Target", s.Target)
	add("Loop", strings.Trim(s.Loop+", "+g.Arrivals, ", "))
	if s.Loop != "closed" {
		add("Offered", stats.Rate(s.OfferedOpsPerSec)+" ops/s")
	}
	add("Achieved over the measured phase", stats.Rate(s.AchievedOpsPerSec)+" ops/s")
	if s.Schedule != "" {
		add("Schedule", s.Schedule)
	}
	if s.GoodputOpsPerSec > 0 {
		add("Goodput", stats.Rate(s.GoodputOpsPerSec)+" ops/s that succeeded in time")
	}
	if g.CouldOverOffered != nil {
		add("Could have offered", stats.Times(*g.CouldOverOffered)+" as much, into a null target")
	}
	if n := len(s.Merged); n > 0 {
		add("Merged from", stats.Plural(int64(n), "shard"))
	}
	add("Measured", stats.Seconds(s.DurationSec)+" after "+stats.Seconds(g.WarmupSec)+" of warm-up")
	add("Records loaded", stats.Count(g.LoadedRecs)+" in "+stats.Seconds(g.LoadSec))
	add("Deadline", stats.Millis(g.DeadlineMS))
	add("In flight", fmt.Sprintf("peak %s of at most %s", stats.Count(int64(g.InFlightPeak)), stats.Count(int64(g.InFlightMax))))
	add("Delayed by the in-flight limit", stats.Plural(g.Queued, "time"))
	add("Generator CPU", fmt.Sprintf("%.0f %% of one core, %s, seed %d", g.CPUPct, stats.Plural(int64(g.Lanes), "lane"), g.Seed))
	return t
}

func short(sha string) string {
	if len(sha) > 12 {
		sha = sha[:12]
	}
	if sha == "" {
		return ""
	}
	return "(sha256 " + sha + ")"
}

// Environment returns the table of where a run was made, nil when nothing is
// known.
func Environment(e result.Environment) *page.Table {
	if e.GOOS == "" && e.Kernel == "" && e.Cores == 0 {
		return nil
	}
	t := &page.Table{Name: "environment", Label: "Environment", Head: []string{"Environment", "value"}, Words: map[int]bool{1: true}}
	add := func(label, text string) {
		if strings.TrimSpace(text) == "" {
			text = stats.Missing
		}
		t.Rows = append(t.Rows, page.Plain(label, text))
	}
	add("CPU", fmt.Sprintf("%s, %s", e.CPUModel, stats.Plural(int64(e.Cores), "core")))
	add("Memory", stats.Bytes(float64(e.MemBytes)))
	add("Kernel", e.Kernel)
	add("Frequency governor", e.Governor)
	add("Clock source", e.Clock)
	add("Load average at start", e.LoadAvg)
	add("Steal at start", fmt.Sprintf("%.2f %%", e.StealPct))
	add("Go", fmt.Sprintf("%s %s/%s, GOMAXPROCS %d", e.GoVersion, e.GOOS, e.GOARCH, e.GOMAXPROCS))
	sha := e.GitSHA
	if e.GitDirty {
		sha += " with local changes"
	}
	add("Commit", sha)
	var keys []string
	for k := range e.Flags {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		add("node "+k, e.Flags[k])
	}
	return t
}

// maxEvents bounds the event list of a page; the file has them all.
const maxEvents = 200

func eventTable(f *stats.Facts) *page.Table {
	if len(f.Run.Events) == 0 {
		return nil
	}
	t := &page.Table{Name: "events", Label: "Events", Head: []string{"At", "kind", "node", "what"}, Words: map[int]bool{1: true, 2: true, 3: true}}
	for i, e := range f.Run.Events {
		if i == maxEvents {
			t.Rows = append(t.Rows, page.Plain("…", "", "", fmt.Sprintf("%d more in events.csv", len(f.Run.Events)-maxEvents)))
			break
		}
		when := at(e.TSec)
		if e.TSec != e.TSec { // a damaged line
			when = stats.Missing
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: when}, {Text: string(e.Kind)}, {Text: e.Node}, {Text: e.What}})
	}
	return t
}
