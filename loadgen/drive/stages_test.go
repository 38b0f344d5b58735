package drive

import (
	"testing"
	"time"

	"headroom/loadgen/target"
	"headroom/workloads"
)

func TestStagesChangeRateAndMix(t *testing.T) {
	w, err := workloads.Parse("w", []byte(`version: 1
name: staged
records: 100
mix:
  get: 100
stages:
  - duration: 1s
  - duration: 1s
    rate: 4k/s
    mix:
      put: 100
`))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := run(t, Config{Workload: w, Target: target.NewFake(), Rate: 1000, Arrivals: ArriveConstant, Duration: 2 * time.Second}, nil)
	if get, put := r.Operations["get"].Count, r.Operations["put"].Count; get != 1000 || put != 4000 {
		t.Errorf("%d gets and %d puts, want 1000 in the first stage and 4000 in the second", get, put)
	}
	for _, s := range r.Series {
		if s.Op == "put" && s.TSec == 0 && s.Offered > 0 || s.Op == "get" && s.TSec == 1 && s.Offered > 0 {
			t.Errorf("second %d: %d of %s offered", s.TSec, s.Offered, s.Op)
		}
	}
}

func TestClosedClientsThinkBetweenOperations(t *testing.T) {
	const clients, think = 8, 20 * time.Millisecond
	r, _ := run(t, Config{Workload: mixOf(t, "get:100"), Target: target.NewFake(), Closed: clients, Think: think, Duration: 500 * time.Millisecond}, nil)
	get := r.Operations["get"]
	most := int64(clients * (500/20 + 1))
	if get.Count > most || get.Count < most/10 || get.Count != r.Offered || get.Failed != 0 {
		t.Errorf("%d clients that rest %v did %d operations in 500 ms (%d offered), want at most %d", clients, think, get.Count, r.Offered, most)
	}
	// An operation is intended for the end of the rest: what the lane is late by
	// is part of its response.
	if value(get.Lateness.P50) > value(get.Response.P50) {
		t.Errorf("lateness p50 %v us, response p50 %v us", value(get.Lateness.P50), value(get.Response.P50))
	}
}

func TestPreciseLanesOfferTheSameLoad(t *testing.T) {
	r, a := run(t, Config{Workload: mixOf(t, "get:50,read-modify-write:50"), Target: target.NewFake(), Rate: 2000, Arrivals: ArriveConstant,
		Precise: true, Lanes: 1, Duration: 300 * time.Millisecond}, nil)
	if r.Offered != 600 || r.Achieved != 600 || a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound != 0 {
		t.Errorf("%d offered, %d achieved of 600; audit %+v", r.Offered, r.Achieved, a)
	}
}

func TestATraceIsDrivenAsRecorded(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(i)*3*time.Millisecond)
	}
	r, _ := run(t, Config{Workload: mixOf(t, "get:100"), Target: target.NewFake(), Trace: times, Warmup: 99 * time.Millisecond, Duration: 300 * time.Millisecond}, nil)
	if r.Offered != 67 || r.Achieved != 67 { // those from 99 ms to 297 ms
		t.Errorf("%d offered, %d achieved, want 67 each", r.Offered, r.Achieved)
	}
}
