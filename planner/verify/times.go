package verify

import (
	"errors"
	"fmt"
	"math"
	"os"

	"headroom/loadgen/result"
	"headroom/planner/plan"
	"headroom/workloads"
)

// times are response times of one phase of a trial, in seconds of the run;
// NaN without operations.
type times struct {
	seconds             float64 // of the phase
	served              float64 // operations in it
	readMean, readP99   float64
	writeMean, writeP99 float64
}

// observeTimes reads the response times before and after the kill. Only a
// trial on emulated devices has any that mean something.
func (m *miniature) observeTimes(r *result.Run, s *seen) error {
	if m.device == nil {
		return nil
	}
	for _, v := range r.Summary.Verdicts {
		s.offSchedule = s.offSchedule || v.Rule == "EMULATED" && v.Level == result.Warn
	}
	kill, end := m.cfg.Phase.Seconds(), r.Summary.DurationSec
	var err error
	if s.healthy, err = phase(r, settle, kill-dying); err != nil || m.fail == 0 {
		return err
	}
	s.lost, err = phase(r, kill+dying, end)
	return err
}

// phase merges the histograms of the seconds from and to.
func phase(r *result.Run, from, to float64) (times, error) {
	t := times{seconds: math.Floor(to) - math.Ceil(from)}
	for _, row := range r.Series {
		if at := float64(row.TSec); at >= from && at+1 <= to {
			t.served += float64(row.OK)
		}
	}
	var err error
	if t.readMean, t.readP99, err = merged(r, workloads.Get.String(), from, to); err != nil {
		return t, err
	}
	t.writeMean, t.writeP99, err = merged(r, workloads.Update.String(), from, to)
	return t, err
}

func merged(r *result.Run, op string, from, to float64) (mean, p99 float64, err error) {
	if _, ok := r.Summary.Operations[op]; !ok {
		return math.NaN(), math.NaN(), nil
	}
	list, err := r.Intervals(op, result.Response)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	sum := result.NewHistogram()
	for _, i := range list {
		at := i.From.Sub(r.Summary.MeasuredFrom).Seconds()
		if at >= from-0.5 && at+1 <= to+0.5 {
			sum.Merge(i.Hist)
		}
	}
	if sum.TotalCount() == 0 {
		return math.NaN(), math.NaN(), nil
	}
	return sum.Mean() / 1e9, float64(sum.ValueAtQuantile(99)) / 1e9, nil
}

// late lists the percentiles beyond their dilated limits.
func (m *miniature) late(s *seen) []string {
	if m.device == nil {
		return nil
	}
	var list []string
	check := func(what, state string, got, limit float64) {
		if limit > 0 && got > limit {
			list = append(list, fmt.Sprintf("p99 of %s %s %s, limit %s", what, state, m.both(got), m.both(limit)))
		}
	}
	read, write := m.limits("healthy")
	check("reads", "healthy", s.healthy.readP99, read)
	check("writes", "healthy", s.healthy.writeP99, write)
	if m.fail > 0 {
		read, write = m.limits(m.lostState())
		check("reads", "after the loss", s.lost.readP99, read)
		check("writes", "after the loss", s.lost.writeP99, write)
	}
	return list
}

// lostState is the state after nodes have gone.
func (m *miniature) lostState() string {
	if m.leave {
		return "rolling_restart"
	}
	return "nodes_lost"
}

// both says a time of the run as it was and as the real device would have it.
func (m *miniature) both(seconds float64) string {
	d := m.device
	if m.kind == stations {
		return fmt.Sprintf("%.0f ms", seconds*1e3)
	}
	return fmt.Sprintf("%.3g ms (%.3g ms dilated x%.0f)", seconds/d.dilation*1e3, seconds*1e3, d.dilation)
}

// meanRead and tailRead begin the names of times of reads.
const (
	meanRead = "mean read, "
	tailRead = "p99 of reads, "
)

// compareTimes sets throughput and times of reads beside the simulation of
// the emulated device, in each phase. Times are of the run, dilated, and
// divided by the dilation.
func (m *miniature) compareTimes(s *seen) []plan.Compared {
	var list []plan.Compared
	add := func(name, state string, t times) {
		mean, p99 := m.predict(m.best.Nodes, state)
		k := m.device.dilation
		mark := fmt.Sprintf(", dilated x%.0f", k)
		list = append(list, compared("operations served, "+name+mark, "/s", m.card.OpsPerSec, t.served/t.seconds))
		if m.kind == stations { // its times stand for nothing real
			list = append(list, compared("station: "+meanRead+name, "ms", mean*k*1e3, t.readMean*1e3), compared("station: "+tailRead+name, "ms", p99*k*1e3, t.readP99*1e3))
			return
		}
		list = append(list, compared(meanRead+name+mark, "ms", mean*k*1e3, t.readMean*1e3),
			compared(meanRead+name+", real", "ms", mean*1e3, t.readMean/k*1e3),
			compared(tailRead+name+mark, "ms", p99*k*1e3, t.readP99*1e3),
			compared(tailRead+name+", real", "ms", p99*1e3, t.readP99/k*1e3))
	}
	add("healthy", "healthy", s.healthy)
	if m.fail > 0 {
		add("nodes lost", m.lostState(), s.lost)
	}
	return list
}
