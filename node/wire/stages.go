package wire

import "time"

// Stages is where a node spent the time of one request, from reading it off
// its connection to appending the reply. They follow each other and do not
// overlap: their sum is the node's whole time. Those of a batch are the stages
// of the record that was answered last; its Queue includes the records before
// it. Layout: seven u64, nanoseconds, in the order of the fields.
type Stages struct {
	Queue       time.Duration // read from the socket, behind earlier requests or waiting for one who reads devices
	Admission   time.Duration // for the partition: its lock, an earlier write of the record, a View, a lease, duplicates
	Storage     time.Duration // reading or writing the record
	Replication time.Duration // until every other member of the write set had it
	Durable     time.Duration // until the device had it, with commit-to-device
	Reply       time.Duration // until the reply was in the send buffer
	Forward     time.Duration // at a node that passed the request on, and on the way from there and back
}

func (s *Stages) each() [7]*time.Duration {
	return [7]*time.Duration{&s.Queue, &s.Admission, &s.Storage, &s.Replication, &s.Durable, &s.Reply, &s.Forward}
}

// Sum is all of it.
func (s *Stages) Sum() (sum time.Duration) {
	for _, d := range s.each() {
		sum += *d
	}
	return sum
}

// Add adds the stages of a request that followed; the sum may go beyond an hour.
func (s *Stages) Add(o *Stages) {
	of := o.each()
	for i, d := range s.each() {
		*d += *of[i]
	}
}

// Append appends the stages to b.
func (s *Stages) Append(b []byte) []byte {
	for _, d := range s.each() {
		b = AppendU64(b, uint64(*d))
	}
	return b
}

// maxStage bounds a stage on the wire, an hour: far beyond any deadline, and
// the sum of all cannot overflow.
const maxStage = time.Hour

// StagesSize is how many bytes the stages take in front of a reply.
const StagesSize = 7 * 8

// Parse reads the stages in front of a reply to a request with FlagStages and
// returns the reply's own payload, which aliases b.
func (s *Stages) Parse(b []byte) ([]byte, error) {
	r := NewReader(b)
	for _, d := range s.each() {
		v := r.U64()
		if v > uint64(maxStage) {
			r.Fail("stage beyond an hour")
		}
		*d = time.Duration(v)
	}
	rest := r.Rest()
	return rest, r.Err()
}

// StagedReply answers a single-record request with FlagStages: the stages, then
// the Reply.
type StagedReply struct {
	Stages Stages
	Reply
}

// Append appends the payload to b.
func (p *StagedReply) Append(b []byte) []byte { return p.Reply.Append(p.Stages.Append(b)) }

// Parse reads the payload; Bins aliases it.
func (p *StagedReply) Parse(b []byte) error {
	rest, err := p.Stages.Parse(b)
	if err != nil {
		return err
	}
	return p.Reply.Parse(rest)
}
