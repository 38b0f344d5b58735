package partition

import (
	"math/bits"

	"headroom/node/cluster"
	"headroom/node/wire"
)

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
	if s := newSparse(&indexes, len(d.values)); s.size < cluster.Partitions*width(len(d.values))/8 {
		return s.append(b, &indexes, func(b []byte, i int) []byte { return put(b, d.values[i]) })
	}
	b = wire.AppendUvarint(b, uint64(len(d.values)))
	for _, v := range d.values {
		b = put(b, v)
	}
	return pack(b, &indexes, width(len(d.values)))
}

// readColumn reports whether the column was sparse.
func readColumn[T comparable](in *wire.Reader, column *[cluster.Partitions]T, get func(*wire.Reader) T) (sparse bool) {
	n := in.Count(cluster.Partitions, 1)
	if sparse = n == 0; sparse {
		n = in.Count(cluster.Partitions, 1)
	}
	values := make([]T, 0, n)
	seen := make(map[T]struct{}, n)
	for range n {
		v := get(in)
		if _, dup := seen[v]; dup {
			in.Fail("dictionary repeats a value")
			return sparse
		}
		seen[v] = struct{}{}
		values = append(values, v)
	}
	var indexes [cluster.Partitions]uint16
	if sparse {
		readSparse(in, &indexes, n)
	} else if used := unpack(in, &indexes, width(n)); used != n {
		in.Fail("dictionary does not match its indexes")
	}
	if n == 0 {
		in.Fail("column without a value")
	}
	if in.Err() != nil {
		return sparse
	}
	for i, x := range indexes {
		column[i] = values[x]
	}
	return sparse
}

// sparse is the encoding of a column most of which has one value, the
// background: the places of every other value, as gaps between them.
type sparse struct {
	background int
	count      []int // of each value
	size       int   // bytes of counts and gaps, with the mark of the form
}

func newSparse(indexes *[cluster.Partitions]uint16, values int) *sparse {
	s := &sparse{count: make([]int, values), size: 1}
	for _, x := range indexes {
		s.count[x]++
	}
	for i, n := range s.count {
		if n > s.count[s.background] {
			s.background = i
		}
	}
	last := make([]int, values)
	for pid, x := range indexes {
		if int(x) != s.background {
			s.size += uvarintLen(uint64(pid - last[x]))
			last[x] = pid + 1
		}
	}
	for i, n := range s.count {
		if i != s.background {
			s.size += uvarintLen(uint64(n))
		}
	}
	return s
}

// append writes the mark, the values with the background first, and for each
// other value its places.
func (s *sparse) append(b []byte, indexes *[cluster.Partitions]uint16, put func(b []byte, i int) []byte) []byte {
	b = wire.AppendUvarint(append(b, 0), uint64(len(s.count)))
	b = put(b, s.background)
	for i := range s.count {
		if i != s.background {
			b = put(b, i)
		}
	}
	for i, n := range s.count {
		if i == s.background {
			continue
		}
		b = wire.AppendUvarint(b, uint64(n))
		for pid, last := 0, 0; n > 0; pid++ {
			if int(indexes[pid]) == i {
				b = wire.AppendUvarint(b, uint64(pid-last))
				last = pid + 1
				n--
			}
		}
	}
	return b
}

// readSparse reads places. That they are the shortest encoding of the column
// is checked once for the whole report.
func readSparse(in *wire.Reader, indexes *[cluster.Partitions]uint16, values int) {
	for i := 1; i < values && in.Err() == nil; i++ {
		at := -1
		for range in.Count(cluster.Partitions, 1) {
			gap := in.Uvarint()
			if gap >= cluster.Partitions || at+1+int(gap) >= cluster.Partitions || indexes[at+1+int(gap)] != 0 {
				in.Fail("place of a value out of range")
				return
			}
			at += 1 + int(gap)
			indexes[at] = uint16(i)
		}
	}
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

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
