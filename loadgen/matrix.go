package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/pflag"

	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// Names of a matrix's axes, in the order in which they are varied: the last one
// fastest.
const (
	axisWorkload = "workload"
	axisDevice   = "device"
	axisNodes    = "nodes"
	axisRF       = "replication-factor"
	axisSize     = "value-size"
)

// cellsMax bounds a matrix: at a minute each it is a week.
const cellsMax = 10_000

// matrix is the matrix command.
type matrix struct {
	args    []string
	out     string
	json    bool
	retry   bool
	extra   []string // flags of each cell's run or knee
	isKnee  bool
	doc     result.Matrix
	command func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// parseMatrix reads the command line of `matrix`. What follows "--" goes to
// each cell's run, or with --slo to its knee.
func parseMatrix(args []string, stdout io.Writer) (*matrix, error) {
	m := &matrix{args: args}
	f := pflag.NewFlagSet("matrix", pflag.ContinueOnError)
	f.SortFlags = false
	names, devices := f.StringSlice("workload", []string{"ycsb-a", "ycsb-b"}, "workloads: names or files"), f.StringSlice("device", []string{"dram"}, "devices, as of run's --device")
	nodes, rfs := f.StringSlice("nodes", []string{"1", "2"}, "numbers of local nodes"), f.StringSlice("rf", []string{"1", "2"}, "replication factors; those above the number of nodes are skipped")
	sizes := f.StringSlice("value-size", []string{"100B", "1KiB"}, "value sizes")
	slo := f.StringArray("slo", nil, "`p99=2ms`: seek the knee of each cell instead of running it once; repeatable")
	f.StringVar(&m.out, "out", "", "study folder (default runs/matrix-TIME); one that exists is resumed")
	f.BoolVar(&m.retry, "retry", false, "when resuming run the failed cells again, too")
	f.BoolVar(&m.json, "json", false, "print matrix.json on stdout instead of the table")
	f.SetOutput(stdout)
	f.Usage = func() {
		fmt.Fprintf(stdout, "usage: headroom-loadgen matrix [flags] -- [flags of run, or with --slo of knee, for each cell]\n\n%s", f.FlagUsagesWrapped(100))
	}
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil, err
		}
		return nil, usageError{err}
	}
	m.extra, m.command, m.isKnee = f.Args(), runMain, len(*slo) > 0
	if dash := f.ArgsLenAtDash(); dash > 0 || dash < 0 && f.NArg() > 0 {
		return nil, usagef("matrix takes no argument %q: flags of the cells come after --", f.Arg(0))
	}
	if !slices.ContainsFunc([]string{"workload", "device", "nodes", "rf", "value-size"}, f.Changed) {
		return nil, usagef("matrix wants at least one of --workload, --device, --nodes, --rf and --value-size; the others have defaults ('headroom-loadgen matrix --help')")
	}
	if m.isKnee {
		m.command = kneeMain
		for _, s := range *slo {
			m.extra = append(m.extra, "--slo", s)
		}
	}
	m.doc = result.Matrix{Study: newStudy(&options{args: args, target: "local"}, result.MatrixFormat, "matrix"),
		Axes: []result.Axis{{Name: axisWorkload, Values: *names}, {Name: axisDevice, Values: *devices}, {Name: axisNodes, Values: *nodes},
			{Name: axisRF, Values: *rfs}, {Name: axisSize, Values: *sizes}}}
	if m.out == "" {
		m.out = "runs/matrix-" + time.Now().UTC().Format("20060102-150405")
	}
	for _, s := range *slo {
		l, err := parseLimit(s)
		if err != nil {
			return nil, usageError{err}
		}
		m.doc.SLO = append(m.doc.SLO, l)
	}
	if err := m.cells(); err != nil {
		return nil, usageError{err}
	}
	return m, m.check(stdout)
}

// cells lays the matrix out.
func (m *matrix) cells() error {
	total := 1
	for _, a := range m.doc.Axes {
		if len(a.Values) == 0 {
			return fmt.Errorf("matrix: no value for %s", a.Name)
		}
		if total *= len(a.Values); total > cellsMax {
			return fmt.Errorf("matrix: more than %d cells", cellsMax)
		}
	}
	for i := range total {
		values, rest := map[string]string{}, i
		for j := len(m.doc.Axes) - 1; j >= 0; j-- {
			a := m.doc.Axes[j]
			values[a.Name] = a.Values[rest%len(a.Values)]
			rest /= len(a.Values)
		}
		c := result.Cell{N: i + 1, Values: values, State: result.CellPending}
		nodes, err1 := strconv.Atoi(values[axisNodes])
		rf, err2 := strconv.Atoi(values[axisRF])
		if err := errors.Join(err1, err2); err != nil || nodes < 1 || rf < 1 {
			return fmt.Errorf("matrix: --nodes %s, --rf %s: want whole numbers from 1", values[axisNodes], values[axisRF])
		}
		if rf > nodes {
			c.State, c.Error = result.CellSkipped, fmt.Sprintf("%d copies need %d nodes", rf, rf)
		}
		name := strings.TrimSuffix(filepath.Base(values[axisWorkload]), ".yaml")
		c.Dir = fmt.Sprintf("cells/%04d-%s-%s-n%d-rf%d-%s", c.N, name, safe(values[axisDevice]), nodes, rf, safe(values[axisSize]))
		m.doc.Cells = append(m.doc.Cells, c)
	}
	return nil
}

// safe makes a file name of a value.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, s)
}

// line is the command line of a cell.
func (m *matrix) line(c *result.Cell) []string {
	verb := "run"
	if m.isKnee {
		verb = "knee"
	}
	v := c.Values
	line := []string{m.args[0], verb, v[axisWorkload], "--local-nodes", v[axisNodes], "--device", v[axisDevice],
		"--set", "node.replication-factor=" + v[axisRF], "--set", "workload.value-size=" + v[axisSize], "--out", filepath.Join(m.out, c.Dir)}
	return append(line, m.extra...)
}

// check parses every cell's command line, so that the last one's mistake is not
// found after a night.
func (m *matrix) check(stdout io.Writer) error {
	for i := range m.doc.Cells {
		c := &m.doc.Cells[i]
		if c.State == result.CellSkipped {
			continue
		}
		cmd := &runCommand
		if m.isKnee {
			cmd = kneeCommand(&kneeOptions{})
		}
		if _, err := cmd.parse(m.line(c), stdout); err != nil {
			return fmt.Errorf("cell %d (%s): %w", c.N, c.Dir, err)
		}
	}
	return nil
}

// resume takes over the cells of an earlier matrix in the same folder.
func (m *matrix) resume() error {
	var old result.Matrix
	err := result.ReadStudy(m.out, result.MatrixFile, result.MatrixFormat, &old)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !slices.Equal(old.Command[2:], m.args[2:]) && !slices.Equal(withoutRetry(old.Command[2:]), withoutRetry(m.args[2:])) {
		return usagef("%s holds the matrix of another command (%s): give --out another name", m.out, strings.Join(old.Command[2:], " "))
	}
	for i, c := range old.Cells {
		if c.State == result.CellDone || c.State == result.CellFailed && !m.retry {
			m.doc.Cells[i] = c
		}
	}
	m.doc.Started, m.doc.SpentSec = old.Started, old.SpentSec
	return nil
}

func withoutRetry(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "--retry" })
}

// run runs the cells that are not done.
func (m *matrix) run(ctx context.Context, stdout io.Writer, out *progress) error {
	if err := m.resume(); err != nil {
		return err
	}
	before, began := m.doc.SpentSec, time.Now()
	save := func() error {
		m.doc.SpentSec = before + time.Since(began).Seconds()
		return errors.Join(result.WriteStudy(m.out, result.MatrixFile, &m.doc), m.table())
	}
	if err := save(); err != nil {
		return err
	}
	m.doc.Interrupted = false
	for i := range m.doc.Cells {
		c := &m.doc.Cells[i]
		if c.State != result.CellPending {
			continue
		}
		out.say("cell %d of %d: %s", c.N, len(m.doc.Cells), strings.TrimPrefix(c.Dir, "cells/"))
		err := m.command(ctx, m.line(c), io.Discard, out.w)
		if ctx.Err() != nil {
			m.doc.Interrupted = true
			break
		}
		c.State = result.CellDone
		if err != nil && !errors.Is(err, errMissed) { // a missed target is a finding
			c.State, c.Error = result.CellFailed, firstLine(err)
		}
		if err := m.fill(c); err != nil && c.State == result.CellDone {
			c.State, c.Error = result.CellFailed, firstLine(err)
		}
		if err := save(); err != nil {
			return err
		}
	}
	m.verdicts()
	if err := save(); err != nil {
		return err
	}
	show := m.print
	if m.json {
		show = func(w io.Writer) error { return printJSON(w, &m.doc) }
	}
	if err := show(stdout); err != nil || !m.doc.Interrupted {
		return err
	}
	return errors.New("stopped before all cells were done: the same command goes on with the rest")
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// fill reads a cell's figures from its folder.
func (m *matrix) fill(c *result.Cell) error {
	dir := filepath.Join(m.out, c.Dir)
	if m.isKnee {
		var k result.Knee
		if err := result.ReadStudy(dir, result.KneeFile, result.KneeFormat, &k); err != nil {
			return err
		}
		c.Loop, c.KneeOpsPerSec, c.P50US, c.P99US = "open", k.AnswerOpsPerSec, k.Response.P50, k.Response.P99
		c.Limiting, c.LimitingText, c.Lost, c.Verdict = k.Limiting.Resource, k.Limiting.Text, k.Audit.Lost, gravest(k.Verdicts)
		for i := len(k.Probes) - 1; i >= 0 && k.AnswerOpsPerSec != nil; i-- {
			if p := k.Probes[i]; p.Outcome == result.Holds {
				r, err := result.Open(filepath.Join(dir, p.Dir))
				if err == nil {
					c.Device = r.Summary.Device
					c.OfferedOpsPerSec, c.AchievedOpsPerSec = p.OfferedOpsPerSec, p.AchievedOpsPerSec
					nodesOf(c, r)
				}
				return err
			}
		}
		return nil
	}
	r, err := result.Open(dir)
	if err != nil {
		return err
	}
	s := &r.Summary
	c.Loop, c.OfferedOpsPerSec, c.AchievedOpsPerSec = s.Loop, s.OfferedOpsPerSec, s.AchievedOpsPerSec
	c.P50US, c.P99US, c.Failed, c.Lost, c.Verdict = s.All.Response.P50, s.All.Response.P99, s.All.Failed+s.All.InDoubt, s.Audit.Lost, gravest(s.Verdicts)
	limit := limitOfLoop(s)
	c.Limiting, c.LimitingText, c.Device = limit.Resource, limit.Text, s.Device
	nodesOf(c, r)
	return nil
}

// nodesOf sums what the nodes used in the measured phase: the mean CPU of each,
// the greatest memory of each.
func nodesOf(c *result.Cell, r *result.Run) {
	cpu, rss, seen := 0.0, int64(0), false
	for _, samples := range r.Nodes {
		sum, n, most := 0.0, 0.0, int64(0)
		for _, s := range samples {
			most = max(most, s.RSSBytes)
			if s.CPUPct >= 0 && s.TSec >= 1 && s.TSec <= r.Summary.DurationSec+1 {
				sum += s.CPUPct
				n++
			}
		}
		if rss += most; n > 0 {
			cpu += sum / n
			seen = true
		}
	}
	if c.NodeRSSBytes = rss; seen {
		c.NodeCPUPct = number(cpu)
	}
}

// gravest is the first verdict of the highest level.
func gravest(list []result.Verdict) string {
	for _, level := range []result.Level{result.Fail, result.Warn} {
		for _, v := range list {
			if v.Level == level {
				return fmt.Sprintf("%s %s", v.Level, v.Rule)
			}
		}
	}
	return ""
}

// verdicts says how much of the matrix is there.
func (m *matrix) verdicts() {
	count := map[result.CellState]int{}
	for _, c := range m.doc.Cells {
		count[c.State]++
	}
	m.doc.Verdicts = []result.Verdict{{Rule: "CELLS", Level: result.Info, Text: fmt.Sprintf("%d done, %d failed, %d skipped, %d left", count[result.CellDone],
		count[result.CellFailed], count[result.CellSkipped], count[result.CellPending])},
		{Rule: "R10", Level: result.Warn, Text: "generator and nodes share one host: compare cells with each other, not with separate machines"},
		{Rule: "R8", Level: result.Warn, Text: "one run a cell: a difference between two cells wants repeats"}}
	if m.dilations() > 1 {
		m.doc.Verdicts = append(m.doc.Verdicts, result.Verdict{Rule: "DILATED", Level: result.Warn,
			Text: "the devices' times are stretched differently: compare only cells of the same stretch (time xN)"})
	}
}

// dilations counts the stretches of time among the cells that were run.
func (m *matrix) dilations() int {
	seen := map[float64]bool{}
	for i := range m.doc.Cells {
		if c := &m.doc.Cells[i]; c.State == result.CellDone {
			seen[c.Dilated()] = true
		}
	}
	return len(seen)
}

var matrixHeader = []string{"n", axisWorkload, axisDevice, axisNodes, axisRF, axisSize, "state", "loop", "offered_ops_per_s", "achieved_ops_per_s",
	"knee_ops_per_s", "p50_us", "p99_us", "failed", "lost", "node_cpu_pct", "node_rss_bytes", "limiting", "verdict", "dir", "error", "device_class", "dilation"}

// table writes matrix.csv.
func (m *matrix) table() error {
	f, err := os.Create(filepath.Join(m.out, result.MatrixTable))
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	err = w.Write(matrixHeader)
	for _, c := range m.doc.Cells {
		v := c.Values
		err = errors.Join(err, w.Write([]string{strconv.Itoa(c.N), v[axisWorkload], v[axisDevice], v[axisNodes], v[axisRF], v[axisSize], string(c.State), c.Loop,
			fmt.Sprintf("%.1f", c.OfferedOpsPerSec), fmt.Sprintf("%.1f", c.AchievedOpsPerSec), figure(c.KneeOpsPerSec), figure(c.P50US), figure(c.P99US),
			strconv.FormatInt(c.Failed, 10), strconv.FormatInt(c.Lost, 10), figure(c.NodeCPUPct), strconv.FormatInt(c.NodeRSSBytes, 10), c.Limiting, c.Verdict, c.Dir, c.Error,
			classOf(&c), strconv.FormatFloat(c.Dilated(), 'f', -1, 64)}))
	}
	w.Flush()
	return errors.Join(err, w.Error(), f.Close())
}

func classOf(c *result.Cell) string {
	if c.Device == nil {
		return ""
	}
	return c.Device.Class
}

func figure(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', 1, 64)
}

func (m *matrix) print(w io.Writer) error {
	t := plainTable()
	t.AppendHeader(table.Row{"", "workload", "device", "nodes", "rf", "value", "achieved", "knee", "p50", "p99", "CPU", "memory", "limit", ""})
	for _, c := range m.doc.Cells {
		v, note := c.Values, c.Verdict
		if c.State != result.CellDone {
			note = fmt.Sprintf("%s %s", c.State, c.Error)
		}
		knee, cpu, mem := "", "", ""
		if c.KneeOpsPerSec != nil {
			knee = units.Rate(*c.KneeOpsPerSec).String()
		}
		if c.NodeCPUPct != nil {
			cpu, mem = fmt.Sprintf("%.0f %%", *c.NodeCPUPct), units.Bytes(c.NodeRSSBytes).Human()
		}
		achieved := ""
		if c.AchievedOpsPerSec > 0 {
			achieved = units.Rate(float64(int64(c.AchievedOpsPerSec))).String()
		}
		device := v[axisDevice]
		if f := c.Dilated(); f > 1 {
			device += fmt.Sprintf(" (time x%g)", f)
		}
		t.AppendRow(table.Row{c.N, v[axisWorkload], device, v[axisNodes], v[axisRF], v[axisSize], achieved, knee, microsOf(c.P50US), microsOf(c.P99US),
			cpu, mem, c.Limiting, note})
	}
	fmt.Fprintln(w, t.Render())
	for _, v := range m.doc.Verdicts {
		fmt.Fprintf(w, "%-4s  %s: %s\n", v.Level, v.Rule, v.Text)
	}
	_, err := fmt.Fprintf(w, "study folder: %s\n", m.out)
	return err
}
