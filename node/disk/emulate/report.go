package emulate

import (
	"fmt"
	"math"
	"strings"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/node/disk/profile"
)

const (
	// Tolerance is by how much the measured p99 of a faithful emulation may
	// differ from that of its own schedule.
	Tolerance = 0.10
	// enough requests to judge a p99 at all: 657 bound it from above with
	// 99 % confidence (n >= 6.635 p/(1-p)).
	enough = 657
	// longest latency that is told apart, and the resolution, microseconds.
	longest = int64(10 * time.Minute / time.Microsecond)
)

// opStats holds what the schedule wanted and what callers got, microseconds.
type opStats struct{ virtual, measured *hdr.Histogram }

func newOpStats() opStats {
	return opStats{hdr.New(1, longest, 3), hdr.New(1, longest, 3)}
}

func (s *opStats) record(virtual, measured time.Duration) {
	// Values are clamped, so RecordValue cannot fail.
	_ = s.virtual.RecordValue(min(virtual.Microseconds(), longest))
	_ = s.measured.RecordValue(min(measured.Microseconds(), longest))
}

// Report says how an emulated device did. All times are as they passed on
// this host; divided by Dilation they are the device's.
type Report struct {
	Profile  string     `json:"profile"`
	Class    string     `json:"class"`
	Dilation float64    `json:"dilation"`
	Ops      []OpReport `json:"operations"` // those that were used
}

// OpReport is one kind of request of a Report.
type OpReport struct {
	Op          string  `json:"op"`
	Count       int64   `json:"count"`
	VirtualP50  float64 `json:"virtual_p50_us"` // as the schedule wanted it
	VirtualP99  float64 `json:"virtual_p99_us"`
	MeasuredP50 float64 `json:"measured_p50_us"` // as the callers had it
	MeasuredP99 float64 `json:"measured_p99_us"`
	RealP99     float64 `json:"real_p99_us"` // virtual, without the dilation
	// Error is measured over virtual p99, less one.
	Error float64 `json:"p99_error"`
	// Judged is false when there were too few requests to bound a p99.
	Judged bool `json:"judged"`
}

// Report returns what was measured since the device was opened.
func (d *Device) Report() Report {
	r := Report{Profile: d.real.Name, Class: d.real.Class, Dilation: d.p.Dilation, Ops: []OpReport{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	for op := range profile.Ops {
		s := &d.stats[op]
		n := s.measured.TotalCount()
		if n == 0 {
			continue
		}
		at := func(h *hdr.Histogram, p float64) float64 { return float64(h.ValueAtPercentile(p)) }
		o := OpReport{Op: op.String(), Count: n, VirtualP50: at(s.virtual, 50), VirtualP99: at(s.virtual, 99),
			MeasuredP50: at(s.measured, 50), MeasuredP99: at(s.measured, 99), Judged: n >= enough}
		o.RealP99 = o.VirtualP99 / r.Dilation
		// A schedule below the resolution of a microsecond has nothing to compare.
		o.Error = o.MeasuredP99/max(o.VirtualP99, 1) - 1
		r.Ops = append(r.Ops, o)
	}
	return r
}

// Faithful reports whether the host kept to the schedule: every judged p99
// within Tolerance.
func (r *Report) Faithful() bool {
	for _, o := range r.Ops {
		if o.Judged && math.Abs(o.Error) > Tolerance {
			return false
		}
	}
	return true
}

// String is one line for a reader, with dilated and real figures side by
// side.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "emulated %s", r.Profile)
	if r.Dilation > 1 {
		fmt.Fprintf(&b, ", time-dilated %g times", r.Dilation)
	}
	for _, o := range r.Ops {
		fmt.Fprintf(&b, "; %s p99 %s", o.Op, micros(o.MeasuredP99))
		if r.Dilation > 1 {
			fmt.Fprintf(&b, " here, %s on the device", micros(o.RealP99))
		}
		if o.Judged {
			fmt.Fprintf(&b, " (%+.0f %% of its schedule)", 100*o.Error)
		}
	}
	if !r.Faithful() {
		fmt.Fprintf(&b, "; NOT FAITHFUL: this host was more than %g %% off the schedule", 100*Tolerance)
	}
	return b.String()
}

func micros(us float64) string {
	return (time.Duration(us) * time.Microsecond).String()
}
