// Package txn is the core that executes record requests on a node: reads and
// writes at the working master, replication to the write set, duplicate
// resolution after a merge, and what happens to requests in flight when the
// View or a mastership changes. It owns neither sockets nor clocks nor the
// records themselves (Store); which node masters what is told to it (Commit,
// Drain, Become, SetMaster).
//
// The invariant to know: a write is answered OK only when every member of the
// write set of one single View has applied it, or has something newer. A
// request that cannot be decided yet is parked, never guessed.
//
// A Core serves one shard of the partitions of one namespace and is not safe
// for concurrent use; the caller holds a lock per Core. Start reading at
// Core.Request.
package txn

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/wire"
)

// Limits of one Core. Beyond them a request is refused with a retryable
// status; nothing grows without bound.
const (
	MaxQueue   = 64                    // requests waiting for one record, as Aerospike's transaction-pending-limit (20), with room for 64 writers on one hot key
	MaxParked  = 8192                  // requests waiting for a View or a lease
	MaxWaiting = 4 << 20               // bytes of parked requests, and again of held messages: 32 shards make 256 MiB
	MaxHeld    = 8192                  // messages of a View this node has not committed yet
	MaxReaders = 8192                  // reads waiting for writes in flight
	maxKept    = 8192                  // writes in flight beyond which one ends that is overdue
	MaxAsked   = 1024                  // questions of other nodes that wait for a device; beyond, they are asked again
	maxLoads   = 8                     // loads of a record that changes under each: beyond, it is unavailable
	ackRetry   = 50 * time.Millisecond // resend to a silent peer; applying twice is harmless
	// noRoomFor is how long a replica that refused a write counts as stopped:
	// the write comes again every ackRetry, and shows when that is over.
	noRoomFor = 4 * ackRetry
	// keepFor is how long a write goes on that was answered in doubt: a member
	// that has not answered by then is no member any more.
	keepFor = time.Minute
)

// Store is what a Core needs of the storage engine; see storage.Engine for
// the contracts.
type Store interface {
	// GetNow never waits: ready is false, and m and ok alone are set, if the
	// record has to be read from a device; see Core.Loaded.
	GetNow(d *record.Digest, dst []byte) (m record.Meta, body []byte, ok, ready bool)
	Meta(d *record.Digest) (record.Meta, bool)
	Put(d *record.Digest, m record.Meta, body []byte) error
	PutNewer(d *record.Digest, m record.Meta, body []byte) (applied bool, old record.Meta, existed bool, err error)
}

// Config of a Core. All fields but CommitMaster and DefaultTTL are needed.
type Config struct {
	Self         cluster.NodeID
	Namespace    uint8
	Store        Store
	CommitMaster bool          // acknowledge after the master alone has the write
	DefaultTTL   uint32        // seconds for requests that name none; zero: never expires
	Deadline     time.Duration // of requests that name none; zero means 2 s
	// Lost is told of each version that lost a conflict, perhaps again; it says
	// whether to count it. So tells of a version that v was written upon whether it
	// lost with it; it may be kept and called later. Nil: always.
	Lost func(d record.Digest, v record.Version, so func(record.Version) bool) bool
	// NoLoss is told of versions that others could count as lost though they are
	// not: this node, as a master, writes upon them, or never acknowledged them.
	// Then what they were written upon is lost with them; zero: nothing. Nil:
	// nobody is told.
	NoLoss func(d record.Digest, v, upon record.Version)
	// Unsettled is told +1 before a write of the record is stored, and −1 when
	// what it stored cannot be lost by the loss of this node. In between the
	// Core lets reads of the record wait, and who reads the store beside it must
	// do so too; nil: nobody does.
	Unsettled func(d *record.Digest, by int32)
}

// Now is one reading of the caller's clocks.
type Now struct {
	Mono   cluster.Instant // timers
	WallMS int64           // record stamps and expiry, milliseconds since the epoch
	Lease  cluster.Instant // until when this node may answer as a member of its View
}

func (n Now) sec() uint32 { return uint32(n.WallMS / 1000) }

// Origin is where a request came from and its reply goes. The Core only
// carries it.
type Origin struct {
	Conn  any
	ID    uint64
	Marks *Marks // of a sampled request; else nil
}

// Request is one single-record request. Body may alias the caller's buffer:
// the Core copies what it keeps.
type Request struct {
	wire.Request
	Kind      wire.Kind
	From      Origin
	Forwarded bool            // already forwarded once by another node
	Deadline  cluster.Instant // zero: now + DeadlineMS, or the configured one

	kept bool // the Core's own copy
}

func (q *Request) isRead() bool { return q.Kind == wire.KindGet || q.Kind == wire.KindGetHeader }

// Reply goes to the origin of a request.
type Reply struct {
	To    Origin
	Reply wire.Reply // Bins is valid until the next call of the Core
	Read  bool       // it tells what the store holds: the caller looks at the lease once more before it sends it
}

// Send goes to another node. Exactly one of the message fields is set, by
// Kind. Byte slices in it are valid until the next call of the Core.
type Send struct {
	To        cluster.NodeID
	Kind      wire.Kind
	ID        uint64
	Replicate wire.Replicate // KindReplicate, KindAdopt
	Resolve   wire.Resolve   // KindResolve
}

// Answer goes back to a node that sent a message, on the same stream.
type Answer struct {
	To       Origin
	Kind     wire.Kind
	Status   wire.Status   // KindReplicated
	Resolved wire.Resolved // KindResolved
}

// Forward hands a client's request to the node that masters the partition.
type Forward struct {
	To  cluster.NodeID
	Req *Request // valid until the next call of the Core
}

// Effects are what a call asks of the caller, in any order, before the next
// call. The slices are reused.
type Effects struct {
	Replies  []Reply
	Sends    []Send
	Answers  []Answer
	Forwards []Forward
	Drained  []int    // partitions whose last write in flight has ended after Drain
	Executed []*Marks // of sampled requests whose record was read or written during the call
	Loads    []Load   // records to be read from their device outside the Core's lock; see Loaded
	Lacking  []Lacking
}

// Lacking says that a member may lack a write of a partition which has been given
// up, though its copy counts as equal; this node, if it is not known who.
type Lacking struct {
	Partition int
	Node      cluster.NodeID
}

// Stats counts what happened since the Core was made.
type Stats struct {
	Finished                 uint64        // writes answered
	WriteTime                time.Duration // of those, from first step to last acknowledgement
	Reads, Writes, Replicas  uint64
	Parked, Forwarded, Busy  uint64
	Resolves, Rerun, Adopted uint64
	InDoubt, Timeouts, Stale uint64
	Fenced                   uint64 // writes sent by the map of an older View, refused
	ConflictsDiscarded       uint64 // acknowledged versions that lost against the other side of a split
	Refused                  uint64 // parked or held beyond the limit
	Delayed                  uint64 // reads that waited for a write of their record
	Loads                    uint64 // records read from a device
	Stopped                  uint64 // writes refused because a replica takes none
	GivenUp                  uint64 // writes in doubt that not every copy has: see Lacking
}

// Duplicate is a holder whose records the working master may lack.
type Duplicate struct {
	Node  cluster.NodeID
	Sides *partition.Sides // tells which of its versions conflict with ours; nil: none
}

// Assignment is this node's part in one partition for the View being
// committed.
type Assignment struct {
	Partition int
	Master    cluster.NodeID   // working master; zero: unavailable
	WriteSet  []cluster.NodeID // members beside the master that get every write; used by the master
	Replica   bool             // this node is in the write set
	// Suspects are members of WriteSet that may have something newer than the
	// master by a write of one before it; they are asked before the Duplicates.
	Suspects   []cluster.NodeID
	Duplicates []Duplicate // to be resolved before answering; used by the master
	// Doubt covers what the master may hold though its descent does not say so;
	// nil: nothing.
	Doubt *partition.Doubt
}

// asks reports whether a record's other holders have to be asked first.
func (a *Assignment) asks() bool { return len(a.Suspects)+len(a.Duplicates) > 0 }

type part struct {
	Assignment
	draining bool
	dropped  bool // this node's copy is gone, by the final master's word
	inflight int  // ops of this partition that have applied or are resolving
}
