// Package target owns the seam between the load generator and a system under
// test: Target, Lane, Op and Result, and two targets without a network: Null,
// which answers at once, and Fake, an in-memory store that misbehaves on
// request. It measures nothing.
//
// The invariant to know: every Op that Submit accepted is completed exactly
// once, by Lane's callback, at the latest a short while after its Deadline;
// nothing is allocated, started or sent over a channel per operation.
//
// Start reading at Lane.
package target

import (
	"errors"
	"time"
)

// Kind is what an Op asks of the target.
type Kind uint8

// The kinds of operations. Write stores a whole record, whether it exists or
// not; Operate adds one to a counter of the record and reads it, in one request;
// Touch renews the record's time to live; the batches are one request for Keys.
const (
	Read Kind = iota + 1
	Write
	Delete
	Scan
	Operate
	Touch
	BatchRead
	BatchWrite
)

// Outcome is how an operation ended. Every error is one of the last two: the
// audit rests on the difference.
type Outcome uint8

// The outcomes.
const (
	OK       Outcome = iota + 1
	NotFound         // the target answered that the record does not exist
	Failed           // not applied, and never will be
	InDoubt          // perhaps applied, now or later
)

// Op is one operation. It and Value belong to the caller: Submit copies what
// it needs before it returns.
type Op struct {
	Kind  Kind
	Key   uint64 // record number; the target makes its own key of it, the same for all lanes
	Value []byte // Write only
	// Keys are those of a batch, Values (one each) of a BatchWrite.
	Keys    []uint64
	Values  [][]byte
	TTL     time.Duration // of Write, BatchWrite and Touch; zero is forever
	ScanLen int           // Scan only: how many records from Key on, in the target's order
	Token   uint64        // given back in the Result
	Budget  time.Duration // time left for this operation; then it ends as Failed or InDoubt
	Sample  bool          // ask for the stages; it may cost an allocation
}

// Result is the end of one operation, or with More that of one record of a
// batch. A batch may report any of its records; those that it does not report
// before its end have the outcome of the end, which is the worst of all.
type Result struct {
	Token   uint64
	Outcome Outcome
	More    bool   // Item of Keys ended; the operation's own end is still to come
	Item    int    // with More
	Value   []byte // of Read and of an item of BatchRead, valid during the callback
	Err     error  // why, for Failed and InDoubt
	// Stages of an Op with Sample, valid during the callback; nil when the
	// target does not know them.
	Stages *Stages
}

// ErrFull is returned by Submit when the lane has as many operations in flight
// as it can take; submit again after a completion.
var ErrFull = errors.New("target: too many operations in flight")

// Lane is one lane's door to the target. Submit and Flush are called by one
// goroutine; completions come on any goroutine, concurrently with Submit or
// from within it.
type Lane interface {
	// Submit starts an operation and never waits for its reply. ErrFull means
	// it was not started; any other error means the target is closed.
	Submit(op *Op) error
	// Flush sends what Submit may have gathered.
	Flush()
	// Close completes what is in flight and returns when no callback will come.
	Close() error
}

// Target is a system under test.
type Target interface {
	// NewLane opens a lane for at most inFlight operations at a time. complete
	// must be quick and must not call the lane.
	NewLane(inFlight int, complete func(*Result)) (Lane, error)
	// Close ends the connections; all lanes must be closed before.
	Close() error
}

// Refuser is a Target that cannot do every kind of operation. Refuse says why
// not, nil for what it can.
type Refuser interface {
	Refuse(Kind) error
}

// Stage is a stretch of an operation's time at the target.
type Stage uint8

// The stages, from Submit to the end, in the order in which they happen. They
// do not overlap; their sum is the operation's time at the target.
const (
	StageWait        Stage = iota // in the client, for a node to send it to; earlier attempts
	StageSend                     // in the client's send buffer
	StageQueue                    // at the node, behind earlier requests
	StageAdmission                // at the node, for the partition: a lock, another write of the record, a View, a lease
	StageStorage                  // reading or writing the record
	StageReplication              // until every copy has it
	StageDurable                  // until the device has it, if the write waits for that
	StageForward                  // at a node that passed the request on
	StageReply                    // until the reply is in the node's send buffer
	StageNetwork                  // between the two processes, there and back
	StageReceive                  // in the client, behind earlier answers
	NumStages
)

// Stages are how long each stage of one operation took.
type Stages struct {
	D    [NumStages]time.Duration
	Node string // who answered
}

// Stager is a Target that can tell stages. Sampled says of which kinds of
// operations.
type Stager interface {
	Sampled(Kind) bool
}

// Linearizable is a Target that may promise that the operations on one record
// happen as if one at a time. Without it nothing is promised.
type Linearizable interface {
	Linearizable() bool
}

// Placer is a Target that can say where it keeps a record at the moment:
// partitions and nodes are counted from zero.
type Placer interface {
	Partitions() int
	Partition(key uint64) int
	Nodes() int
	Node(key uint64) int // -1 when no node masters the record now
}

// Null is a target that completes every operation at once, inside Submit, and
// stores nothing. It shows what the generator itself can do.
type Null struct{}

type nullLane struct {
	complete func(*Result)
	result   Result
}

// NewLane implements Target.
func (Null) NewLane(_ int, complete func(*Result)) (Lane, error) {
	return &nullLane{complete: complete}, nil
}

// Close implements Target.
func (Null) Close() error { return nil }

func (l *nullLane) Submit(op *Op) error {
	l.result.Token, l.result.Outcome = op.Token, OK
	if op.Kind == Read {
		l.result.Outcome = NotFound
	}
	l.complete(&l.result)
	return nil
}

func (l *nullLane) Flush() {}

func (l *nullLane) Close() error { return nil }
