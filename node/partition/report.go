package partition

import (
	"bytes"
	"fmt"
	"math"

	"headroom/node/cluster"
	"headroom/node/wire"
)

const (
	// MaxHistory bounds the View keys a member reports: two sides of a split
	// that each saw more Views than this merge as if they had no common past,
	// which counts conflicts too high and loses nothing.
	MaxHistory = 32
	// MaxNamespaces bounds the namespaces of a report. 32 as in the ecosystem;
	// memory is 290 KiB each, so a hostile report costs 10 MiB at most.
	MaxNamespaces = 32
	// MaxName is the longest namespace name in bytes.
	MaxName = 63
)

// MemberReport is all that a member says about its data when it accepts a
// View.
type MemberReport struct {
	History    []cluster.ViewKey // Views it committed, newest first; beyond MaxHistory nothing is sent
	Ages       []uint32          // seconds since it left each of them, 0 if it has not; may be shorter: 0
	Namespaces []NamespaceReport // at most MaxNamespaces
}

// NamespaceReport is the part of one namespace.
type NamespaceReport struct {
	Name   string // at most MaxName bytes
	RF     int    // configured replication factor, 1 to cluster.MaxMembers
	Fresh  bool   // configured: partitions of which no full copy is left start with what there is
	Revive bool   // an operator said so, this once
	Report *Report
}

// Append appends the encoding of r to b and returns the extended slice. It is
// a function of the values alone. Copies in state None are sent as the zero
// Copy. A nil Report is sent as an empty one.
//
// Layout: history, then per namespace its name, RF, flags, and three columns
// (copies, established, descents of the copies), or, with flagUnequal, a fourth
// (unequal). A column is a dictionary of its distinct values and
// where they are, in the shorter of two forms (column.go): what a settled
// member of a large cluster reports grows with what it holds, not with 4096.
func (r *MemberReport) Append(b []byte) []byte {
	history := r.History[:min(len(r.History), MaxHistory)]
	b = wire.AppendUvarint(b, uint64(len(history)))
	for i, k := range history {
		b = appendKey(b, k)
		age := uint32(0)
		if i < len(r.Ages) {
			age = r.Ages[i]
		}
		b = wire.AppendUvarint(b, uint64(age))
	}
	b = wire.AppendUvarint(b, uint64(len(r.Namespaces)))
	for i := range r.Namespaces {
		n := &r.Namespaces[i]
		rep := n.Report
		if rep == nil {
			rep = new(Report)
		}
		b = wire.AppendString(b, n.Name)
		b = append(wire.AppendUvarint(b, uint64(n.RF)), n.flags(rep))
		b = appendColumn(b, &rep.Copies, appendCopy)
		b = appendColumn(b, &rep.Established, appendKey)
		b = appendColumn(b, &rep.Lines, appendLine)
		if rep.unequal() {
			b = appendColumn(b, &rep.Unequal, appendUnequal)
		}
	}
	return b
}

// ParseMemberReport reads what Append wrote. It rejects every other encoding
// of the same values; errors wrap wire.ErrFrame.
func ParseMemberReport(b []byte) (*MemberReport, error) {
	in := wire.NewReader(b)
	r, sparse := &MemberReport{}, false
	for range in.Count(MaxHistory, 4) {
		r.History = append(r.History, readKey(&in))
		age := in.Uvarint()
		if age > math.MaxUint32 {
			in.Fail("age out of range")
		}
		r.Ages = append(r.Ages, uint32(age))
	}
	for range in.Count(MaxNamespaces, 8) {
		n := NamespaceReport{Name: in.String(MaxName), RF: int(in.Uvarint()), Report: new(Report)}
		if n.RF < 1 || n.RF > cluster.MaxMembers {
			in.Fail("replication factor out of range")
		}
		unequal := n.setFlags(&in)
		one := readColumn(&in, &n.Report.Copies, readCopy)
		two := readColumn(&in, &n.Report.Established, readKey)
		three := readColumn(&in, &n.Report.Lines, readLine)
		sparse = sparse || one || two || three
		if unequal {
			sparse = readColumn(&in, &n.Report.Unequal, readUnequal) || sparse
			if !n.Report.unequal() {
				in.Fail("column of unequal copies is empty")
			}
		}
		if in.Err() != nil {
			break
		}
		r.Namespaces = append(r.Namespaces, n)
	}
	err := in.Done()
	if err == nil && sparse && !bytes.Equal(r.Append(nil), b) {
		err = fmt.Errorf("%w: a shorter encoding exists", wire.ErrFrame)
	}
	if err != nil {
		return nil, fmt.Errorf("member report: %w", err)
	}
	return r, nil
}

const (
	flagFresh = 1 << iota
	flagRevive
	flagUnequal
)

func (n *NamespaceReport) flags(r *Report) (f byte) {
	if n.Fresh {
		f |= flagFresh
	}
	if n.Revive {
		f |= flagRevive
	}
	if r.unequal() {
		f |= flagUnequal
	}
	return f
}

func (n *NamespaceReport) setFlags(in *wire.Reader) (unequal bool) {
	f := in.U8()
	if f&^(flagFresh|flagRevive|flagUnequal) != 0 {
		in.Fail("unknown flag of a namespace")
	}
	n.Fresh, n.Revive = f&flagFresh != 0, f&flagRevive != 0
	return f&flagUnequal != 0
}

// unequal reports whether the member says so of any partition: hardly ever.
func (r *Report) unequal() bool { return r.Unequal != [cluster.Partitions]Unequal{} }

func appendUnequal(b []byte, u Unequal) []byte { return append(b, byte(u)) }

func readUnequal(in *wire.Reader) Unequal {
	u := Unequal(in.U8())
	if u&^(Differ|Writing) != 0 {
		in.Fail("unknown bit of unequal copies")
	}
	return u
}

func appendKey(b []byte, k cluster.ViewKey) []byte {
	b = wire.AppendUvarint(b, k.Counter)
	b = wire.AppendUvarint(b, uint64(k.Proposer))
	return wire.AppendUvarint(b, uint64(k.Inc))
}

func readKey(in *wire.Reader) cluster.ViewKey {
	return cluster.ViewKey{
		Counter:  in.Uvarint(),
		Proposer: cluster.NodeID(in.Uvarint()),
		Inc:      cluster.Incarnation(in.Uvarint()),
	}
}

const emptyBit = 0x80 // of the byte that holds the State

func appendCopy(b []byte, c Copy) []byte {
	if c.State == None {
		return append(b, byte(None))
	}
	v := byte(c.State)
	if c.Empty {
		v |= emptyBit
	}
	return appendKey(append(b, v), c.Key)
}

func readCopy(in *wire.Reader) Copy {
	v := in.U8()
	c := Copy{State: State(v &^ emptyBit), Empty: v&emptyBit != 0}
	if v == byte(None) {
		return Copy{}
	}
	c.Key = readKey(in)
	if c.State == None || c.State > Spare || c.Key.IsZero() {
		in.Fail("invalid copy")
	}
	return c
}
