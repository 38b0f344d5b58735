// Package live owns what a person at a terminal sees while a run goes on: one
// panel below the lines that stay, with throughput, percentiles, nodes, events
// and the time left. It measures nothing and decides nothing; it is told.
//
// The invariant to know: the screen reads no input. Ctrl-C is a signal as
// without it, so the run ends in order, and the panel leaves the terminal as it
// was found.
//
// Start reading at Model.View; Screen connects it to a terminal.
package live

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"headroom/workloads/units"
)

const (
	// historyMax is how many seconds the curves keep: the widest terminals.
	historyMax = 300
	eventsMax  = 5
	widthMin   = 40
	widthUsual = 80
)

// Step is a phase of known length: loading, reading back.
type Step struct {
	What        string
	Done, Total int64
	Left        time.Duration
}

// Note is a phase without a length: "starting 4 nodes".
type Note string

// Second is one second of a run.
type Second struct {
	Warmup              bool
	Elapsed, Left       time.Duration
	OK, Failed, InDoubt int64
	P50US, P99US        float64 // NaN without samples, +Inf when failures reach it
	InFlight            int
	Findings            string // of the audit, empty while there are none
}

// Node is what is known of one node.
type Node struct {
	Name           string
	Up             bool
	View           string
	Masters        int64
	PartitionsLeft int64
	OpsPerSec      float64 // answered by it, negative when unknown
	CPUPct         float64
	RSSBytes       int64
}

// Event is a line about a fault, a View, a migration or a finding.
type Event string

// Model is the state of the panel. The zero value is an empty panel.
type Model struct {
	width   int
	note    string
	step    Step
	second  Second
	rates   []float64
	p99s    []float64
	failed  int64
	inDoubt int64
	nodes   []Node
	events  []string
}

// Init implements tea.Model.
func (m Model) Init() tea.Cmd { return nil }

// Update implements tea.Model. Slices are copied before they change.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case Note:
		m.note, m.step = string(msg), Step{}
	case Step:
		m.step, m.note = msg, ""
	case Second:
		m.note, m.step, m.second = "", Step{}, msg
		m.failed += msg.Failed
		m.inDoubt += msg.InDoubt
		if !msg.Warmup {
			m.rates, m.p99s = keep(m.rates, float64(msg.OK)), keep(m.p99s, msg.P99US)
		}
	case []Node:
		m.nodes = msg
	case blank:
		m = Model{width: m.width}
	case Event:
		m.events = append(m.events[max(0, len(m.events)-eventsMax+1):len(m.events):len(m.events)], string(msg))
	}
	return m, nil
}

// keep appends v to a copy of the last values.
func keep(list []float64, v float64) []float64 {
	from := max(0, len(list)-historyMax+1)
	return append(append(make([]float64, 0, len(list)-from+1), list[from:]...), v)
}

// The colours are the terminal's own, so that they fit light and dark ones.
var (
	strong = lipgloss.NewStyle().Bold(true)
	muted  = lipgloss.NewStyle().Faint(true)
	good   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	bad    = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
)

// View implements tea.Model.
func (m Model) View() tea.View { return tea.NewView(m.render()) }

func (m Model) render() string {
	width := m.width
	if width == 0 {
		width = widthUsual
	}
	width = max(width, widthMin)
	var b strings.Builder
	switch {
	case m.step.Total > 0:
		m.renderStep(&b, width)
	case m.note != "":
		fmt.Fprintln(&b, muted.Render(m.note))
	case m.second != (Second{}):
		m.renderSecond(&b, width)
	}
	m.renderNodes(&b)
	for _, e := range m.events {
		fmt.Fprintln(&b, muted.Render("  "+cut(e, width-2)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (m Model) renderStep(b *strings.Builder, width int) {
	s := m.step
	text := fmt.Sprintf("%s %d of %d, %s left ", s.What, s.Done, s.Total, s.Left.Round(time.Second))
	room := max(10, width-len(text)-2)
	full := int(float64(room) * float64(min(s.Done, s.Total)) / float64(s.Total))
	fmt.Fprintf(b, "%s%s%s\n", text, good.Render(strings.Repeat("█", full)), muted.Render(strings.Repeat("░", room-full)))
}

func (m Model) renderSecond(b *strings.Builder, width int) {
	s := &m.second
	if s.Warmup { // nothing is measured yet
		fmt.Fprintln(b, muted.Render(fmt.Sprintf("warm-up, %s to go", (-s.Elapsed).Round(time.Second))))
		return
	}
	at := fmt.Sprintf("%s, %s left", s.Elapsed.Round(time.Second), s.Left.Round(time.Second))
	fmt.Fprintf(b, "%s  p50 %s  p99 %s  in flight %d  %s\n", strong.Render(units.Rate(s.OK).String()), Micros(s.P50US), Micros(s.P99US),
		s.InFlight, muted.Render(at))
	if m.failed+m.inDoubt > 0 {
		fmt.Fprintln(b, bad.Render(fmt.Sprintf("%d failed, %d in doubt", m.failed, m.inDoubt)))
	}
	if s.Findings != "" {
		fmt.Fprintln(b, bad.Render("AUDIT: "+s.Findings))
	}
	room := width - 6
	fmt.Fprintf(b, "%s %s\n%s %s\n", muted.Render("rate"), good.Render(spark(m.rates, room)), muted.Render("p99 "), spark(m.p99s, room))
}

func (m Model) renderNodes(b *strings.Builder) {
	if len(m.nodes) == 0 {
		return
	}
	fmt.Fprintln(b, muted.Render(fmt.Sprintf("%-10s %10s %8s %10s %6s %9s  %s", "node", "answers/s", "masters", "to migrate", "cpu", "memory", "view")))
	for _, n := range m.nodes {
		if !n.Up {
			fmt.Fprintln(b, bad.Render(fmt.Sprintf("%-10s down", n.Name)))
			continue
		}
		rate := "-"
		if n.OpsPerSec >= 0 {
			rate = fmt.Sprintf("%.0f", n.OpsPerSec)
		}
		fmt.Fprintf(b, "%-10s %10s %8d %10d %5.0f%% %9s  %s\n", n.Name, rate, n.Masters, n.PartitionsLeft, n.CPUPct,
			units.Bytes(n.RSSBytes).Human(), n.View)
	}
}

// spark draws the last values as bars of eight heights, from zero to the
// highest; a second without an answer is a gap, an infinite one a cross.
func spark(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	top := 0.0
	for _, v := range values {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	out := make([]rune, len(values))
	for i, v := range values {
		switch {
		case math.IsNaN(v):
			out[i] = ' '
		case math.IsInf(v, 0):
			out[i] = '×'
		case top == 0:
			out[i] = bars[0]
		default:
			out[i] = bars[min(len(bars)-1, int(v/top*float64(len(bars))))]
		}
	}
	return string(out)
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:max(0, n-1)]) + "…"
	}
	return s
}

// Micros prints microseconds with three digits: "850 us", "2.1 ms", "1.2 s".
func Micros(us float64) string {
	switch {
	case math.IsNaN(us):
		return "-"
	case math.IsInf(us, 1):
		return "inf"
	case us < 999.5:
		return fmt.Sprintf("%.0f us", us)
	case us < 999_500:
		return strings.TrimSuffix(fmt.Sprintf("%.3g", us/1e3), ".0") + " ms"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.3g", us/1e6), ".0") + " s"
}

// Screen shows a Model on a terminal until it is stopped. Safe for concurrent
// use.
type Screen struct {
	program *tea.Program
	done    chan struct{}
	once    sync.Once
}

// IsTerminal reports whether w is a terminal that can show a panel.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Start shows an empty panel on w.
func Start(w io.Writer) *Screen {
	s := &Screen{done: make(chan struct{})}
	s.program = tea.NewProgram(Model{}, tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler(), tea.WithFPS(10))
	go func() {
		defer close(s.done)
		_, _ = s.program.Run() // without a panel the run goes on as well
	}()
	return s
}

// Send gives the panel a Note, Step, Second, []Node or Event. It does not wait
// for the terminal, and does nothing after Stop.
func (s *Screen) Send(msg any) { s.program.Send(msg) }

// Say writes a line above the panel, which stays.
func (s *Screen) Say(text string) { s.program.Println(text) }

// Stop takes the panel away and returns when the terminal is free.
func (s *Screen) Stop() {
	s.once.Do(func() {
		s.program.Send(blank{})
		s.program.Quit()
	})
	<-s.done
}

// blank empties the panel, so that nothing of it is left behind.
type blank struct{}
