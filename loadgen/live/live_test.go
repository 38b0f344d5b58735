package live

import (
	"bytes"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// after returns the panel after the messages, without colours.
func after(msgs ...tea.Msg) string {
	var m tea.Model = Model{}
	for _, msg := range msgs {
		m, _ = m.Update(msg)
	}
	return regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(m.(Model).render(), "")
}

func TestThePanelOfARun(t *testing.T) {
	got := after(tea.WindowSizeMsg{Width: 80}, Note("starting 3 nodes"),
		Second{Elapsed: time.Second, Left: 29 * time.Second, OK: 10_000, P50US: 400, P99US: 2000, InFlight: 3},
		Second{Elapsed: 2 * time.Second, Left: 28 * time.Second, OK: 20_000, P50US: 420, P99US: math.Inf(1), InFlight: 12, Failed: 4, InDoubt: 1,
			Findings: "2 stale reads"},
		[]Node{{Name: "node1", Up: true, View: "7.node1.1", Masters: 2048, PartitionsLeft: 12, OpsPerSec: 9800, CPUPct: 41.2, RSSBytes: 180 << 20},
			{Name: "node2"}, {Name: "node3", Up: true, View: "7.node1.1", OpsPerSec: -1}},
		Event("kill node2"), Event("view 7.node1.1 of 2 members"))
	want := strings.Join([]string{
		"20k/s  p50 420 us  p99 inf  in flight 12  2s, 28s left",
		"4 failed, 1 in doubt",
		"AUDIT: 2 stale reads",
		"rate ▅█",
		"p99  █×",
		"node        answers/s  masters to migrate    cpu    memory  view",
		"node1            9800     2048         12    41%   180 MiB  7.node1.1",
		"node2      down",
		"node3               -        0          0     0%       0 B  7.node1.1",
		"  kill node2",
		"  view 7.node1.1 of 2 members"}, "\n")
	if got != want {
		t.Errorf("panel:\n%s\nwant:\n%s", got, want)
	}
}

func TestPhasesReplaceEachOther(t *testing.T) {
	if got := after(Note("starting 4 nodes")); got != "starting 4 nodes" {
		t.Errorf("%q", got)
	}
	got := after(Note("x"), tea.WindowSizeMsg{Width: 60}, Step{What: "load", Done: 50, Total: 200, Left: 3 * time.Second})
	if !strings.HasPrefix(got, "load 50 of 200, 3s left ███") || len([]rune(got)) > 60 {
		t.Errorf("%q", got)
	}
	if got := after(Second{Warmup: true, Elapsed: -3 * time.Second}); !strings.Contains(got, "warm-up, 3s to go") {
		t.Errorf("%q", got)
	}
	if got := after(Second{OK: 1}, blank{}); got != "" {
		t.Errorf("a cleared panel shows %q", got)
	}
}

func TestNothingGrowsWithoutBound(t *testing.T) {
	var m tea.Model = Model{}
	for range 2 * historyMax {
		m, _ = m.Update(Second{OK: 5})
		m, _ = m.Update(Event(strings.Repeat("long ", 100)))
	}
	p := m.(Model)
	if len(p.rates) != historyMax || len(p.events) != eventsMax {
		t.Errorf("%d seconds and %d events kept", len(p.rates), len(p.events))
	}
	for _, line := range strings.Split(after(tea.WindowSizeMsg{Width: 70}, Event(strings.Repeat("long ", 100))), "\n") {
		if len([]rune(line)) > 70 {
			t.Errorf("a line of %d characters on a terminal of 70", len([]rune(line)))
		}
	}
}

func TestAnOlderPanelIsNotChanged(t *testing.T) {
	var m tea.Model = Model{}
	for range 4 {
		m, _ = m.Update(Second{OK: 1})
		m, _ = m.Update(Event("a"))
	}
	old := m.(Model)
	m.Update(Second{OK: 9})
	m.Update(Event("b"))
	if old.rates[len(old.rates)-1] != 1 || old.events[len(old.events)-1] != "a" {
		t.Error("an update wrote into an earlier model")
	}
}

func TestStopLeavesTheTerminal(t *testing.T) {
	var out bytes.Buffer
	s := Start(&out)
	s.Say("a line that stays")
	s.Send(Second{OK: 12_345})
	s.Stop()
	s.Stop()
	s.Send(Second{OK: 1}) // no panic, no hang
	if !strings.Contains(out.String(), "a line that stays") {
		t.Errorf("written: %q", out.String())
	}
}

func TestMicrosPrintsThreeDigits(t *testing.T) {
	for in, want := range map[float64]string{0.4: "0 us", 850: "850 us", 999.7: "1 ms", 2100: "2.1 ms", 1_234_000: "1.23 s", math.Inf(1): "inf"} {
		if got := Micros(in); got != want {
			t.Errorf("Micros(%v) = %q, want %q", in, got, want)
		}
	}
}
