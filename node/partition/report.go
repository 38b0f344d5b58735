package partition

import (
	"fmt"
	"math/bits"

	"headroom/node/cluster"
	"headroom/node/wire"
)

const (
	// MaxHistory bounds the View keys a member reports: two sides of a split
	// that each saw more Views than this merge as if they had no common past,
	// which counts conflicts too high and loses nothing.
	MaxHistory = 32
	// MaxNamespaces bounds the namespaces of a report. 32 as in the ecosystem;
	// memory is 224 KiB each, so a hostile report costs 7 MiB at most.
	MaxNamespaces = 32
	// MaxName is the longest namespace name in bytes.
	MaxName = 63
)

// MemberReport is all that a member says about its data when it accepts a
// View.
type MemberReport struct {
	History    []cluster.ViewKey // Views it committed, newest first; beyond MaxHistory nothing is sent
	Namespaces []NamespaceReport // at most MaxNamespaces
}

// NamespaceReport is the part of one namespace.
type NamespaceReport struct {
	Name   string // at most MaxName bytes
	RF     int    // configured replication factor, 1 to cluster.MaxMembers
	Report *Report
}

// Append appends the encoding of r to b and returns the extended slice. It is
// a function of the values alone. Copies in state None are sent as the zero
// Copy. A nil Report is sent as an empty one.
//
// Layout: history, then per namespace its name, RF, and two columns (copies,
// established). A column is a dictionary of its distinct values in order of
// first appearance and 4096 indexes into it, packed in as few bits as the
// dictionary needs. A settled cluster needs one or two bits: about 1 KiB.
func (r *MemberReport) Append(b []byte) []byte {
	history := r.History[:min(len(r.History), MaxHistory)]
	b = wire.AppendUvarint(b, uint64(len(history)))
	for _, k := range history {
		b = appendKey(b, k)
	}
	b = wire.AppendUvarint(b, uint64(len(r.Namespaces)))
	for i := range r.Namespaces {
		n := &r.Namespaces[i]
		b = wire.AppendString(b, n.Name)
		b = wire.AppendUvarint(b, uint64(n.RF))
		rep := n.Report
		if rep == nil {
			rep = new(Report)
		}
		b = appendColumn(b, &rep.Copies, appendCopy)
		b = appendColumn(b, &rep.Established, appendKey)
	}
	return b
}

// ParseMemberReport reads what Append wrote. It rejects every other encoding
// of the same values; errors wrap wire.ErrFrame.
func ParseMemberReport(b []byte) (*MemberReport, error) {
	in := wire.NewReader(b)
	r := &MemberReport{}
	for range in.Count(MaxHistory, 3) {
		r.History = append(r.History, readKey(&in))
	}
	for range in.Count(MaxNamespaces, 8) {
		n := NamespaceReport{Name: in.String(MaxName), RF: int(in.Uvarint()), Report: new(Report)}
		if n.RF < 1 || n.RF > cluster.MaxMembers {
			in.Fail("replication factor out of range")
		}
		readColumn(&in, &n.Report.Copies, readCopy)
		readColumn(&in, &n.Report.Established, readKey)
		if in.Err() != nil {
			break
		}
		r.Namespaces = append(r.Namespaces, n)
	}
	if err := in.Done(); err != nil {
		return nil, fmt.Errorf("member report: %w", err)
	}
	return r, nil
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

// scanned is how many dictionary entries are compared one by one before a map
// is asked; real reports have two to five.
const scanned = 8

// dictionary numbers values in order of first appearance.
type dictionary[T comparable] struct {
	values []T
	rest   map[T]uint16 // values from index scanned on
}

func (d *dictionary[T]) index(v T) uint16 {
	for i := range d.values[:min(len(d.values), scanned)] {
		if d.values[i] == v {
			return uint16(i)
		}
	}
	if i, ok := d.rest[v]; ok {
		return i
	}
	i := uint16(len(d.values))
	d.values = append(d.values, v)
	if i >= scanned {
		if d.rest == nil {
			d.rest = make(map[T]uint16)
		}
		d.rest[v] = i
	}
	return i
}

func appendColumn[T comparable](b []byte, column *[cluster.Partitions]T, put func([]byte, T) []byte) []byte {
	var d dictionary[T]
	var indexes [cluster.Partitions]uint16
	for i := range column {
		v := column[i]
		if c, ok := any(&v).(*Copy); ok && c.State == None {
			*c = Copy{}
		}
		indexes[i] = d.index(v)
	}
	b = wire.AppendUvarint(b, uint64(len(d.values)))
	for _, v := range d.values {
		b = put(b, v)
	}
	return pack(b, &indexes, width(len(d.values)))
}

func readColumn[T comparable](in *wire.Reader, column *[cluster.Partitions]T, get func(*wire.Reader) T) {
	n := in.Count(cluster.Partitions, 1)
	values := make([]T, 0, n)
	seen := make(map[T]struct{}, n)
	for range n {
		v := get(in)
		if _, dup := seen[v]; dup {
			in.Fail("dictionary repeats a value")
			return
		}
		seen[v] = struct{}{}
		values = append(values, v)
	}
	var indexes [cluster.Partitions]uint16
	used := unpack(in, &indexes, width(n))
	if in.Err() != nil || used != n || n == 0 {
		in.Fail("dictionary does not match its indexes")
		return
	}
	for i, x := range indexes {
		column[i] = values[x]
	}
}

// width is how many bits tell n values apart.
func width(n int) int { return bits.Len(uint(max(n, 1) - 1)) }

// pack appends the low w bits of each index, low bits first. 4096 indexes of
// any width fill whole bytes.
func pack(b []byte, indexes *[cluster.Partitions]uint16, w int) []byte {
	var acc uint64
	have := 0
	for _, x := range indexes {
		acc |= uint64(x) << have
		have += w
		for ; have >= 8; have -= 8 {
			b = append(b, byte(acc))
			acc >>= 8
		}
	}
	return b
}

// unpack reads what pack wrote and returns how many different indexes it saw;
// it fails unless they first appear in ascending order, which makes the
// encoding unique and bounds every index.
func unpack(in *wire.Reader, indexes *[cluster.Partitions]uint16, w int) int {
	var acc uint64
	have, used := 0, 0
	mask := uint64(1)<<w - 1
	for i := range indexes {
		for ; have < w; have += 8 {
			acc |= uint64(in.U8()) << have
		}
		x := int(acc & mask)
		acc >>= w
		have -= w
		if x > used || in.Err() != nil {
			in.Fail("dictionary index out of order")
			return used
		}
		if x == used {
			used++
		}
		indexes[i] = uint16(x)
	}
	return used
}
