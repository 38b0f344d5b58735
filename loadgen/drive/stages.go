package drive

import (
	"fmt"
	"time"

	"headroom/loadgen/pace"
	"headroom/workloads"
	"headroom/workloads/units"
)

// stageMix is the shares of operations from an instant of the measured phase on.
type stageMix struct {
	from  time.Duration
	cumul [workloads.Ops]float64 // percent, up to and with each operation
	last  workloads.Op           // with a share: what rounding leaves over
}

// mixes lists the mixes of a measured phase, in order; the first holds in the
// warm-up, too.
func (d *Driver) mixes(length time.Duration) []stageMix {
	var list []stageMix
	for _, s := range d.cfg.Workload.Segments(1, length) {
		m, sum := stageMix{from: s.From}, 0.0
		for op, part := range s.Mix {
			sum += part
			if m.cumul[op] = sum; part > 0 {
				m.last = workloads.Op(op)
			}
		}
		list = append(list, m)
	}
	return list
}

// StagesProfile is the offered rate of a workload with stages when the run's
// rate is rate and its measured phase as long as length; without stages it is
// that rate throughout.
func StagesProfile(w *workloads.Workload, rate units.Rate, length time.Duration) *pace.Profile {
	if len(w.Stages) == 0 {
		return pace.Steady(rate)
	}
	var pieces []pace.Piece
	for _, s := range w.Segments(rate, length) {
		if s.Length > 0 {
			pieces = append(pieces, pace.Piece{Length: s.Length, From: float64(s.Rate), To: float64(s.RateEnd)})
		}
	}
	return pace.Lines(fmt.Sprintf("%d stages of %s at %v", len(w.Stages), w.Name, rate), pieces)
}
