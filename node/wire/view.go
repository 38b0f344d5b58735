package wire

import (
	"fmt"
	"time"

	"headroom/node/cluster"
)

// ViewMessage is a message of the membership core. They travel on the
// control connection, whose peer is authenticated; none carries its sender.
type ViewMessage interface {
	// Kind is the frame kind of the message.
	Kind() Kind
	// Append appends the encoded payload to b.
	Append(b []byte) []byte
}

// Prepare opens a round: will you be a member of a View of this key, and
// accept no lower ballot from now on?
type Prepare struct {
	Ballot  cluster.ViewKey
	Members []cluster.Member // in succession order; includes sender and receiver
}

// Promise answers Prepare with yes. View and Fences are those of Accepted, as
// they are before anybody is frozen, so that most of the wait is over by then.
type Promise struct {
	Ballot cluster.ViewKey
	View   cluster.ViewKey
	Fences []Fence
}

// Nack refuses Prepare or Accept.
type Nack struct {
	Ballot   cluster.ViewKey // the refused one
	Promised cluster.ViewKey // the highest ballot the receiver has promised
	// Outside says that the refusal is not about ballots: the receiver's
	// own evidence puts the proposer outside its mutually hearing set.
	Outside bool
}

// Accept asks every promised member to freeze and to report its partition
// versions.
type Accept struct {
	Ballot  cluster.ViewKey
	Members []cluster.Member
}

// Accepted answers Accept: the sender is frozen under Ballot.
type Accepted struct {
	Ballot cluster.ViewKey
	View   cluster.ViewKey // the View the sender leaves
	// Fences lists every member of View that is not a proposed member, with
	// the time for which a lease that the sender granted it may still hold.
	Fences  []Fence
	Payload []byte // opaque to membership: the sender's partition versions
}

// Want asks the principal for another View of the same members, because what
// the sender has to report has changed: it has lost copies.
type Want struct{ View cluster.ViewKey } // that the sender holds

// Kind implements ViewMessage.
func (m *Want) Kind() Kind { return KindWant }

// Append implements ViewMessage.
func (m *Want) Append(b []byte) []byte { return AppendViewKey(b, m.View) }

// Fence is how long a read lease may outlive the freeze that ends it.
type Fence struct {
	Node cluster.NodeID
	Inc  cluster.Incarnation
	Wait time.Duration // from the sending of Accepted; zero: none
}

// Commit publishes the View and what every member reported.
type Commit struct {
	View     cluster.View
	Payloads [][]byte // one per member, in succession order
}

// CommitPart is a piece of an encoded Commit that is too large for one frame.
// Pieces are sent in order on one connection.
type CommitPart struct {
	Key         cluster.ViewKey // of the View
	Index, Last uint16          // the first is 0
	Data        []byte
}

const (
	// commitPiece is the size of a piece: half a frame, so that pulses of
	// other messages on the connection get their turn.
	commitPiece = 512 << 10
	// MaxCommitParts bounds what a receiver puts together: 32 MiB are 128
	// members with 32 namespaces and 8 KiB each.
	MaxCommitParts = 64
)

// Split returns m itself if it fits a frame, or its pieces.
func (m *Commit) Split() []ViewMessage {
	const perMember = MaxAddr + 64 // its description and lengths
	size := 64 + len(m.View.Members)*perMember
	for _, p := range m.Payloads {
		size += len(p)
	}
	if size <= MaxPayload {
		return []ViewMessage{m}
	}
	b := m.Append(nil)
	var parts []ViewMessage
	last := uint16((len(b) - 1) / commitPiece)
	for i := uint16(0); i <= last; i++ {
		data := b[int(i)*commitPiece:]
		parts = append(parts, &CommitPart{Key: m.View.Key, Index: i, Last: last, Data: data[:min(len(data), commitPiece)]})
	}
	return parts
}

// Kind implements ViewMessage.
func (*Prepare) Kind() Kind { return KindPrepare }

// Kind implements ViewMessage.
func (*Promise) Kind() Kind { return KindPromise }

// Kind implements ViewMessage.
func (*Nack) Kind() Kind { return KindNack }

// Kind implements ViewMessage.
func (*Accept) Kind() Kind { return KindAccept }

// Kind implements ViewMessage.
func (*Accepted) Kind() Kind { return KindAccepted }

// Kind implements ViewMessage.
func (*Commit) Kind() Kind { return KindCommit }

// Kind implements ViewMessage.
func (*CommitPart) Kind() Kind { return KindCommitPart }

// Append implements ViewMessage: key, u16, u16, data.
func (m *CommitPart) Append(b []byte) []byte {
	return AppendBytes(AppendU16(AppendU16(AppendViewKey(b, m.Key), m.Index), m.Last), m.Data)
}

// Append implements ViewMessage: key, members.
func (m *Prepare) Append(b []byte) []byte {
	return appendMembers(AppendViewKey(b, m.Ballot), m.Members)
}

// Append implements ViewMessage: key, key, fences (u64, u64, u64 ns).
func (m *Promise) Append(b []byte) []byte {
	return appendFences(AppendViewKey(AppendViewKey(b, m.Ballot), m.View), m.Fences)
}

// Append implements ViewMessage: key, key, bool.
func (m *Nack) Append(b []byte) []byte {
	return AppendBool(AppendViewKey(AppendViewKey(b, m.Ballot), m.Promised), m.Outside)
}

// Append implements ViewMessage: key, members.
func (m *Accept) Append(b []byte) []byte { return appendMembers(AppendViewKey(b, m.Ballot), m.Members) }

// Append implements ViewMessage: key, key, fences (u64, u64, u64 ns), payload.
func (m *Accepted) Append(b []byte) []byte {
	return AppendBytes(appendFences(AppendViewKey(AppendViewKey(b, m.Ballot), m.View), m.Fences), m.Payload)
}

func appendFences(b []byte, fences []Fence) []byte {
	b = AppendUvarint(b, uint64(len(fences)))
	for _, f := range fences {
		b = AppendU64(b, uint64(f.Node))
		b = AppendU64(b, uint64(f.Inc))
		b = AppendU64(b, uint64(f.Wait))
	}
	return b
}

// Append implements ViewMessage: view, payloads.
func (m *Commit) Append(b []byte) []byte {
	b = AppendView(b, &m.View)
	b = AppendUvarint(b, uint64(len(m.Payloads)))
	for _, p := range m.Payloads {
		b = AppendBytes(b, p)
	}
	return b
}

// ParseViewMessage decodes the payload of a membership frame. Payload byte
// strings of the result alias b.
func ParseViewMessage(kind Kind, b []byte) (ViewMessage, error) {
	r := NewReader(b)
	var m ViewMessage
	switch kind {
	case KindPrepare:
		m = &Prepare{Ballot: r.ViewKey(), Members: readMembers(&r)}
	case KindPromise:
		m = &Promise{Ballot: r.ViewKey(), View: r.ViewKey(), Fences: readFences(&r)}
	case KindNack:
		m = &Nack{Ballot: r.ViewKey(), Promised: r.ViewKey(), Outside: r.Bool()}
	case KindAccept:
		m = &Accept{Ballot: r.ViewKey(), Members: readMembers(&r)}
	case KindAccepted:
		m = &Accepted{Ballot: r.ViewKey(), View: r.ViewKey(), Fences: readFences(&r), Payload: r.Bytes(MaxPayload)}
	case KindCommit:
		m = readCommit(&r)
	case KindWant:
		m = &Want{View: r.ViewKey()}
	case KindCommitPart:
		m = &CommitPart{Key: r.ViewKey(), Index: r.U16(), Last: r.U16(), Data: r.Bytes(MaxPayload)}
	default:
		return nil, fmt.Errorf("%w: kind %d is not a membership message", ErrFrame, kind)
	}
	return m, r.Done()
}

func readFences(r *Reader) []Fence {
	var fs []Fence
	for range r.Count(cluster.MaxMembers, 24) {
		f := Fence{Node: cluster.NodeID(r.U64()), Inc: cluster.Incarnation(r.U64()), Wait: time.Duration(r.U64())}
		if f.Wait < 0 || f.Wait > time.Hour {
			r.Fail("fence out of range")
		}
		fs = append(fs, f)
	}
	return fs
}

func readCommit(r *Reader) *Commit {
	m := &Commit{View: ReadView(r)}
	for range r.Count(cluster.MaxMembers, 1) {
		m.Payloads = append(m.Payloads, r.Bytes(MaxPayload))
	}
	if len(m.Payloads) != len(m.View.Members) {
		r.Fail("commit needs one payload per member")
	}
	return m
}

// AppendView appends a View: key, members.
func AppendView(b []byte, v *cluster.View) []byte {
	return appendMembers(AppendViewKey(b, v.Key), v.Members)
}

// ReadView reads what AppendView wrote. Nothing in it aliases the payload.
func ReadView(r *Reader) cluster.View {
	return cluster.View{Key: r.ViewKey(), Members: readMembers(r)}
}

// appendMembers appends a count and per member node u64, inc u64, rack u32,
// quiesced bool, addr string.
func appendMembers(b []byte, ms []cluster.Member) []byte {
	b = AppendUvarint(b, uint64(len(ms)))
	for i := range ms {
		b = AppendU64(b, uint64(ms[i].Node))
		b = AppendU64(b, uint64(ms[i].Inc))
		b = AppendU32(b, uint32(ms[i].Rack))
		b = AppendBool(b, ms[i].Quiesced)
		b = AppendString(b, ms[i].Addr)
	}
	return b
}

func readMembers(r *Reader) []cluster.Member {
	n := r.Count(cluster.MaxMembers, 22)
	if n == 0 {
		return nil
	}
	ms := make([]cluster.Member, n)
	for i := range ms {
		ms[i] = cluster.Member{Node: cluster.NodeID(r.U64()), Inc: cluster.Incarnation(r.U64()),
			Rack: cluster.RackID(r.U32()), Quiesced: r.Bool(), Addr: r.String(MaxAddr)}
		if i > 0 && ms[i].Node >= ms[i-1].Node {
			r.Fail("members are not in succession order")
		}
	}
	return ms
}
