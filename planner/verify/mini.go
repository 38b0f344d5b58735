package verify

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"headroom/planner/model"
	"headroom/planner/plan"
)

// miniature is the plan scaled to this machine.
type miniature struct {
	cfg  *Config
	best *plan.Candidate
	card plan.Miniature
	kind emulation

	fail     int     // nodes to kill
	record   float64 // bytes that a record takes on a node, mean, without its index
	shapes   *plan.Shapes
	limit    int64   // memory-limit of each node, 0: none
	device   *device // what nodes keep their records on; nil: memory
	workload string
	yaml     []byte
}

// emulation is how the resource that binds is made scarce.
type emulation int

const (
	arithmetic emulation = iota // a rule binds: nothing to emulate
	memory                      // the nodes' memory limit
	devices                     // emulated devices of the plan's machine type
	shared                      // it cannot be told apart on one machine
)

// emulationOf tells resources by how this machine can make them scarce.
func emulationOf(resource string) emulation {
	switch resource {
	case "index_memory", "memory":
		return memory
	case "device_iops", "device_bandwidth", "device_bytes", "read_p99", "write_p99":
		return devices
	case "cpu", "network", "migration_bandwidth":
		return shared
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
	m := &miniature{cfg: cfg, best: c, kind: emulationOf(c.Binding.Resource), fail: r.Redundancy.FailNodes, shapes: plan.NewShapes(),
		workload: filepath.Join(cfg.Dir, "workload.yaml")}
	if c.WhyNotFewer.State == "structure" || c.WhyNotFewer.Utilisation == nil {
		m.kind = arithmetic
	}
	load := loadOf(r)
	if load.reads+load.writes <= 0 || load.records < 1 {
		return nil, fmt.Errorf("the plan has no operations or no records: nothing to run")
	}
	if m.kind == devices && load.flash <= 0 {
		m.kind = shared // a percentile of nodes without devices is that of their CPUs
	}
	if m.kind == devices && load.inMemory {
		return nil, fmt.Errorf("the plan has namespaces in memory and on devices, and %s binds: plan and verify those on devices alone", c.Binding.Resource)
	}
	m.record = load.slot
	if m.kind == devices {
		m.record = load.flash / load.records
		cfg.NodeBytes /= flashShare
	}
	stored := m.spread(c.Nodes, "healthy").Stored
	m.card.Nodes = c.Nodes
	perRecord := m.record + model.ClusterIndexBytes(load.records)/load.records
	m.card.Records = int64(min(cfg.NodeBytes/(stored*perRecord), load.records))
	m.card.Bytes = load.records / float64(m.card.Records)
	m.card.OpsPerSec = min(cfg.OpsPerSec, load.reads+load.writes)
	if m.kind == devices {
		if m.device, err = m.makeDevice(load); err != nil {
			return nil, err
		}
		m.card.OpsPerSec, m.card.Dilation = (load.reads+load.writes)/m.device.dilation, m.device.dilation
	}
	m.card.Rates = (load.reads + load.writes) / m.card.OpsPerSec
	m.card.ValueSize = load.sizes
	m.emulate(load)
	m.yaml = fmt.Appendf(nil, "# The load of the plan %q, rates divided by %.4g, records by %.4g.\nversion: 1\nname: verify\nrecords: %d\nvalue-size: %q\nmix:\n%s",
		r.Name, m.card.Rates, m.card.Bytes, m.card.Records, load.sizes, load.mix())
	return m, nil
}

// emulate makes scarce what binds.
func (m *miniature) emulate(l load) {
	switch m.kind {
	case memory:
		// As full in the binding state as planned: the limit is what the node
		// would use there, over the planned utilisation. A node stops writes at
		// 90 % of its limit.
		full := m.bytes(m.best.Nodes, m.best.Binding.State)
		m.limit = int64(full / *m.best.Binding.Utilisation / stopWrites)
		m.card.Emulates = fmt.Sprintf("memory: each node may use %d MiB", m.limit>>20)
	case devices:
		m.card.Emulates = fmt.Sprintf("devices of %s, every rate and time slowed down %.0f times (dilated x%.0f), %d MiB on each node", m.best.Type, m.device.dilation, m.device.dilation, m.device.size>>20)
	case arithmetic:
		m.card.Emulates = "nothing: what binds is a rule"
	case shared:
		m.card.Emulates = "nothing: " + m.best.Binding.Resource + " is shared by all nodes of one machine"
	}
}

// stopWrites is the share of a node's memory limit at which it refuses writes
// (package storage).
const stopWrites = 0.9

// spread returns how partitions lie in a state with n nodes.
func (m *miniature) spread(n int, state string) *plan.Spread {
	red := &m.cfg.Plan.Requirements.Redundancy
	s := m.shapes.Of(plan.Layout{Nodes: n, Copies: m.best.Copies, Racks: m.best.Racks, FailNodes: red.FailNodes, FailRacks: red.FailRacks})
	i := plan.StateIndex(state)
	if i < 0 {
		i = plan.Healthy
	}
	return &s.States[i]
}

// bytes is what the fullest node holds in a state, as its status counts it:
// index and records in memory, records alone on a device.
func (m *miniature) bytes(n int, state string) float64 {
	records := float64(m.card.Records)
	if m.device != nil {
		return m.spread(n, state).Stored * records * m.record
	}
	return m.spread(n, state).Stored * (model.ClusterIndexBytes(records) + records*m.record)
}

// load is what the namespaces of a plan ask together, at their peak.
type load struct {
	records       float64
	reads, writes float64 // per second
	slot          float64 // bytes in memory of the mean record
	flash         float64 // bytes of all records on devices
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
