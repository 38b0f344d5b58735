package e2e

import (
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/sample"
	"headroom/reports/stats"
)

// sampleRun writes a run folder with a kill; the run is made up, its files are
// as the load generator writes them.
func sampleRun(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := sample.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// needsLong skips where only the short scenario is wanted.
func needsLong(t *testing.T) {
	t.Helper()
	if !*long {
		t.Skip("opens a browser: run make e2e, or go test ./hack/e2e -e2e")
	}
}

// report makes a page by the command a user has.
func report(t *testing.T, args ...string) string {
	t.Helper()
	page := filepath.Join(t.TempDir(), "r.html")
	out, err := exec.Command(filepath.Join(bin, "headroom-reports"), append(args, "-o", page)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return page
}

// rawPercentile is the p99 of all operations of the seconds [from, to), from
// the logs through the load generator's own reader.
func rawPercentile(t *testing.T, dir string, from, to int) float64 {
	t.Helper()
	run, err := result.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	sum, failed := result.NewHistogram(), int64(0)
	for op := range run.Summary.Operations {
		list, err := run.Intervals(op, result.Response)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if s := i.From.Sub(run.Summary.MeasuredFrom).Seconds(); s > float64(from)-0.5 && s < float64(to)-0.5 {
				sum.Merge(i.Hist)
			}
		}
	}
	for _, r := range run.Series {
		if r.TSec >= from && r.TSec < to {
			failed += r.Failed + r.InDoubt
		}
	}
	ns, ok := result.Quantile(sum, failed, 0.99)
	if !ok {
		t.Fatal("no samples")
	}
	return ns
}

// chosen is the stretch and the p99 that the page shows.
type chosen struct{ Choice, P99 string }

const readChosen = `(async () => { const c = document.querySelector(".chooser"); for (let i = 0; i < 200; i++) {
  const cell = c.querySelector("td[data-label=p99]"); if (!c.hidden && cell && cell.textContent !== %q) return {Choice: c.querySelector(".choice").textContent, P99: cell.textContent};
  await new Promise(r => setTimeout(r, 25)); } return {Choice: "never", P99: ""}; })()`

func TestAStretchOfTimeShowsTheRawPercentile(t *testing.T) {
	needsLong(t)
	dir := sampleRun(t)
	page := report(t, "html", dir)
	for _, width := range []int{1200, 390} {
		b := openTab(t, width)
		b.navigate(t, page)
		var box struct{ X, Y, W, H, Left, Right, To float64 }
		b.eval(t, `(() => { const s = [...document.querySelectorAll("#plot-latency svg")].find(s => s.getBoundingClientRect().width > 0); s.scrollIntoView({block: "center"});
			const r = s.getBoundingClientRect(), f = s.dataset.frame.split(" ").map(Number), k = r.width / s.viewBox.baseVal.width;
			return {X: r.left, Y: r.top, W: r.width, H: r.height, Left: r.left + f[0]*k, Right: r.left + f[1]*k, To: f[5]}; })()`, &box)
		at := func(s float64) float64 { return box.Left + s/box.To*(box.Right-box.Left) }
		y, last := box.Y+box.H/2, ""
		for _, w := range [][2]int{{12, 20}, {30, 37}} {
			b.mouse(t, "mousePressed", at(float64(w[0])+0.5), y)
			b.mouse(t, "mouseMoved", at(float64(w[0]+w[1])/2), y)
			b.mouse(t, "mouseMoved", at(float64(w[1])-0.5), y)
			b.mouse(t, "mouseReleased", at(float64(w[1])-0.5), y)
			var got chosen
			b.eval(t, fmt.Sprintf(readChosen, last), &got)
			want := stats.Micros(rawPercentile(t, dir, w[0], w[1]) / 1e3)
			if !strings.Contains(got.Choice, fmt.Sprintf("from %d s to %d s", w[0], w[1])) || got.P99 != want {
				t.Errorf("width %d: the page shows %q with p99 %s, the raw files give %s for %d to %d s", width, got.Choice, got.P99, want, w[0], w[1])
			}
			last = got.P99
		}
		// The stretch with failed operations is infinite, in words that say so.
		if ns := rawPercentile(t, dir, 10, 11); !math.IsInf(ns, 1) {
			t.Fatalf("the second of the kill has a finite p99 of %g ns: nothing is tested", ns)
		}
		var infinite chosen
		b.eval(t, "headroom.choose(10.2, 10.8), 1", new(any))
		b.eval(t, fmt.Sprintf(readChosen, last), &infinite)
		if infinite.P99 != "∞" {
			t.Errorf("the second of the kill shows %q, want ∞", infinite.P99)
		}
		b.clean(t, page)
	}
}

func TestSeriesAreSwitchedOffAndValuesShown(t *testing.T) {
	needsLong(t)
	page := report(t, "html", sampleRun(t))
	b := openTab(t, 1200)
	b.navigate(t, page)
	var hidden, shown int
	b.eval(t, `(() => { const f = document.getElementById("plot-latency"); f.querySelectorAll("button.series")[1].click();
		return [...f.querySelectorAll('g[data-s="1"]')].filter(g => g.style.display === "none" && g.querySelector("path")).length; })()`, &hidden)
	b.eval(t, `(() => { const f = document.getElementById("plot-latency"); f.querySelectorAll("button.series")[1].click();
		return [...f.querySelectorAll('g[data-s="1"]')].filter(g => g.style.display === "none" && g.querySelector("path")).length; })()`, &shown)
	if hidden == 0 || shown != 0 {
		t.Errorf("%d parts of p99 were hidden by a click, %d after the second; want some and none", hidden, shown)
	}
	var text string
	b.eval(t, `(() => { const s = document.querySelector("#plot-latency .wide svg"), r = s.getBoundingClientRect();
		s.dispatchEvent(new PointerEvent("pointermove", {clientX: r.left + r.width / 2, clientY: r.top + 50})); return document.querySelector("#plot-latency .readout").textContent; })()`, &text)
	if !strings.Contains(text, "second ") || !strings.Contains(text, "ms") {
		t.Errorf("a pointer in the middle of the figure shows %q", text)
	}
	b.clean(t, page)
}

// kneeFolder writes the document of a search with made-up probes.
func kneeFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(v float64) *float64 { return &v }
	k := &result.Knee{Study: result.Study{Format: result.KneeFormat, ID: "knee-1"}, SLO: []result.Limit{{Percentile: "p99", P: 0.99, LatencyUS: 2000}},
		AnswerOpsPerSec: at(2000), LowOpsPerSec: at(2000), HighOpsPerSec: at(3000)}
	for i, outcome := range []result.Outcome{result.Holds, result.Holds, result.Fails} {
		rate := float64(i+1) * 1000
		k.Probes = append(k.Probes, result.Probe{N: i + 1, OfferedOpsPerSec: rate, AchievedOpsPerSec: rate, Outcome: outcome, Why: "made up",
			Response: result.Percentiles{P50: at(rate / 10), P99: at(rate)}, Use: []result.Use{{Resource: "node-cpu", Node: "node1", Utilisation: rate / 3000}}})
	}
	if err := result.WriteStudy(dir, result.KneeFile, k); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPagesAreWholeWithoutScriptsAndWiderThanNoScreen(t *testing.T) {
	needsLong(t)
	dir := sampleRun(t)
	pages := map[string]string{"run": report(t, "html", dir), "compare": report(t, "compare", dir, dir), "trend": report(t, "trend", dir, dir, dir),
		"knee": report(t, "html", kneeFolder(t)), "plan": report(t, "html", filepath.Join("..", "..", "reports", "capacity", "testdata", "plan.json"))}
	for name, page := range pages {
		for _, width := range []int{390, 1200} {
			b := openTab(t, width)
			b.call(t, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
			b.navigate(t, page)
			var r struct{ Overflow, Figures, Tables float64 }
			b.eval(t, `({Overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
				Figures: [...document.querySelectorAll("svg.chart")].filter(s => s.getBoundingClientRect().height > 50).length, Tables: document.querySelectorAll("table").length})`, &r)
			if r.Overflow > 0 || r.Figures < 2 || r.Tables < 1 {
				t.Errorf("%s at %d: %g pixels wider than the screen, %g figures, %g tables", name, width, r.Overflow, r.Figures, r.Tables)
			}
			b.clean(t, page)
		}
	}
}
