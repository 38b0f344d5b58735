package verify

import (
	"math"
	"time"

	"headroom/node/disk/profile"
	"headroom/planner/model"
)

const (
	// stationService is about how long a read is served by a station, in
	// seconds of the run: ten times what timers of a busy host are late by.
	stationService = 20e-3
	// fewReads is the share of reads below which a load is not run through
	// stations: too few to carry what the writes cost.
	fewReads = 0.1
	// mostChannels is well below the 32 reads that a node has at a device at
	// once.
	mostChannels = 16
	// stationLate is a p99, in seconds of the run, that queues before a station
	// with room to spare do not reach, and those before one that has a twentieth
	// too much to do reach in ten seconds.
	stationLate = 0.5
	// stationSpread is how far service times lie around their mean, evenly: a
	// station is held against its capacity, not against a tail.
	stationSpread = 0.5
)

// makeStation describes what stands for the processors or the link of a node,
// which all nodes of one machine share: a device without a limit but the reads
// that it serves. That limit is the busiest node's reads in the binding state
// over the plan's utilisation there, so a node is as busy as planned in any
// state; what writes and migration cost of the resource grows with the reads
// when nodes are lost, and is charged to them.
func (m *miniature) makeStation(l load) (*device, error) {
	b := m.bind
	most := l.reads * m.spread(m.best.Nodes, b.State).Masters / *b.Utilisation
	r := &m.cfg.Plan.Requirements.Targets
	d := &device{reads: l.reads, readP99: r.ReadP99, lostP99: r.ReadP99}
	d.size = int64(m.cfg.NodeBytes/leastFill) / writeBlock * writeBlock
	d.dilation = math.Ceil(max((l.reads+l.writes)/m.cfg.OpsPerSec, 1))
	channels := min(max(math.Round(most/d.dilation*stationService), 1), mostChannels)
	mean := channels / (most * (1 - m.cached(d.size)))
	row := func(op profile.Op, least, greatest float64) profile.Service {
		return profile.Service{Op: op, Size: smallRead, Points: []profile.Point{{Q: 0, Time: time.Duration(least * 1e9)}, {Q: 1, Time: time.Duration(greatest * 1e9)}}}
	}
	d.real = &profile.Profile{Name: "station", About: "what stands for " + b.Resource + " of a node", Source: "a plan", Channels: int(channels),
		Service: []profile.Service{row(profile.Read, mean*(1-stationSpread), mean*(1+stationSpread)), row(profile.Write, 0, 0)}}
	return d, d.real.Validate()
}

// cached is the share of a node's records that are read from memory.
func (m *miniature) cached(size int64) float64 {
	return min(model.CachedBytes(size, writeBlock)/m.cfg.NodeBytes, 0.5)
}
