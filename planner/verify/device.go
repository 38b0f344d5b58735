package verify

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"headroom/node/disk/profile"
	"headroom/planner/catalog"
	"headroom/planner/model"
)

const (
	// baseProfile gives the emulated device what catalogs do not: how service
	// times are distributed and how many requests are served at once.
	baseProfile = "nvme"
	// leastService is the shortest mean service time, in seconds, that timers
	// of a busy host emulate within some percent.
	leastService = 2e-3
	// flashShare is how much less a node holds of records on devices than in
	// memory: it is loaded at the pace of a dilated device.
	flashShare = 4
	// leastFill keeps the device small, so that the engine's cache of blocks
	// flushed last (a 128th of the device) holds few of the records.
	leastFill = 0.35
	// writeBlock is that of the miniature: a device of some 30 MiB has some
	// hundred blocks, as one of the real size has many thousand.
	writeBlock = 128 << 10
	smallRead  = 4096
	// lateAfter is how many p99 of the idle device the p99 of reads may take
	// before a cluster without a target for it counts as overloaded.
	lateAfter = 4
	// beyondPlan times the p99 expected of the plan's own nodes: ten seconds at
	// 95 % of a device have one within half and twice of it.
	beyondPlan = 2
)

// device is the emulated device of every node. Rates and times of real are
// those of the machine type; it runs dilated.
type device struct {
	real     *profile.Profile
	dilation float64
	size     int64
	sync     bool // writes wait for the device
	reads    float64
	readP99  float64 // limits in seconds of real time, healthy and degraded; 0: none
	lostP99  float64
	writeP99 float64
	lostPut  float64
}

// latencyBound reports that a percentile binds, not a rate.
func latencyBound(resource string) bool { return resource == "read_p99" || resource == "write_p99" }

// makeDevice describes the device of the plan's machine type. Where its rate
// binds, it gives what the plan lets itself use of it (limits.iops,
// limits.bandwidth): at the plan's limit it is then fully used. Where a
// percentile binds it is the whole device.
func (m *miniature) makeDevice(l load) (*device, error) {
	if m.kind == stations {
		return m.makeStation(l)
	}
	t, err := m.machineType()
	if err != nil {
		return nil, err
	}
	p, err := profile.Load(m.cfg.Profile)
	if err != nil {
		return nil, err
	}
	r := m.cfg.Plan.Requirements
	fill := m.spread(m.best.Nodes, "healthy").Stored * l.flash / t.Bytes()
	size := int64(m.cfg.NodeBytes/max(fill, leastFill)) / writeBlock * writeBlock
	// What the miniature reads from memory the real cluster does not.
	miss := 1 - m.cached(size)
	real := ofType(p, t, r.Limits.IOPS.P50*miss/m.hard, r.Limits.Bandwidth.P50/m.hard, false)
	if latencyBound(m.bind.Resource) {
		real = ofType(p, t, 1, 1, true)
	}
	real.Bandwidth.Read *= miss
	d := &device{real: real, size: size, reads: l.reads, sync: l.sync, readP99: r.Targets.ReadP99, writeP99: r.Targets.WriteP99}
	d.lostP99, d.lostPut = d.readP99, d.writeP99
	if v := r.Targets.DegradedReadP99; v > 0 {
		d.lostP99 = v
	}
	if v := r.Targets.DegradedWriteP99; v > 0 {
		d.lostPut = v
	}
	d.dilation = math.Ceil(max((l.reads+l.writes)/m.cfg.OpsPerSec, leastService/real.Mean(profile.Read, smallRead).Seconds(), 1))
	if d.dilation > profile.MaxDilation {
		return nil, tooSlow(l, d.dilation)
	}
	return d, real.Validate()
}

func tooSlow(l load, dilation float64) error {
	return fmt.Errorf("the plan's %.3g operations/s would be slowed down %.0f times, at most %d are emulated: raise --rate to %.0f/s, or plan a slice of the load",
		l.reads+l.writes, dilation, profile.MaxDilation, math.Ceil((l.reads+l.writes)/profile.MaxDilation))
}

// machineType finds the row of the plan's type in its catalogs.
func (m *miniature) machineType() (*catalog.Type, error) {
	files := m.cfg.Plan.Requirements.Catalogs
	if len(files) == 0 {
		files = catalog.Default()
	}
	types, err := catalog.Load(files)
	if err != nil {
		return nil, fmt.Errorf("the plan's catalog: %w", err)
	}
	for i := range types {
		if types[i].Name == m.best.Type && types[i].Bytes() > 0 && types[i].ReadIOPS > 0 {
			return &types[i], nil
		}
	}
	return nil, fmt.Errorf("the plan's catalogs have no type %s with devices and their IOPS: plan again", m.best.Type)
}

// ofType gives a profile the figures of a machine type. Its channels serve the
// type's IOPS times a limit and no more; a cap on requests would let bursts
// through for 10 ms, which are many seconds when dilated. Writes keep their
// times, as the engine writes one block after the other: the bandwidth limits
// them. As the planner's
// simulation, stations of a plan bound by a percentile keep the profile's
// times and have as many channels as the IOPS need.
func ofType(p *profile.Profile, t *catalog.Type, iops, band float64, keepTimes bool) *profile.Profile {
	q := *p
	q.Name, q.About = t.Name, fmt.Sprintf("%s with the figures of %s, times %.3g (IOPS) and %.3g (bandwidth) as the plan allows", p.Name, t.Name, iops, band)
	q.Capacity, q.IOPS, q.Stalls, q.Dilation = 0, profile.Caps{}, profile.Stalls{}, 0
	q.Channels = max(int(math.Round(float64(p.Channels)*t.ReadIOPS/p.MaxRate(profile.Read, smallRead))), 1)
	q.Channels = min(q.Channels, profile.MaxChannels)
	q.Bandwidth = profile.Caps{Read: known(t.ReadBytes, t.ReadIOPS*smallRead) * band, Write: known(t.WriteBytes, t.WriteIOPS*smallRead) * band}
	q.Service = make([]profile.Service, len(p.Service))
	for i, s := range p.Service {
		by := 1.0
		if mean := p.Mean(profile.Read, smallRead).Seconds(); s.Op == profile.Read && !keepTimes && mean > 0 {
			by = float64(q.Channels) / (t.ReadIOPS * iops) / mean
		}
		q.Service[i] = slower(s, by)
	}
	return &q
}

// known is v, or what else is at least so if no catalog says.
func known(v, least float64) float64 {
	if math.IsNaN(v) {
		return least
	}
	return v
}

// slower multiplies all times of a row.
func slower(s profile.Service, by float64) profile.Service {
	points := make([]profile.Point, len(s.Points))
	for i, p := range s.Points {
		points[i] = profile.Point{Q: p.Q, Time: min(time.Duration(float64(p.Time)*by), profile.MaxTime)}
	}
	s.Points = points
	return s
}

// spec gives the emulated device as the nodes want it, and its profile: times
// beyond what an emulator slows down by itself are slower in the profile.
func (d *device) spec(file string) (spec string, p *profile.Profile) {
	if d.dilation <= profile.MaxDilation {
		return fmt.Sprintf("emulated:%s@%g", file, d.dilation), d.real
	}
	p = d.real.Dilate(d.dilation)
	p.Dilation = 0
	return fmt.Sprintf("emulated:%s@1", file), p
}

// file is where the profile is written, in the verification's folder.
func (m *miniature) file() string { return filepath.Join(m.cfg.Dir, "device.yaml") }

// warmUp is how long a node's device needs to take what was loaded, in
// seconds of the run.
func (m *miniature) warmUp() float64 {
	if m.device == nil || m.device.real.Bandwidth.Write == 0 {
		return settle
	}
	return settle + m.cfg.NodeBytes/m.device.real.Bandwidth.Write*m.device.dilation*1.25
}

// most is how long a rebuild is waited for: one that takes longer is not
// watched to its end.
const most = time.Minute

// after is how long a trial is watched after the kill: until the rebuild that
// the plan expects is over, where that is bearable.
func (m *miniature) after() time.Duration {
	d := m.cfg.Phase + m.cfg.Phase/2
	if rebuild := time.Duration(rebuildSlack * m.rebuild(m.best.Nodes) * float64(time.Second)).Round(time.Second); rebuild <= most {
		d = max(d, rebuild)
	}
	return d
}

// rebuildSlack is how much longer than expected a rebuild is watched.
const rebuildSlack = 1.5

// limits are the p99 that a state must keep, in seconds of the run; 0: none.
// Without a target for reads, one that is far beyond the idle device's and
// beyond what the plan's own nodes are expected to have says overload.
func (m *miniature) limits(state string) (read, write float64) {
	d := m.device
	read, write = d.readP99, d.writeP99
	if state != "healthy" {
		read, write = d.lostP99, d.lostPut
	}
	if read <= 0 || m.kind == stations {
		read = lateAfter * d.real.Quantile(profile.Read, smallRead, 0.99).Seconds()
		if _, p99 := m.predict(m.best.Nodes, state); !math.IsNaN(p99) {
			read = max(read, beyondPlan*p99)
		}
	}
	if m.kind == stations {
		read = max(read, stationLate/d.dilation)
	}
	return read * d.dilation, write * d.dilation
}

// simulated samples are enough for a p99 of which 1,000 are beyond.
const samples = 100_000

// predict simulates the reads of the busiest node's device in a state, as the
// planner does: mean and p99 in seconds of real time, NaN when overloaded.
func (m *miniature) predict(n int, state string) (mean, p99 float64) {
	d := m.device
	var q, v []float64
	for i := range 400 {
		at := (float64(i) + 0.5) / 400
		q, v = append(q, at), append(v, max(d.real.Quantile(profile.Read, smallRead, at).Seconds(), 1e-9))
	}
	service, err := model.NewDist(q, v)
	if err != nil {
		return math.NaN(), math.NaN()
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	rate := d.reads * m.spread(n, state).Masters * (1 - m.cached(d.size))
	st := model.Station{Servers: d.real.Channels, Service: service, Rate: rate}
	times, err := st.Waits(samples, rng)
	if err != nil {
		return math.NaN(), math.NaN()
	}
	for i, own := range service.Draw(samples, rng) {
		times[i] += own
	}
	// Each node sees its own queue; the p99 of all is near that of the
	// busiest, as placement is even.
	sum := model.Summarise(times)
	return sum.Mean, sum.P99
}
