package server

import (
	"runtime"
	"runtime/metrics"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk/emulate"
	"headroom/node/heartbeat"
	"headroom/node/plane"
	"headroom/node/storage"
	"headroom/node/txn"
)

// Status is the answer of `headroom-node status --json` and of GET /status:
// the cluster as one node sees it. Format "headroom-status/1"; fields are
// added, never renamed.
type Status struct {
	Format      string            `json:"format"`
	Node        string            `json:"node"`
	Incarnation uint64            `json:"incarnation"`
	Addr        string            `json:"addr"`
	ClusterName string            `json:"cluster_name"`
	ClusterKey  string            `json:"cluster_key"`
	ViewKey     string            `json:"view_key"`               // the same as cluster_key
	CommittedMS int64             `json:"view_committed_unix_ms"` // when its tables were in force; 0: not yet
	Principal   string            `json:"principal"`
	Insecure    bool              `json:"insecure"`
	State       string            `json:"state"` // joining, serving, waiting, frozen, leaving, unstored (no room in data-dir), duplicate
	Problem     string            `json:"problem,omitempty"`
	Quiesced    bool              `json:"quiesced"` // an operator quiesced this node
	Members     []StatusMember    `json:"members"`
	Redundant   bool              `json:"redundant"`       // no member has anything to migrate, nothing is unavailable
	PartsLeft   uint32            `json:"partitions_left"` // of all members
	BytesLeft   uint64            `json:"bytes_left"`      // of all members, estimated
	BrokenLinks []string          `json:"broken_links"`    // the same as link_faults, in words
	LinkFaults  []StatusLink      `json:"link_faults"`
	Namespaces  []StatusNamespace `json:"namespaces"`
	Devices     []StatusDevice    `json:"devices"`
	Network     StatusNetwork     `json:"network"`
	Process     StatusProcess     `json:"process"`
}

// StatusLink is a link that does not work in one direction, although both its
// ends live. Both ends report it, and whoever hears of it from them.
type StatusLink struct {
	From string `json:"from"` // does not hear
	To   string `json:"to"`
}

// StatusMember is one node of the View.
type StatusMember struct {
	Node     string `json:"node"`
	Addr     string `json:"addr"`
	Rack     uint32 `json:"rack"`
	Up       bool   `json:"up"`
	Quiesced bool   `json:"quiesced"`
}

// StatusNamespace is one namespace.
type StatusNamespace struct {
	Name               string           `json:"name"`
	RF                 int              `json:"rf"`
	Mode               string           `json:"mode"`
	Commit             string           `json:"commit"`
	Masters            map[string]int   `json:"masters"`
	Copies             map[string]int   `json:"copies"`
	Balance            StatusBalance    `json:"balance"`
	Migrations         StatusMigrations `json:"migrations"`
	Unavailable        int              `json:"unavailable_partitions"`
	ConflictsDiscarded uint64           `json:"conflicts_discarded"`
	Conflicts          StatusConflicts  `json:"conflicts"`           // the same by cause
	ConflictsRecounted StatusConflicts  `json:"conflicts_recounted"` // not in those: taken back, as another node had counted them, too
	StopWrites         bool             `json:"stop_writes"`
	Capacity           string           `json:"capacity"` // roomy, nearly full (writes will stop soon), stopped
	UsedPct            float64          `json:"used_pct"` // of the fullest device or the memory limit
	Eviction           string           `json:"eviction"` // off, idle, soon, evicting
	Evicted            uint64           `json:"evicted"`  // records removed before their time, since this process started
	Records            uint64           `json:"records"`
	Tombstones         uint64           `json:"tombstones"`
	Reads              uint64           `json:"reads"`
	Writes             uint64           `json:"writes"`
	ReplicaWrites      uint64           `json:"replica_writes"`
	InDoubt            uint64           `json:"in_doubt"`
	Parked             uint64           `json:"parked"`
	Forwarded          uint64           `json:"forwarded"`
	ReadLatency        StatusLatency    `json:"read_latency"`  // of what clients asked this node
	WriteLatency       StatusLatency    `json:"write_latency"` // anything but a get, likewise
}

// StatusConflicts counts the acknowledged versions that this node discarded
// when a split healed, by how it met the version that won.
type StatusConflicts struct {
	Merge  uint64 `json:"merge"`  // while copies were merged
	Access uint64 `json:"access"` // when a client asked for the record before its copies were merged
}

// StatusMigrations is what this node has still to move as the partitions'
// working master; the cluster's total is the sum over its nodes.
type StatusMigrations struct {
	PartitionsLeft int      `json:"partitions_left"`
	BytesLeft      int64    `json:"bytes_left"`
	ETAS           *float64 `json:"eta_s"` // null: unknown
	BytesMoved     uint64   `json:"bytes_moved"`
}

// StatusDevice is one device; a DRAM namespace is one of class dram.
type StatusDevice struct {
	Path     string `json:"path"`
	Class    string `json:"class"`
	ClassWhy string `json:"class_why,omitempty"`
	// Emulation is how an emulated device did, in real and dilated figures.
	Emulation    *emulate.Report `json:"emulation,omitempty"`
	State        string          `json:"state"`
	UsedBytes    int64           `json:"used_bytes"`
	SizeBytes    int64           `json:"size_bytes"` // 0: bounded by the machine's memory only
	Error        string          `json:"error,omitempty"`
	Corrupt      uint64          `json:"corrupt"` // records and places found damaged since the start
	WrittenBytes uint64          `json:"written_bytes"`
	UserBytes    uint64          `json:"user_bytes"`
	MovedBytes   uint64          `json:"moved_bytes"` // by defragmentation
	Queued       int             `json:"queued_blocks"`
	Overloads    uint64          `json:"overloads"`
	FreeBlocks   int             `json:"free_blocks"`
	Blocks       int             `json:"blocks"`
	Load         *StatusLoad     `json:"load,omitempty"` // nil: in memory, or it could not be opened
}

// StatusLoad is what was asked of a device since it was opened. Times are sums
// over requests.
type StatusLoad struct {
	Reads      uint64 `json:"reads"`
	Writes     uint64 `json:"writes"`
	Syncs      uint64 `json:"syncs"`
	ReadBytes  uint64 `json:"read_bytes"`
	WriteBytes uint64 `json:"write_bytes"`
	ReadUS     uint64 `json:"read_us"`
	WriteUS    uint64 `json:"write_us"`
	SyncUS     uint64 `json:"sync_us"`
	// BusyUS tells, by resource, how long it was used to all it has: what it
	// grew in a while, over that while, is its utilisation. An emulated device
	// has channels and its caps; of a real one only its users are known: this
	// node's readers, and the one goroutine that writes to it.
	BusyUS map[string]uint64 `json:"busy_us"`
}

// load describes what a device was asked.
func (ns *namespace) load(slot int) *StatusLoad {
	g := ns.guards[slot]
	if g == nil {
		return nil
	}
	l := g.Load()
	us := func(d time.Duration) uint64 { return uint64(d.Microseconds()) }
	s := &StatusLoad{Reads: l.Reads, Writes: l.Writes, Syncs: l.Syncs, ReadBytes: l.ReadBytes, WriteBytes: l.WriteBytes,
		ReadUS: us(l.ReadTime), WriteUS: us(l.WriteTime), SyncUS: us(l.Sync)}
	if e, ok := ns.devices[slot].(*emulate.Device); ok {
		s.BusyUS = e.BusyUS()
	} else {
		s.BusyUS = map[string]uint64{"readers": s.ReadUS / requestReaders, "writer": s.WriteUS / storage.WritesAtOnce}
	}
	return s
}

// statusDevices describes a namespace's devices; memory is one of class dram.
func (ns *namespace) statusDevices() []StatusDevice {
	var list []StatusDevice
	for _, d := range ns.store.Devices() {
		s := StatusDevice{Path: ns.cfg.Devices[d.Slot], Class: "unknown", ClassWhy: "not measured yet", State: "ok", UsedBytes: d.UsedBytes, SizeBytes: d.SizeBytes, Corrupt: d.Corrupt,
			WrittenBytes: d.Written, UserBytes: d.UserBytes, MovedBytes: d.MovedBytes, Queued: d.Queued, Overloads: d.Overloads, FreeBlocks: d.FreeBlocks, Blocks: d.Blocks}
		if c := ns.classes[d.Slot].Load(); c != nil {
			s.Class, s.ClassWhy = c.class, c.why
		}
		if e, ok := ns.devices[d.Slot].(*emulate.Device); ok {
			r := e.Report()
			s.Emulation = &r
		}
		s.Load = ns.load(d.Slot)
		switch {
		case d.Err != nil:
			s.State, s.Error = "failed", d.Err.Error()
		case d.StopWrites:
			s.State = "stop-writes"
		}
		list = append(list, s)
	}
	if list == nil {
		st := ns.store.Stats()
		list = []StatusDevice{{Path: "memory:" + ns.cfg.Name, Class: "dram", State: "ok", UsedBytes: st.IndexBytes + st.DataBytes, SizeBytes: ns.cfg.MemoryLimit}}
	}
	return list
}

// StatusProcess is the node process itself.
type StatusProcess struct {
	PID        int     `json:"pid"`
	UptimeS    float64 `json:"uptime_s"`
	GOMAXPROCS int     `json:"gomaxprocs"`
	Goroutines int     `json:"goroutines"`
	HeapBytes  uint64  `json:"heap_bytes"`
}

// Status describes the cluster as this node sees it. It takes no lock for
// longer than a copy.
func (n *Node) Status() *Status {
	s := &Status{Format: "headroom-status/1", Node: n.id.String(), Incarnation: uint64(n.inc), Addr: n.addr,
		ClusterName: n.cfg.ClusterName, Insecure: n.cfg.Insecure, State: n.state(), Quiesced: n.quiesced.Load(), BrokenLinks: []string{}, LinkFaults: []StatusLink{},
		Members: []StatusMember{}, Namespaces: []StatusNamespace{}, Devices: []StatusDevice{}}
	for _, p := range []*string{n.unstored.Load(), n.problem.Load()} {
		if p != nil {
			s.Problem = *p
		}
	}
	v := n.view.Load()
	if v != nil {
		s.ClusterKey, s.ViewKey, s.CommittedMS = v.Key.String(), v.Key.String(), n.committedMS.Load()
		s.Principal = v.Principal().String()
		n.statusMembers(s, v)
		sum, silent := n.clusterProgress(v)
		s.Redundant = silent == 0 && sum.Partitions == 0 && sum.Unavailable == 0 && !n.frozen.Load()
		s.PartsLeft, s.BytesLeft = sum.Partitions, sum.Bytes
	}
	for _, ns := range n.namespaces {
		s.Namespaces = append(s.Namespaces, n.statusNamespace(ns))
		s.Devices = append(s.Devices, ns.statusDevices()...)
	}
	s.Network = n.statusNetwork()
	s.Process = StatusProcess{PID: n.pid, UptimeS: time.Duration(n.now().Mono).Seconds(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Goroutines: runtime.NumGoroutine(), HeapBytes: heapBytes()}
	return s
}

func (n *Node) statusMembers(s *Status, v *cluster.View) {
	var heard []heartbeat.Peer
	if p := n.heard.Load(); p != nil {
		heard = p.peers
		for _, l := range p.broken {
			s.BrokenLinks = append(s.BrokenLinks, l.From.String()+" does not hear "+l.To.String())
			s.LinkFaults = append(s.LinkFaults, StatusLink{From: l.From.String(), To: l.To.String()})
		}
	}
	up := map[cluster.NodeID]bool{n.id: true}
	for _, p := range heard {
		up[p.Member.Node] = true
	}
	for _, m := range v.Members {
		s.Members = append(s.Members, StatusMember{Node: m.Node.String(), Addr: m.Addr, Rack: uint32(m.Rack), Up: up[m.Node], Quiesced: m.Quiesced})
	}
}

func (n *Node) statusNamespace(ns *namespace) StatusNamespace {
	st := ns.store.Stats()
	s := StatusNamespace{Name: ns.cfg.Name, RF: ns.cfg.ReplicationFactor, Mode: "ap", Commit: "all",
		Masters: map[string]int{}, Copies: map[string]int{}, Records: uint64(st.Records), Tombstones: uint64(st.Tombstones), StopWrites: st.StopWrites,
		Evicted: ns.eviction.Evicted()}
	devices := ns.store.Devices()
	s.Capacity, s.UsedPct = fullnessOf(&ns.cfg, st, devices).String(), usedPct(&ns.cfg, st, devices)
	s.Eviction = evictionOf(&ns.cfg, s.UsedPct).String()
	if ns.cfg.CommitMaster {
		s.Commit = "master"
	}
	if com := ns.Committed(); com != nil {
		ns.countOwners(com, &s)
		s.Balance = balanceOf(com.View, com.Table)
	}
	p := ns.Progress()
	s.Migrations = StatusMigrations{PartitionsLeft: p.Partitions, BytesLeft: p.BytesLeft, BytesMoved: p.BytesMoved}
	if p.ETA >= 0 {
		eta := p.ETA.Seconds()
		s.Migrations.ETAS = &eta
	}
	s.Unavailable = p.Unavailable
	ns.EachShard(func(t txn.Stats) {
		s.Reads += t.Reads
		s.Writes += t.Writes
		s.ReplicaWrites += t.Replicas
		s.InDoubt += t.InDoubt
		s.Parked += t.Parked
		s.Forwarded += t.Forwarded
	})
	s.Reads += ns.fastReads.Load()
	now := n.mono()
	s.ReadLatency, s.WriteLatency = ns.readLatency.status(now), ns.writeLatency.status(now)
	c := ns.Conflicts()
	s.Conflicts = StatusConflicts{Merge: c.Of(plane.Merge), Access: c.Of(plane.Access)}
	s.ConflictsDiscarded = c.Sum()
	s.ConflictsRecounted = StatusConflicts{Merge: c[plane.Merge].Back, Access: c[plane.Access].Back}
	return s
}

// heapBytes reads the size of the Go heap's objects without stopping the
// world, as runtime.ReadMemStats would: status is polled ten times a second.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// countOwners tells who masters and who is to hold how many partitions.
func (ns *namespace) countOwners(com *plane.Committed, s *StatusNamespace) {
	masters, copies := make([]int, len(com.View.Members)), make([]int, len(com.View.Members))
	for pid := range cluster.Partitions {
		if m, ok := ns.Master(pid); ok && int(m) < len(masters) {
			masters[m]++
		}
		for _, r := range com.Plan.Parts[pid].Replicas {
			copies[r]++
		}
	}
	for i, m := range com.View.Members {
		s.Masters[m.Node.String()], s.Copies[m.Node.String()] = masters[i], copies[i]
	}
}

// state is one word for where the node stands.
func (n *Node) state() string {
	switch {
	case n.problem.Load() != nil:
		return "duplicate"
	case n.leaving.Load():
		return "leaving"
	case n.unstored.Load() != nil:
		return "unstored"
	case n.view.Load() == nil:
		return "joining"
	case n.frozen.Load():
		return "frozen"
	}
	if now := n.now(); now.Mono >= now.Lease {
		return "waiting" // for the other members to confirm it: some link is broken, or they have gone on without it
	}
	return "serving"
}
