package verify

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"headroom/node/disk/profile"
	"headroom/planner/model"
	"headroom/planner/plan"
)

// miniature is the plan scaled to this machine.
type miniature struct {
	cfg  *Config
	best *plan.Candidate
	bind plan.Binding // what fewer nodes fail by, as it is with the plan's
	hard float64      // how many times its median that utilisation is
	over float64      // and what it is with fewer
	// level is the share of the plan's draws that are no harder; 0: the medians.
	level float64
	card  plan.Miniature
	kind  emulation

	fail     int     // nodes that go
	leave    bool    // they stop in order instead of being killed
	record   float64 // bytes that a record takes on a node, mean, without its index
	shapes   *plan.Shapes
	limit    int64   // memory-limit of each node, 0: none
	device   *device // what nodes keep their records on; nil: memory
	pace     pace
	workload string
	yaml     []byte
}

// emulation is how the resource that binds is made scarce.
type emulation int

const (
	arithmetic emulation = iota // a rule binds: nothing to emulate
	memory                      // the nodes' memory limit
	devices                     // emulated devices of the plan's machine type
	stations                    // each read passes a station that serves as many as the plan allows
	migration                   // the nodes' migrate-rate
	shared                      // it cannot be told apart on one machine
)

// emulationOf tells resources by how this machine can make them scarce.
func emulationOf(resource string) emulation {
	switch resource {
	case "index_memory", "memory":
		return memory
	case "device_iops", "device_bandwidth", "device_bytes", "read_p99", "write_p99":
		return devices
	case "cpu", "network":
		return stations
	case "migration_bandwidth":
		return migration
	}
	return arithmetic
}

// shrink scales the answer of a plan.
func shrink(cfg *Config) (*miniature, error) {
	c, err := best(cfg.Plan)
	if err != nil {
		return nil, err
	}
	r := cfg.Plan.Requirements
	m := &miniature{cfg: cfg, best: c, fail: r.Redundancy.FailNodes, shapes: plan.NewShapes(), workload: filepath.Join(cfg.Dir, "workload.yaml")}
	m.binding()
	m.kind = emulationOf(m.bind.Resource)
	if c.WhyNotFewer.State == "structure" || c.WhyNotFewer.Utilisation == nil || m.bind.State == "rack_lost" {
		m.kind = arithmetic // the nodes started here have no racks
	}
	load := loadOf(r)
	if load.reads+load.writes <= 0 || load.records < 1 {
		return nil, fmt.Errorf("the plan has no operations or no records: nothing to run")
	}
	if m.kind == devices && load.flash <= 0 || m.kind == stations && load.reads < fewReads*(load.reads+load.writes) {
		m.kind = shared // a percentile of nodes without devices is that of their CPUs; stations charge all work to reads
	}
	if m.kind == devices && load.inMemory {
		return nil, fmt.Errorf("the plan has namespaces in memory and on devices, and %s binds: plan and verify those on devices alone", m.bind.Resource)
	}
	m.record = load.slot
	if m.onDevices() {
		m.record = load.blocks / load.records
		cfg.NodeBytes /= flashShare
	}
	if m.fail == 0 && m.bind.State == "rolling_restart" && c.Nodes > 1 {
		m.fail, m.leave = 1, true
	}
	stored := m.spread(c.Nodes, "healthy").Stored
	m.card.Nodes = c.Nodes
	perRecord := m.record + model.ClusterIndexBytes(load.records)/load.records
	m.card.Records = int64(min(cfg.NodeBytes/(stored*perRecord), load.records))
	m.card.Bytes = load.records / float64(m.card.Records)
	m.card.OpsPerSec = min(cfg.OpsPerSec, load.reads+load.writes)
	if m.onDevices() {
		if m.device, err = m.makeDevice(load); err != nil {
			return nil, err
		}
		m.card.OpsPerSec, m.card.Dilation = (load.reads+load.writes)/m.device.dilation, m.device.dilation
	}
	m.setPace(load)
	m.card.Rates = (load.reads + load.writes) / m.card.OpsPerSec
	m.card.ValueSize = load.sizes
	m.emulate(load)
	m.yaml = fmt.Appendf(nil, "# The load of the plan %q, rates divided by %.4g, records by %.4g.\nversion: 1\nname: verify\nrecords: %d\nvalue-size: %q\nmix:\n%s",
		r.Name, m.card.Rates, m.card.Bytes, m.card.Records, load.sizes, load.mix())
	return m, nil
}

// binding finds the resource and state that fewer nodes fail by: often, not
// always, those with the least room. The miniature runs at the level of the
// uncertain inputs at which the plan's claim shows best.
func (m *miniature) binding() {
	w := m.best.WhyNotFewer
	m.bind, m.hard = *m.best.Binding, 1
	for _, s := range m.best.States {
		if v := s.Resources[w.Resource]; s.State == w.State && v != nil {
			m.bind = plan.Binding{State: w.State, Resource: w.Resource, Utilisation: v}
		}
	}
	if w.Utilisation != nil {
		m.over = *w.Utilisation
	}
	if w.EnoughAt != nil && w.FewerAt != nil && *w.FewerAt > 1 && *m.bind.Utilisation > 0 {
		m.hard, m.over, m.level = *w.EnoughAt / *m.bind.Utilisation, *w.FewerAt, w.Level
		m.bind.Utilisation = w.EnoughAt
	}
}

// byDraws reports that fewer nodes fail in some draws only, and the miniature
// cannot show it.
func (m *miniature) byDraws() bool { return m.best.WhyNotFewer.Failing < 1 && m.level == 0 }

// emulate makes scarce what binds.
func (m *miniature) emulate(l load) {
	switch m.kind {
	case memory:
		// As full in the binding state as planned: the limit is what the node
		// would use there, over the planned utilisation. A node stops writes at
		// 90 % of its limit.
		full := m.bytes(m.best.Nodes, m.bind.State)
		m.limit = int64(full / *m.bind.Utilisation / stopWrites)
		m.card.Emulates = fmt.Sprintf("memory: each node may use %d MiB", m.limit>>20)
	case devices:
		m.card.Emulates = fmt.Sprintf("devices of %s, every rate and time slowed down %.0f times (dilated x%.0f), %d MiB on each node", m.best.Type, m.device.dilation, m.device.dilation, m.device.size>>20)
	case stations:
		m.card.Emulates = fmt.Sprintf("%s: each node's reads pass a station that serves %.0f/s, the rate at which the plan has %s at its limit (writes and migration are charged to reads), slowed down %.0f times (dilated x%.0f)",
			m.bind.Resource, m.device.real.MaxRate(profile.Read, smallRead), m.bind.Resource, m.device.dilation, m.device.dilation)
	case migration:
		m.card.Emulates = fmt.Sprintf("migration: each node sends %.0f kB/s", m.pace.rate/1e3)
	case arithmetic:
		m.card.Emulates = "nothing: what binds is a rule, or the loss of a rack"
	case shared:
		m.card.Emulates = "nothing: " + m.bind.Resource + " is shared by all nodes of one machine"
	}
	if m.level > 0 && math.Abs(m.hard-1) > 1e-3 {
		m.card.Emulates += fmt.Sprintf("; as scarce as at inputs that %.3g %% of the plan's draws do not exceed", m.level*100)
	}
}

// onDevices reports that the nodes keep their records on emulated devices.
func (m *miniature) onDevices() bool { return m.kind == devices || m.kind == stations }

// stopWrites is the share of a node's memory limit at which it refuses writes
// (package storage).
const stopWrites = 0.9

// spread returns how partitions lie in a state with n nodes, without racks.
func (m *miniature) spread(n int, state string) *plan.Spread {
	s := m.shapes.Of(plan.Layout{Nodes: n, Copies: m.best.Copies, Racks: 1, FailNodes: m.cfg.Plan.Requirements.Redundancy.FailNodes})
	i := plan.StateIndex(state)
	if i < 0 {
		i = plan.Healthy
	}
	return &s.States[i]
}

// bytes is what the fullest node holds in a state, as its status counts it:
// index and records in memory, records alone on a device.
func (m *miniature) bytes(n int, state string) float64 {
	records, sp := float64(m.card.Records), m.spread(n, state)
	fullest := model.Fullest(records, sp.Stored, sp.Alive)
	if m.device != nil {
		return fullest * m.record
	}
	return fullest * (model.ClusterIndexBytes(records)/records + m.record)
}

// load is what the namespaces of a plan ask together, at their peak.
type load struct {
	records       float64
	reads, writes float64 // per second
	slot          float64 // bytes in memory of the mean record
	body          float64 // bytes of it as it is sent
	blocks        float64 // bytes of all records in write blocks, were they on devices
	flash         float64 // bytes of all records that are
	inMemory      bool    // some namespace keeps its records in memory
	sync          bool    // some namespace waits for its devices
	sizes         string  // in the form of a workload
}

// loadOf adds up the namespaces: their records in one, their rates summed,
// their value sizes in proportion to their records.
func loadOf(r *plan.Requirements) load {
	var l load
	type class struct {
		bytes, records float64
		flash          bool
	}
	var classes []class
	for i := range r.Namespaces {
		n := &r.Namespaces[i]
		records := n.Records.P50
		if n.InsertRate.P50 > 0 {
			records = n.InsertRate.P50 * n.TTL.P50
		}
		peak := n.PeakFactor.P50
		l.records += records
		l.reads += (n.Reads.P50 + n.Updates.P50) * peak
		l.writes += (n.Writes.P50 + n.InsertRate.P50 + n.Updates.P50 + n.Deletes.P50) * peak
		l.inMemory, l.sync = l.inMemory || !n.Flash, l.sync || n.SyncWrite
		sizes := n.ValueSizes
		if len(sizes) == 0 {
			sizes = []plan.SizeShare{{Bytes: n.ValueBytes.P50, Share: 1}}
		}
		for _, s := range sizes {
			classes = append(classes, class{max(s.Bytes, leastValue), s.Share * records, n.Flash})
		}
	}
	slices.SortFunc(classes, func(a, b class) int { return int(math.Copysign(1, a.bytes-b.bytes)) })
	var words []string
	for _, c := range classes {
		body, err := model.Record{Value: int(c.bytes), Bins: 1, BinName: binName}.BodyBytes()
		if err != nil {
			body = int(c.bytes)
		}
		l.slot += float64(model.SlotBytes(body)) * c.records / max(l.records, 1)
		l.body += float64(body) * c.records / max(l.records, 1)
		l.blocks += float64(model.FlashBytes(body)) * c.records
		if c.flash {
			l.flash += float64(model.FlashBytes(body)) * c.records
		}
		words = append(words, fmt.Sprintf("%.0fB:%.4g", c.bytes, 100*c.records/max(l.records, 1)))
	}
	l.sizes = "histogram(" + strings.Join(words, ",") + ")"
	if len(classes) == 1 {
		l.sizes = fmt.Sprintf("%.0fB", classes[0].bytes)
	}
	return l
}

const (
	// leastValue is the least size of an audited value: its header.
	leastValue = 40
	// binName is the length of the name of the load generator's one bin.
	binName = 1
)

// mix prints the shares of a workload.
func (l load) mix() string {
	read := 100 * l.reads / (l.reads + l.writes)
	var b strings.Builder
	if read > 0 {
		fmt.Fprintf(&b, "  get: %.6g\n", read)
	}
	if read < 100 {
		fmt.Fprintf(&b, "  update: %.6g\n", 100-read)
	}
	return b.String()
}
