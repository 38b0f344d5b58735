package txn

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Marks are the instants that a sampled request passes on its way through a
// node. A Core sets Executed and Finished; whoever drives it sets the others. A
// mark that is missing, or earlier than the one before, means that the stage
// before it took no time. They are passed on together with the request and
// belong to whoever has it.
type Marks struct {
	Arrived  cluster.Instant // its bytes were read
	Started  cluster.Instant // somebody began to work on it
	Executed cluster.Instant // the Core turned to the record
	Stored   cluster.Instant // the record was read or written
	Finished cluster.Instant // the outcome was known: the write set has the record
	Durable  cluster.Instant // the device has it
	// Relayed are the stages at the master, if this node passed the request on.
	Relayed *wire.Stages
	// Private marks are a node's own sample: whoever asked wants no stages.
	// Timed ones are for its status, as of the namespace and kind here.
	Private, Timed, Write bool
	Namespace             uint8
}

// Stages is what took the time, when the reply is written at now.
func (m *Marks) Stages(now cluster.Instant) wire.Stages {
	if m.Relayed != nil {
		s := *m.Relayed
		s.Forward += max(0, now.Sub(m.Arrived)-s.Sum())
		return s
	}
	at := m.Arrived
	until := func(mark cluster.Instant) (d time.Duration) {
		if mark > at {
			d, at = mark.Sub(at), mark
		}
		return d
	}
	return wire.Stages{Queue: until(m.Started), Admission: until(m.Executed), Storage: until(m.Stored), Replication: until(m.Finished),
		Durable: until(m.Durable), Reply: until(now)}
}

// executed marks a sampled request whose record the Core turns to now. What has
// been loaded meanwhile was turned to before.
func (c *Core) executed(now Now, q *Request) {
	if m := q.From.Marks; m != nil {
		if m.Executed == 0 {
			m.Executed = now.Mono
		}
		c.out.Executed = append(c.out.Executed, m)
	}
}

// finished marks a sampled request whose outcome is known.
func (q *Request) finished(now Now) {
	if m := q.From.Marks; m != nil {
		m.Finished = now.Mono
	}
}
