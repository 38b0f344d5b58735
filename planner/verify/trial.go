package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"headroom/loadgen/result"
	"headroom/planner/plan"
)

const (
	// settle is watched before the kill and left out: fresh nodes warm up.
	settle = 2.0
	// dying is left out after a kill: the state "lost" begins when the others
	// serve the dead nodes' partitions.
	dying = 1.0
	// readBack of what lies on slow devices: some of it, as all takes minutes.
	readBack = 10 * time.Second
	// errorTail is how much of the load generator's last words an error shows.
	errorTail = 600
)

// seen is a trial with what was measured.
type seen struct {
	plan.Trial
	offered, ok float64 // operations in the judged windows
	used        float64 // bytes of the fullest node, healthy
	usedAfter   float64 // and after the loss
	rebuild     float64 // seconds, NaN: it did not end
	gap         float64 // seconds, NaN: no kill
	unavailable int64   // partitions, the most that was seen
	hostUse     float64 // of all cores, NaN: unknown
	offSchedule bool    // the emulated devices were late: the host was too busy
	healthy     times   // of the phase before the kill
	lost        times   // and of that after it
}

// phases of a trial: healthy, then without the killed nodes.
func (m *miniature) duration() time.Duration {
	if m.fail == 0 {
		return m.cfg.Phase + time.Duration(settle*float64(time.Second))
	}
	return m.cfg.Phase + m.after()
}

// trial runs the miniature on n nodes, kills, and judges what it sees.
func (m *miniature) trial(ctx context.Context, n int) (*seen, error) {
	dir := filepath.Join(m.cfg.Dir, fmt.Sprintf("nodes-%d", n))
	l := Load{Dir: dir, Workload: m.workload, Nodes: n, Rate: m.card.OpsPerSec, Duration: m.duration(),
		Warmup: time.Duration(math.Ceil(m.warmUp())) * time.Second, Set: []string{fmt.Sprintf("replication-factor=%d", m.best.Copies)}}
	if d := m.device; d != nil {
		l.Device, _ = d.spec(m.file())
		l.ReadBack = readBack
		l.Set = append(l.Set, fmt.Sprintf("device-size=%d", d.size), fmt.Sprintf("write-block-size=%d", writeBlock), fmt.Sprintf("commit-to-device=%t", d.sync))
	}
	if m.limit > 0 {
		l.Set = append(l.Set, fmt.Sprintf("memory-limit=%d", m.limit))
	}
	if m.pace.rate > 0 {
		l.Set = append(l.Set, fmt.Sprintf("migrate-rate=%.0f", m.pace.rate))
	}
	word, done := "kill", "killed"
	if m.leave {
		word, done = "term", "stopped"
	}
	for i := range m.fail {
		l.Faults = append(l.Faults, fmt.Sprintf("%s node%d @%v", word, i+1, m.cfg.Phase))
	}
	m.cfg.Say("%d nodes, %d of them %s, %.0f operations/s for %v", n, m.fail, done, l.Rate, l.Duration)
	began := m.cfg.Start(ctx, l)
	if began != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r, err := result.Open(dir)
	if err != nil {
		return nil, errors.Join(began, err)
	}
	s := &seen{Trial: plan.Trial{Nodes: n, Killed: m.fail, Run: dir}}
	m.observe(r, s)
	if err := m.observeTimes(r, s); err != nil {
		return nil, err
	}
	s.Holds, s.Why = m.holds(r, s)
	m.cfg.Say("%d nodes: %s", n, s.Why)
	return s, nil
}

// observe reads the run folder.
func (m *miniature) observe(r *result.Run, s *seen) {
	kill := m.cfg.Phase.Seconds()
	for _, row := range r.Series {
		at := float64(row.TSec)
		if at < settle || m.fail > 0 && at+1 > kill-dying && at < kill+dying {
			continue
		}
		s.offered += float64(row.Offered)
		s.ok += float64(row.OK)
	}
	s.rebuild, s.gap = math.NaN(), math.NaN()
	for i, f := range r.Summary.Faults {
		if f.RedundancyRestoredSec != nil {
			s.rebuild = *f.RedundancyRestoredSec
		} else if i == 0 {
			s.rebuild = math.NaN()
		}
		if f.GapMS != nil {
			s.gap = max(zero(s.gap), *f.GapMS/1e3)
		}
	}
	for _, samples := range r.Nodes {
		for _, n := range samples {
			if !n.Up || n.TSec < 0 {
				continue
			}
			s.unavailable = max(s.unavailable, n.Unavailable)
			if used := float64(n.UsedBytes); m.fail > 0 && n.TSec > kill {
				s.usedAfter = max(s.usedAfter, used)
			} else {
				s.used = max(s.used, used)
			}
		}
	}
	s.hostUse = hostUse(r)
}

func zero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// hostUse is the mean CPU use of the machine, NaN if it was not sampled.
func hostUse(r *result.Run) float64 {
	sum, n := 0.0, 0.0
	for _, g := range r.Generator {
		if g.HostCPUPct >= 0 && g.TSec > 0 {
			sum, n = sum+g.HostCPUPct/100, n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / n
}

const (
	// served is the least share of the operations offered that must succeed
	// outside of the second around a kill.
	served = 0.999
)

// holds judges a trial by what the requirements ask for, in words.
func (m *miniature) holds(r *result.Run, s *seen) (bool, string) {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if s.offered == 0 {
		return false, "no operation was offered: the run says nothing"
	}
	if share := s.ok / s.offered; share < served {
		add("%.2f %% of the operations succeeded", share*100)
	}
	for _, t := range m.late(s) {
		add("%s", t)
	}
	if r.Summary.Audit.Lost > 0 {
		add("%d acknowledged writes were lost", r.Summary.Audit.Lost)
	}
	target := m.rebuildWithin()
	watched := m.device == nil || target > 0 && target < m.after().Seconds()
	if m.fail > 0 && math.IsNaN(s.rebuild) && watched {
		add("redundancy did not come back")
	}
	if m.fail > 0 && target > 0 && s.rebuild > target {
		add("redundancy was back after %.1f s, want %.1f s", s.rebuild, target)
	}
	if m.fail > 0 && m.fail < m.best.Copies && s.lastUnavailable(r) > 0 {
		add("%d partitions stayed unavailable", s.lastUnavailable(r))
	}
	if len(wrong) > 0 {
		return false, "fails: " + strings.Join(wrong, "; ")
	}
	text := fmt.Sprintf("holds: %.3f %% of the operations succeeded", 100*min(s.ok/s.offered, 1))
	if m.fail > 0 && math.IsNaN(s.rebuild) {
		text += fmt.Sprintf(", redundancy was not back within the %v watched", m.after())
	} else if m.fail > 0 {
		text += fmt.Sprintf(", redundancy was back after %.1f s", s.rebuild)
	}
	return true, text
}

// lastUnavailable is how many partitions a node still misses at the end.
func (s *seen) lastUnavailable(r *result.Run) int64 {
	most := int64(0)
	for _, samples := range r.Nodes {
		if n := len(samples); n > 0 && samples[n-1].Up {
			most = max(most, samples[n-1].Unavailable)
		}
	}
	return most
}

// Loadgen is the Starter that runs headroom-loadgen, found beside this program
// or on PATH.
func Loadgen(ctx context.Context, l Load) error {
	path, err := l.Program, error(nil)
	if path == "" {
		path, err = program()
	}
	if err != nil {
		return err
	}
	if l.Shape == "" {
		l.Shape = fmt.Sprintf("%.0f/s", l.Rate)
	}
	args := []string{"run", l.Workload, "--local-nodes", fmt.Sprint(l.Nodes), "--rate", l.Shape, "--duration", l.Duration.String(),
		"--warmup", l.Warmup.String(), "--out", l.Dir, "--json"}
	if l.ReadBack > 0 {
		args = append(args, "--read-back", l.ReadBack.String())
	}
	if l.Device != "" {
		args = append(args, "--device", l.Device)
	}
	for _, s := range l.Set {
		args = append(args, "--set", s)
	}
	for _, f := range l.Faults {
		args = append(args, "--fault", f)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its nodes and writes its folder
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		tail := log.Bytes()[max(0, log.Len()-errorTail):]
		return fmt.Errorf("headroom-loadgen: %w\n%s", err, tail)
	}
	return nil
}

func program() (string, error) {
	const name = "headroom-loadgen"
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("no %s beside this program nor on PATH: build it with `make build`", name)
}
