package plane

import (
	"sync/atomic"
	"time"

	"headroom/node/cluster"
)

// QueueClock tells how long a request has queued on its way here, without the
// sender's clock being right: the shortest passage seen on the connection
// stands for none. Requests that lay in the buffers of an overloaded or paused
// node beyond their deadline are refused unexecuted: their clients have given
// up, and working for them would keep everybody else waiting. One goroutine
// owns it.
type QueueClock struct {
	base  int32 // of receivedMS - sentMS; valid once known
	known bool
	since int64 // when base was last made anew
}

// rebase is how often the shortest passage is measured anew, in milliseconds:
// two clocks that drift 100 ppm apart move 6 ms meanwhile.
const rebase = 60_000

// queued returns the milliseconds that a request sent at sentMS has queued;
// nowMS is this node's clock.
func (c *QueueClock) queued(sentMS uint32, nowMS int64) uint32 {
	passage := int32(uint32(nowMS) - sentMS)
	if !c.known || passage < c.base {
		c.base, c.known, c.since = passage, true, nowMS
	}
	d := uint32(passage - c.base)
	if nowMS-c.since > rebase {
		c.base, c.since = c.base+min(passage-c.base, 10), nowMS // follow drift, never a queue
	}
	return d
}

// maxPatience bounds the deadline a client may ask for, and so how long a
// request can be parked.
const maxPatience = time.Minute

// Patience is what a request says of its time.
type Patience struct {
	SentMS     uint32 // on the sender's clock
	DeadlineMS uint32 // what was left then; zero: Default
	Default    time.Duration
}

// Due returns the request's deadline on this node's clock, and whether that is
// still to come.
func (c *QueueClock) Due(now cluster.Instant, p Patience) (cluster.Instant, bool) {
	patience := min(time.Duration(p.DeadlineMS)*time.Millisecond, maxPatience)
	if p.DeadlineMS == 0 {
		patience = p.Default
	}
	queued := time.Duration(c.queued(p.SentMS, time.Duration(now).Milliseconds())) * time.Millisecond
	return now.Add(patience - queued), queued < patience
}

const (
	// jumpLimit separates drift from a jump: 2 s is far beyond what NTP slews
	// between two looks.
	jumpLimit = 2 * time.Second
	// JumpTrust is how long a jumped wall clock must stay where it jumped to
	// before the node believes it: an operator's mistake is undone sooner.
	JumpTrust = 10 * time.Minute
	// LookEvery is how often WallClock.Look is to be called.
	LookEvery = time.Second
)

// WallClock is the time that stamps records and expires them. It runs on the
// monotonic clock from where the wall clock stood at the start, follows drift,
// and ignores a jump until it has lasted: a clock that is set forward for a
// moment must not expire the data. At may be called from any goroutine.
type WallClock struct {
	StartMS int64        // wall time at the start, in milliseconds since the epoch
	offset  atomic.Int64 // milliseconds added to StartMS + elapsed

	jumped time.Duration // monotonic time since when the clock stands elsewhere; zero: it does not
}

// At is the wall time, in milliseconds, when elapsed has passed since the start.
func (c *WallClock) At(elapsed time.Duration) int64 {
	return c.StartMS + elapsed.Milliseconds() + c.offset.Load()
}

// Look compares with the machine's wall clock; one goroutine calls it each
// LookEvery. It reports a jump once, when it is seen.
func (c *WallClock) Look(elapsed time.Duration, machineMS int64) (jump time.Duration) {
	behind := time.Duration(machineMS-c.At(elapsed)) * time.Millisecond
	switch {
	case behind.Abs() <= jumpLimit:
		c.offset.Add(behind.Milliseconds())
		c.jumped = 0
	case c.jumped == 0:
		c.jumped = elapsed
		return behind
	case elapsed-c.jumped >= JumpTrust:
		c.offset.Add(behind.Milliseconds())
		c.jumped = 0
	}
	return 0
}
