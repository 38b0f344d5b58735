// Package migrate moves copies of partitions between nodes after a View
// change. One Core per namespace owns the state of every copy on this node
// (what partition.Report tells at a freeze and partition.Plan changes at a
// commit) and runs the migration conversation. It does not decide where a
// partition belongs (package partition), serves no requests (package txn) and
// stores nothing itself (Store).
//
// The conversation about one partition is driven by its working master, the
// hub: absorb what duplicates hold, fill the replicas, tell the duplicates,
// hand over to the final master; that one tells all members and then the
// holders outside the replicas to drop their copies. Every question is
// repeated until it is answered or the View changes, every answer is
// idempotent, and a View change forgets all of it: the next Plan starts from
// the copy states, and summaries make the repeat cheap.
//
// The invariant to know: a copy becomes Full only when each Records message of
// its fill has been applied in order, and is dropped only on the word of the
// final master of the current View, who has heard from everybody else first; one
// without records also when another's master has committed (partition.Plan.Left).
//
// Start reading at Core, then job.go (the hub's stages), holder.go (the other
// side), fill.go and absorb.go (what a stage does), read.go (records on devices).
package migrate

import (
	"math/rand/v2"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// Limits. Work per call is bounded by sliceRecords; memory by Config.Window
// per peer and the two held limits.
const (
	sliceRecords  = 64                     // records read, sent or applied by one call: below 1 ms
	batchRecords  = sliceRecords           // records of one StepRecords, so that the receiver's call is short too
	listTarget    = 1024                   // versions of one StepList beyond which no further bucket is added
	jobCost       = 8                      // records that starting a partition counts as
	repeatsPerRun = 64                     // questions repeated by one call
	maxActive     = 32                     // default of Config.MaxActive
	activePerPeer = 8                      // partitions that talk to one peer at once
	defaultWindow = 1 << 20                // default of Config.Window
	repeatFirst   = 200 * time.Millisecond // first repeat of a question: well above a loaded round trip
	repeatMost    = 2 * time.Second        // repeats double up to this
	defaultReads  = 4                      // default of Config.Reads
	maxAnswers    = 64                     // fetches of duplicates that wait for a device; beyond, they are asked again
	maxHeld       = 1024                   // messages kept for a View that is not committed yet
	maxHeldBytes  = 4 << 20                // and their bytes
)

// recordOverhead is what one record takes in a StepRecords besides its body:
// digest 20, meta 27, length 4.
const recordOverhead = 51

// Config of a Core. Store, Self and Rand are needed.
type Config struct {
	Self      cluster.NodeID
	Namespace uint8
	Rate      Rate       // of records sent as hub and fetched from duplicates; zero: unlimited
	MaxActive int        // partitions migrated at once as hub; zero means 32 (at most 8 per peer start)
	Window    int        // bytes of records sent to one peer and not acknowledged; zero means 1 MiB
	Reads     int        // Reads of devices under way at once for what this node sends; zero means 4
	Store     Store      // called from the Core's owner only; may be shared with other users
	Rand      *rand.Rand // spreads repeats
	// Keeps says that copy states outlive the process: the caller stores them and
	// calls Kept. If not, they are kept as well as they can be at once.
	Keeps bool
	// CommitMaster says that writes are acknowledged before other copies have them.
	CommitMaster bool
	// Lost is told of each version that lost a conflict, perhaps again; it says
	// whether to count it. So tells of a version that v was written upon whether it
	// lost with it; it may be kept and called later. Nil: always.
	Lost func(d record.Digest, v record.Version, so func(record.Version) bool) bool
}

func (c Config) withDefaults() Config {
	if c.MaxActive <= 0 {
		c.MaxActive = maxActive
	}
	if c.Reads <= 0 {
		c.Reads = defaultReads
	}
	if c.Window <= 0 {
		c.Window = defaultWindow
	}
	return c
}

// Effects is what the caller must do, in this order: apply Resolved, Master and
// Dropped, then send Sends and start Drain. What is persisted of the copy states
// (Core.Copies) may lag behind, but soon after Keep it must not. Messages are read-only and their memory stays with
// the Core until the View changes: encode them, don't keep them.
type Effects struct {
	Keep     bool     // somebody waits until the copy states are kept: see Kept
	Resolved []uint16 // partitions whose duplicates are absorbed: txn stops asking them
	Master   []Mastership
	Dropped  []uint16 // partitions whose copy was removed from the Store
	Drain    []uint16 // txn parks new requests of these and calls Drained when no write is in flight
	Sends    []Send   // in order per receiver; each may be lost
	Reads    []*Read  // of devices: Read.Load outside the owner's lock, then Core.Loaded, in any order
}

// Mastership says that Node is the working master of Partition from now on. It
// may name this node again, after a Drain: then the Replicas are all Full, and
// holders outside them leave the write set as they drop their copies.
type Mastership struct {
	Partition uint16
	Node      cluster.NodeID
}

// Send is one message to one node.
type Send struct {
	To  cluster.NodeID
	Msg *wire.Migrate
}

// Core is the migration of one namespace on one node. It has one owner; no
// method blocks, and each does a bounded amount of work: while Busy, the owner
// calls Tick again after other work.
type Core struct {
	cfg    Config
	store  Store
	now    cluster.Instant
	out    Effects
	frozen bool

	report  partition.Report // the copy states; Empty flags as of the last freeze or commit
	changes uint64           // of report
	kept    uint64           // of those, how many are certainly on the devices
	keeps   []keep           // who waits for that
	view    *cluster.View
	plan    *partition.Plan
	self    uint16 // index in view.Members; partition.Nobody before the first commit

	unsure    [cluster.Partitions]bool   // our copy is Full, and those that count as equal may differ from it
	master    [cluster.Partitions]uint16 // working master as this node knows it
	got       [cluster.Partitions]uint32 // Records applied of the fill we receive
	jobs      [cluster.Partitions]*job   // what we drive, as hub or final master
	peers     []peer                     // by member index
	confirmed []bool                     // by member index: has committed this View
	ranks     int                        // how many jobs there were at the commit
	active    []*job                     // admitted jobs, by order
	ending    []*job                     // only Mastered or AllDone is left
	wake      cluster.Instant            // no job's timer is earlier
	busy      bool                       // there may be work that no timer announces

	held      []held // of a newer View, or, in order, not yet replayed
	heldBytes int
	replay    bool // held is of the current View and goes first

	limit    limiter
	meter    meter
	left     int64
	progress Progress
	mine     []wire.DigestVersion // reused by comparisons

	reads    map[uint64]*errand // under way, by id
	nextRead uint64
	legReads int // of reads, those of legs
}

// peer is what we have under way with one member.
type peer struct {
	active  int    // jobs whose current stage talks to it
	unacked int    // bytes
	waiting []*job // jobs that will start with it, by order
}

// New returns a Core without copies: a node that has never held data.
func New(cfg Config) *Core {
	c := &Core{cfg: cfg.withDefaults(), store: cfg.Store, self: partition.Nobody, wake: cluster.Never, reads: map[uint64]*errand{}}
	c.limit.set(cfg.Rate)
	return c
}

// Load takes over copy states that an earlier process of this node persisted
// and whose records are in the Store. Call it before the first Freeze.
func (c *Core) Load(r *partition.Report) { c.report = *r }

// Lose records that this node's copies of partitions are gone, or, if doubtful,
// that records may be missing in them. The next Freeze reports it: call it
// just before, and want a new View.
func (c *Core) Lose(pids []int, doubtful bool) {
	for _, pid := range pids {
		k := partition.Copy{}
		if doubtful {
			if k = c.report.Copies[pid]; k.State != partition.Full {
				continue
			}
			k.State = partition.Subset
		}
		c.setCopy(pid, k)
	}
}

// Copies returns the current copy states, for persisting and for status; it
// is valid until the next call and read-only. Empty flags may be out of date.
func (c *Core) Copies() *partition.Report { return &c.report }

// Freeze stops all migration until Commit and returns a copy of the states as
// they will stay until then, for a View of members. Calling it again for the same
// members gives the same answer.
func (c *Core) Freeze(members []cluster.Member) *partition.Report {
	if !c.frozen {
		c.frozen = true
		c.readEmpty()
	}
	r := c.report
	c.tellUnequal(&r, members)
	return &r
}

// readEmpty brings the Empty flags up to date.
func (c *Core) readEmpty() {
	for pid := range c.report.Copies {
		if k := &c.report.Copies[pid]; k.State != partition.None {
			k.Empty = c.store.Partition(pid).Records == 0
		}
	}
}

// Commit takes on a View and its Plan: it abandons all that was under way,
// moves the copy states, and starts the migrations of which this node is the
// hub.
func (c *Core) Commit(now cluster.Instant, v *cluster.View, plan *partition.Plan) {
	if !c.frozen {
		c.readEmpty()
	}
	c.now = max(c.now, now)
	c.noteUnequal(v, plan)
	c.frozen, c.view, c.plan = false, v, plan
	c.abandon()
	c.takeHeld()
	if i := v.Index(c.cfg.Self); i >= 0 {
		c.self = uint16(i)
	} else {
		c.self = partition.Nobody
		return
	}
	var jobs []*job
	for pid := range plan.Parts {
		c.commitCopy(pid)
		if j := c.newJob(pid); j != nil {
			jobs = append(jobs, j)
		}
		c.noteMerge(pid)
	}
	c.enqueue(jobs)
	c.busy = true
}

// abandon forgets everything of the previous View.
func (c *Core) abandon() {
	c.out = Effects{Dropped: c.out.Dropped}
	c.changes++
	c.keeps = nil
	c.got = [cluster.Partitions]uint32{}
	c.jobs = [cluster.Partitions]*job{}
	c.peers = make([]peer, len(c.view.Members))
	c.confirmed = make([]bool, len(c.view.Members))
	c.active, c.ending, c.wake, c.left = nil, nil, cluster.Never, 0
	c.forgetReads()
	c.progress.Partitions, c.progress.Unavailable = 0, 0
}

// commitCopy moves one copy to its state in the new View.
func (c *Core) commitCopy(pid int) {
	part := &c.plan.Parts[pid]
	c.master[pid] = part.Master
	if !part.Available {
		c.progress.Unavailable++
	}
	before := c.report.Copies[pid]
	if slices.Contains(part.Forget, c.self) {
		c.store.Drop(pid)
		before = partition.Copy{}
		c.progress.Forgotten++
	}
	after := c.plan.CopyAfter(pid, c.self, before)
	c.report.Copies[pid] = after
	c.report.Lines[pid] = c.plan.LineAfter(pid, c.report.Lines[pid], before, after)
	if !part.Available && c.plan.Revive && part.Heir == c.self {
		c.inherit(pid, before)
		return
	}
	established := part.Proven
	if part.Master == c.self {
		established = part.Established
	}
	if c.report.Established[pid].Less(established) {
		c.report.Established[pid] = established
	}
	early := planted.Is(planted.DroppedBeforeAllDone) && part.Available && part.Master != c.self && !slices.Contains(part.Replicas, c.self)
	if c.report.Copies[pid].State == partition.None && before.State != partition.None || early {
		c.drop(pid)
	}
}

// inherit declares this node's copy, whatever it lacks, complete: the data that
// is missing has been given up. The next View finds it and serves from it, and
// other copies with records are merged into it as duplicates.
func (c *Core) inherit(pid int, before partition.Copy) {
	empty := before.Empty || before.State == partition.None
	c.report.Copies[pid] = partition.Copy{State: partition.Full, Empty: empty, Key: c.plan.Key}
	c.report.Established[pid] = c.plan.Key
	c.progress.Revived++
}

// Confirm records that a member has committed the current View, as its pulses
// show: it may have acknowledged writes in the partitions it is the working
// master of, and from now on only copies of this View are complete. A message
// of the member proves it too. It reports whether that was news: then there may be
// Effects.
func (c *Core) Confirm(node cluster.NodeID) bool {
	if c.view == nil || c.frozen {
		return false
	}
	i := c.view.Index(node)
	if i < 0 || c.confirmed[i] {
		return false
	}
	c.confirmed[i] = true
	for pid := range c.plan.Parts {
		part := &c.plan.Parts[pid]
		if part.Master != uint16(i) {
			continue
		}
		if !planted.Is(planted.EstablishedIgnored) && c.report.Established[pid].Less(part.Established) {
			c.report.Established[pid] = part.Established
			c.changes++
		}
		if c.self != partition.Nobody && c.plan.Left(pid, c.self, c.report.Copies[pid]) {
			c.drop(pid)
		}
	}
	return true
}

// drop removes this node's copy.
func (c *Core) drop(pid int) {
	c.setCopy(pid, partition.Copy{})
	c.store.Drop(pid)
	c.out.Dropped = append(c.out.Dropped, uint16(pid))
}

func (c *Core) setCopy(pid int, k partition.Copy) {
	if c.report.Copies[pid] != k {
		c.report.Copies[pid] = k
		c.changes++
	}
	if k.State == partition.None || k.State == partition.Spare {
		c.report.Lines[pid] = ""
	}
}

// Receive takes in one message. m is not kept: its memory may be reused.
func (c *Core) Receive(now cluster.Instant, from cluster.NodeID, m *wire.Migrate) {
	c.now = max(c.now, now)
	switch {
	case c.view == nil || c.view.Key.Less(m.View):
		c.hold(from, m)
	case m.View != c.view.Key || c.frozen || c.self == partition.Nobody || m.Namespace != c.cfg.Namespace:
		c.progress.Stale++
	case c.replay:
		c.hold(from, m)
	default:
		c.handle(from, m)
	}
}

func (c *Core) handle(from cluster.NodeID, m *wire.Migrate) {
	i := c.view.Index(from)
	if i < 0 || int(m.Partition) >= cluster.Partitions {
		c.progress.Refused++
		return
	}
	c.Confirm(from)
	if !c.receive(uint16(i), m) {
		c.progress.Refused++
	}
}

// receive returns false for a message that the roles of sender and receiver,
// or the state of the conversation, do not allow: it changes nothing.
func (c *Core) receive(from uint16, m *wire.Migrate) bool {
	switch m.Step {
	case wire.StepSummary, wire.StepList, wire.StepApplied, wire.StepDone:
		c.answered(from, m)
		return true
	case wire.StepRecords:
		if c.plan.Parts[m.Partition].Master == c.self {
			c.answered(from, m)
			return true
		}
	}
	return c.question(from, m)
}

// Tick does what is due: one bounded slice of work, and repeats.
func (c *Core) Tick(now cluster.Instant) {
	c.now = max(c.now, now)
	c.busy = false
	if c.frozen || c.view == nil || c.self == partition.Nobody {
		return
	}
	budget := sliceRecords
	for c.replay && budget > 0 {
		budget -= c.replayOne()
	}
	if c.now >= c.wake {
		c.repeats()
	}
	for budget > 0 {
		cost := c.admit() + c.workOne()
		if cost == 0 {
			return
		}
		budget -= cost
	}
	c.busy = true
}

// Busy reports whether Tick has work to do at once.
func (c *Core) Busy() bool { return c.busy && !c.frozen && c.view != nil && c.self != partition.Nobody }

// Deadline is when Tick must be called next, in the past while Busy.
func (c *Core) Deadline() cluster.Instant {
	if c.frozen || c.view == nil || c.self == partition.Nobody {
		return cluster.Never
	}
	if c.busy {
		return c.now
	}
	if c.limit.open(c.now) {
		return c.wake
	}
	return min(c.wake, c.limit.opens(c.now))
}

// SetRate changes the limits of the records moved as hub.
func (c *Core) SetRate(r Rate) {
	c.limit.set(r)
	c.busy = true
}

// Take returns the effects since the last Take.
func (c *Core) Take() Effects {
	e := c.out
	c.out = Effects{}
	return e
}

// send queues a message to a member, about a partition, in the current View.
func (c *Core) send(to uint16, pid uint16, m *wire.Migrate) {
	m.View, m.Namespace, m.Partition = c.view.Key, c.cfg.Namespace, pid
	c.out.Sends = append(c.out.Sends, Send{To: c.view.Members[to].Node, Msg: m})
}
