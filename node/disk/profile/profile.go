// Package profile owns the description of a storage device: how long its
// reads, writes and flushes take, how many it serves at once, and what it
// cannot exceed. The emulator (node/disk/emulate) behaves as a profile says,
// `headroom-loadgen device` writes one for the device it measured, and the
// planner reads either. It opens no device and draws no random numbers.
//
// The invariant to know: a Profile that Parse or Load returned is valid, prints
// (YAML) and parses back to itself; its figures are the real device's. Slowed
// down figures come from Dilate and carry the factor with them.
//
// Start reading at Profile.
package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"headroom/workloads/units"
)

// Op is a kind of request to a device.
type Op uint8

// The requests that a device serves.
const (
	Read Op = iota
	Write
	Sync // flush of the device's volatile cache; has no size
	Ops  // the number of kinds
)

var opNames = [Ops]string{"read", "write", "sync"}

// String gives the name used in files and output.
func (o Op) String() string {
	if o >= Ops {
		return fmt.Sprintf("op(%d)", o)
	}
	return opNames[o]
}

// Limits on a profile.
const (
	// MaxChannels bounds the emulator's state; the widest NVMe drives have
	// some hundred independent dies.
	MaxChannels = 4096
	// MaxRows and MaxPoints bound a profile file: more sizes or quantiles than
	// an import gives (fio's json+ has some hundred bins).
	MaxRows   = 64
	MaxPoints = 1024
	// MaxTime is the longest service time: beyond it the device is dead.
	MaxTime = time.Minute
	// MaxDilation keeps a dilated run of an SSD within a day.
	MaxDilation = 1000
	maxName     = 100
	maxText     = 2000
)

// Profile describes one device.
type Profile struct {
	Name     string
	Class    string // nvme, ssd, hdd, network, …: as node/disk/class names them; may be empty
	About    string // one sentence for a reader
	Source   string // where the figures come from
	Channels int    // requests that the device serves at the same time
	// Capacity is the device's size in bytes, zero when unknown.
	Capacity units.Bytes
	// Service holds a row per kind and size, sorted by both.
	Service   []Service
	Bandwidth Caps // bytes per second; zero: not limited
	IOPS      Caps // requests per second; zero: not limited
	Stalls    Stalls
	// DieAfter is the time from opening to the moment at which an emulated
	// device fails for good; zero: never. It is not dilated.
	DieAfter time.Duration
	// HangAfter is the time from opening to the moment after which no request of
	// an emulated device ends any more; zero: never. It is not dilated.
	HangAfter time.Duration
	// Dilation is the factor by which an emulator slows this device; zero
	// leaves the choice to its calibration of the host, 1 forbids any.
	Dilation float64
}

// Service is the distribution of one kind of request at one size, its transfer
// included, without waiting for others.
type Service struct {
	Op     Op
	Size   units.Bytes // zero for Sync
	Points []Point     // ascending in both fields
}

// Point says that a share Q of requests takes at most Time.
type Point struct {
	Q    float64 // 0 to 1
	Time time.Duration
}

// Caps are limits per second on reads, on writes, and on both together.
type Caps struct{ Read, Write, Total float64 }

// Stalls are the pauses of a device that cleans up inside: whenever Every
// bytes have been written, nothing is served for a time of For.
type Stalls struct {
	Every units.Bytes
	For   time.Duration
}

// Validate reports the first thing that makes no device.
func (p *Profile) Validate() error {
	switch {
	case p.Name == "" || len(p.Name) > maxName:
		return fmt.Errorf("name: want 1 to %d characters", maxName)
	case len(p.Class) > maxName || len(p.About) > maxText || len(p.Source) > maxText:
		return fmt.Errorf("about or source: want at most %d characters", maxText)
	case p.Channels < 1 || p.Channels > MaxChannels:
		return fmt.Errorf("channels %d: want 1 to %d", p.Channels, MaxChannels)
	case p.Capacity < 0:
		return errors.New("capacity: cannot be negative")
	case len(p.Service) > MaxRows:
		return fmt.Errorf("service: %d rows, want at most %d", len(p.Service), MaxRows)
	case (p.Stalls.Every > 0) != (p.Stalls.For > 0) || p.Stalls.Every < 0 || p.Stalls.For < 0 || p.Stalls.For > MaxTime:
		return fmt.Errorf("stalls: want both every (bytes written) and for (at most %v), above zero", MaxTime)
	case p.DieAfter < 0 || p.HangAfter < 0:
		return errors.New("die-after, hang-after: cannot be negative")
	case p.Dilation != 0 && !(p.Dilation >= 1 && p.Dilation <= MaxDilation):
		return fmt.Errorf("dilation %g: want 1 (real time) to %d", p.Dilation, MaxDilation)
	}
	if err := errors.Join(p.Bandwidth.validate("bandwidth"), p.IOPS.validate("iops")); err != nil {
		return err
	}
	return p.validateService()
}

func (c Caps) validate(what string) error {
	for _, v := range []float64{c.Read, c.Write, c.Total} {
		if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s: want figures above zero", what)
		}
	}
	return nil
}

func (p *Profile) validateService() error {
	var rows [Ops]int
	for i := range p.Service {
		s := &p.Service[i]
		if s.Op >= Ops {
			return fmt.Errorf("service: unknown kind %v", s.Op)
		}
		rows[s.Op]++
		if err := s.validate(); err != nil {
			return fmt.Errorf("service: %v of %v: %w", s.Op, s.Size, err)
		}
		if i > 0 && compareRows(p.Service[i-1], *s) >= 0 {
			return fmt.Errorf("service: %v of %v is given twice or out of order", s.Op, s.Size)
		}
	}
	if rows[Read] == 0 || rows[Write] == 0 || rows[Sync] > 1 {
		return errors.New("service: want at least one row for read, one for write, and at most one for sync")
	}
	return nil
}

func (s *Service) validate() error {
	switch {
	case s.Op == Sync && s.Size != 0:
		return errors.New("a sync has no size")
	case s.Op != Sync && s.Size <= 0:
		return errors.New("want a size above zero")
	case len(s.Points) == 0 || len(s.Points) > MaxPoints:
		return fmt.Errorf("want 1 to %d quantiles, such as p50: 90us", MaxPoints)
	}
	for i, pt := range s.Points {
		if !(pt.Q >= 0 && pt.Q <= 1) || pt.Time < 0 || pt.Time > MaxTime {
			return fmt.Errorf("quantile %g of %v: want p0 to p100 and 0 to %v", 100*pt.Q, pt.Time, MaxTime)
		}
		if i > 0 && (pt.Q <= s.Points[i-1].Q || pt.Time < s.Points[i-1].Time) {
			return fmt.Errorf("p%g (%v) must be above p%g (%v) and not faster", 100*pt.Q, pt.Time, 100*s.Points[i-1].Q, s.Points[i-1].Time)
		}
	}
	return nil
}

func compareRows(a, b Service) int {
	if a.Op != b.Op {
		return int(a.Op) - int(b.Op)
	}
	switch {
	case a.Size < b.Size:
		return -1
	case a.Size > b.Size:
		return 1
	}
	return 0
}

// Quantile returns the service time of a request of the given kind and size
// that a share q of such requests does not exceed. Between two listed sizes
// it interpolates, beyond them the nearest row holds: what larger requests
// take longer is the bandwidth's matter. A kind without rows takes no time.
func (p *Profile) Quantile(op Op, size int64, q float64) time.Duration {
	return time.Duration(math.Round(p.between(op, size, func(s *Service) float64 { return s.quantile(q) })))
}

// Mean is the mean service time of a request, exact for the distribution that
// Quantile describes.
func (p *Profile) Mean(op Op, size int64) time.Duration {
	return time.Duration(math.Round(p.between(op, size, (*Service).mean)))
}

// between evaluates f on the rows around size.
func (p *Profile) between(op Op, size int64, f func(*Service) float64) float64 {
	var below, above *Service
	for i := range p.Service {
		s := &p.Service[i]
		if s.Op != op {
			continue
		}
		if int64(s.Size) <= size {
			below = s
		} else if above == nil {
			above = s
		}
	}
	switch {
	case below == nil && above == nil:
		return 0
	case below == nil:
		return f(above)
	case above == nil:
		return f(below)
	}
	share := float64(size-int64(below.Size)) / float64(above.Size-below.Size)
	return f(below)*(1-share) + f(above)*share
}

// quantile interpolates linearly; outside the given quantiles the nearest one
// holds.
func (s *Service) quantile(q float64) float64 {
	i, found := slices.BinarySearchFunc(s.Points, q, func(pt Point, q float64) int {
		switch {
		case pt.Q < q:
			return -1
		case pt.Q > q:
			return 1
		}
		return 0
	})
	switch {
	case found || i == 0:
		return float64(s.Points[i].Time)
	case i == len(s.Points):
		return float64(s.Points[i-1].Time)
	}
	a, b := s.Points[i-1], s.Points[i]
	return float64(a.Time) + (q-a.Q)/(b.Q-a.Q)*float64(b.Time-a.Time)
}

// mean integrates quantile over 0 to 1.
func (s *Service) mean() float64 {
	first, last := s.Points[0], s.Points[len(s.Points)-1]
	sum := first.Q*float64(first.Time) + (1-last.Q)*float64(last.Time)
	for i := 1; i < len(s.Points); i++ {
		a, b := s.Points[i-1], s.Points[i]
		sum += (b.Q - a.Q) * float64(a.Time+b.Time) / 2
	}
	return sum
}

// MaxRate is the highest rate per second of requests of one kind and size
// alone: what channels, the cap on requests or the bandwidth allow, whichever
// is least. It is +Inf for a kind that takes no time and has no cap.
func (p *Profile) MaxRate(op Op, size int64) float64 {
	rate := math.Inf(1)
	if mean := p.Mean(op, size).Seconds(); mean > 0 {
		rate = float64(p.Channels) / mean
	}
	for _, c := range []float64{p.IOPS.of(op), p.IOPS.Total} {
		if c > 0 && op != Sync {
			rate = min(rate, c)
		}
	}
	for _, c := range []float64{p.Bandwidth.of(op), p.Bandwidth.Total} {
		if c > 0 && size > 0 {
			rate = min(rate, c/float64(size))
		}
	}
	return rate
}

func (c Caps) of(op Op) float64 {
	switch op {
	case Read:
		return c.Read
	case Write:
		return c.Write
	}
	return 0
}

// Dilate returns the profile of a device that is f times slower in everything:
// service times and stalls f times longer, caps f times lower. At the same
// share of its capacity it behaves like the real one with all times
// multiplied by f. DieAfter stays. f must be 1 to MaxDilation.
func (p *Profile) Dilate(f float64) *Profile {
	slow := *p
	slow.Dilation = f
	slow.Service = make([]Service, len(p.Service))
	for i, s := range p.Service {
		s.Points = slices.Clone(s.Points)
		for k := range s.Points {
			s.Points[k].Time = time.Duration(float64(s.Points[k].Time) * f)
		}
		slow.Service[i] = s
	}
	slow.Bandwidth = Caps{p.Bandwidth.Read / f, p.Bandwidth.Write / f, p.Bandwidth.Total / f}
	slow.IOPS = Caps{p.IOPS.Read / f, p.IOPS.Write / f, p.IOPS.Total / f}
	slow.Stalls.For = time.Duration(float64(p.Stalls.For) * f)
	return &slow
}
