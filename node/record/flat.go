package record

import (
	"encoding/binary"
	"iter"
	"math"
	"slices"
	"strings"
)

// Flat encoding of a record's body: all but its Meta. It is what engines
// store, replicas exchange and, from the bins on, what a read answers.
//
//	 0          1
//	+----------+-------------+--------------------------------+---------------+
//	| head u8  | set         | key, if head bit 6             | bins section  |
//	+----------+-------------+--------------------------------+---------------+
//	 bits 0-5: bytes of set   kind u8, then a value as below
//	 bit 6: a key is stored
//	 bit 7: zero
//
//	bins section, to the end of the body:
//	+----------------+-----------------------------------------------+
//	| count uvarint  | count bins, names strictly ascending          |
//	+----------------+-----------------------------------------------+
//	one bin:
//	+----------------------------+--------+--------------------------+
//	| name bytes << 4 | kind, u8 | name   | value                    |
//	+----------------------------+--------+--------------------------+
//	value: int, float  8 bytes little-endian
//	       bool        1 byte, 0 or 1
//	       string, bytes  length uvarint, then that many bytes
//
// uvarints are in their shortest form. Names ascend so that the same content
// has the same bytes, a doubled name shows in one pass, and a merge is one
// pass. A 100-byte bin with a one-letter name and no set costs 5 bytes.

const (
	headSet  = 0x3f // mask of the set's length
	headKey  = 0x40
	headZero = 0x80
)

// Body is a record's flat encoding. A nil Body is that of a record without
// set, key and bins. Every method but Validate trusts the encoding: validate
// what came from outside first. What methods return aliases the Body.
type Body []byte

// Bins is the bins section of a Body: the answer to a read of all bins. The
// notes at Body hold for it too. A nil Bins has no bins.
type Bins []byte

// AppendBody appends the flat encoding of set, key (the zero Value: not
// stored) and bins to dst. Bins may come in any order; those with an absent
// value are left out. On an error (ErrSet, ErrKey, ErrBinName, ErrBins,
// ErrTooBig) it returns dst as it was.
func AppendBody(dst []byte, set string, key Value, bins []Bin) ([]byte, error) {
	b, err := appendHead(dst, set, key)
	if err != nil {
		return dst, err
	}
	if b, err = AppendBins(b, bins); err != nil {
		return dst, err
	}
	if len(b)-len(dst) > MaxSize {
		return dst, ErrTooBig
	}
	return b, nil
}

func appendHead(dst []byte, set string, key Value) ([]byte, error) {
	if len(set) > MaxSet {
		return dst, ErrSet
	}
	if key.IsNil() {
		return append(append(dst, byte(len(set))), set...), nil
	}
	if !keyKind(key.kind) {
		return dst, ErrKey
	}
	if len(key.text) > MaxSize {
		return dst, ErrTooBig
	}
	dst = append(append(dst, byte(len(set))|headKey), set...)
	return appendValue(append(dst, byte(key.kind)), key), nil
}

func keyKind(k Kind) bool { return k == KindInt || k == KindString || k == KindBytes }

// AppendBins appends the bins section of bins to dst, under the rules and
// errors of AppendBody.
func AppendBins(dst []byte, bins []Bin) ([]byte, error) {
	if !ascending(bins) {
		var few [16]Bin // sorts a usual record without allocating
		bins = append(few[:0], bins...)
		slices.SortFunc(bins, func(a, b Bin) int { return strings.Compare(a.Name, b.Name) })
	}
	count := 0
	for i := range bins {
		if i > 0 && bins[i].Name == bins[i-1].Name {
			return dst, ErrBinTwice
		}
		if !bins[i].Value.IsNil() {
			count++
		}
	}
	if count > MaxBins {
		return dst, ErrBins
	}
	if contents(bins) > MaxSize {
		return dst, ErrTooBig
	}
	b := binary.AppendUvarint(dst, uint64(count))
	for i := range bins {
		if bins[i].Value.IsNil() {
			continue
		}
		var err error
		if b, err = AppendBin(b, bins[i]); err != nil {
			return dst, err
		}
	}
	if len(b)-len(dst) > MaxSize {
		return dst, ErrTooBig
	}
	return b, nil
}

func ascending(bins []Bin) bool {
	for i := 1; i < len(bins); i++ {
		if bins[i].Name <= bins[i-1].Name {
			return false
		}
	}
	return true
}

// AppendBin appends one bin in the encoding of the bins section. The value
// may be absent, as in the results of an operation; a Body never holds such.
// The error is ErrBinName.
func AppendBin(dst []byte, b Bin) ([]byte, error) {
	if len(b.Name) == 0 || len(b.Name) > MaxBinName {
		return dst, ErrBinName
	}
	dst = append(dst, byte(len(b.Name))<<4|byte(b.Value.kind))
	dst = append(dst, b.Name...)
	return appendValue(dst, b.Value), nil
}

func appendValue(dst []byte, v Value) []byte {
	switch v.kind {
	case KindInt, KindFloat:
		return binary.LittleEndian.AppendUint64(dst, v.num)
	case KindBool:
		return append(dst, byte(v.num))
	case KindString, KindBytes:
		dst = binary.AppendUvarint(dst, uint64(len(v.text)))
		return append(dst, v.text...)
	}
	return dst
}

// ReadBin takes one bin as AppendBin wrote it off the front of b, checking
// everything; the bin aliases b. The error is ErrCorrupt.
func ReadBin(b []byte) (Bin, []byte, error) {
	if len(b) == 0 {
		return Bin{}, nil, ErrCorrupt
	}
	n, kind := int(b[0]>>4), Kind(b[0]&15)
	if n == 0 || 1+n > len(b) {
		return Bin{}, nil, ErrCorrupt
	}
	v, rest, ok := readValue(kind, b[1+n:])
	if !ok {
		return Bin{}, nil, ErrCorrupt
	}
	return Bin{Name: viewString(b[1 : 1+n]), Value: v}, rest, nil
}

func readValue(kind Kind, b []byte) (v Value, rest []byte, ok bool) {
	v.kind = kind
	switch kind {
	case KindNone:
		return v, b, true
	case KindInt, KindFloat:
		if len(b) < 8 {
			return v, nil, false
		}
		v.num = binary.LittleEndian.Uint64(b)
		return v, b[8:], true
	case KindBool:
		if len(b) < 1 || b[0] > 1 {
			return v, nil, false
		}
		v.num = uint64(b[0])
		return v, b[1:], true
	case KindString, KindBytes:
		n, w := uvarint(b)
		if w == 0 || n > uint64(len(b)-w) {
			return v, nil, false
		}
		v.text = viewString(b[w : w+int(n)])
		return v, b[w+int(n):], true
	}
	return v, nil, false
}

// uvarint reads a uvarint in its shortest form, w = 0 if there is none.
func uvarint(b []byte) (n uint64, w int) {
	n, w = binary.Uvarint(b)
	if w <= 0 || w > 1 && b[w-1] == 0 || n > math.MaxInt32 {
		return 0, 0
	}
	return n, w
}

// Validate returns ErrCorrupt unless b is exactly what AppendBody makes, or
// ErrTooBig beyond MaxSize. It does not allocate.
func (b Body) Validate() error {
	if len(b) > MaxSize {
		return ErrTooBig
	}
	if len(b) == 0 {
		return nil
	}
	at := 1 + int(b[0]&headSet)
	if b[0]&headZero != 0 || at > len(b) {
		return ErrCorrupt
	}
	rest := []byte(b[at:])
	if b[0]&headKey != 0 {
		if len(rest) == 0 || !keyKind(Kind(rest[0])) {
			return ErrCorrupt
		}
		var ok bool
		if _, rest, ok = readValue(Kind(rest[0]), rest[1:]); !ok {
			return ErrCorrupt
		}
	}
	if len(rest) == 0 {
		return ErrCorrupt
	}
	return Bins(rest).Validate()
}

// Set returns the record's set, "" for none.
func (b Body) Set() string {
	if len(b) == 0 {
		return ""
	}
	return viewString(b[1 : 1+int(b[0]&headSet)])
}

// Key returns the stored key, absent if it was not stored.
func (b Body) Key() Value {
	if len(b) == 0 || b[0]&headKey == 0 {
		return Value{}
	}
	at := 1 + int(b[0]&headSet)
	v, _, _ := readValue(Kind(b[at]), b[at+1:])
	return v
}

// head returns what precedes the bins section.
func (b Body) head() []byte { return b[:len(b)-len(b.RawBins())] }

// RawBins returns the bins section.
func (b Body) RawBins() Bins {
	if len(b) == 0 {
		return nil
	}
	at := 1 + int(b[0]&headSet)
	rest := []byte(b[at:])
	if b[0]&headKey != 0 {
		_, rest, _ = readValue(Kind(rest[0]), rest[1:])
	}
	return rest
}

// Count returns the number of bins.
func (b Body) Count() int { return b.RawBins().Count() }

// Get returns the bin's value, and whether there is one.
func (b Body) Get(name string) (Value, bool) { return b.RawBins().Get(name) }

// All walks the bins in ascending order of their names, without allocating.
func (b Body) All() iter.Seq[Bin] { return b.RawBins().All() }

// Validate returns ErrCorrupt unless s is exactly what AppendBins makes, or
// ErrTooBig beyond MaxSize. It does not allocate.
func (s Bins) Validate() error {
	if len(s) > MaxSize {
		return ErrTooBig
	}
	if len(s) == 0 {
		return nil
	}
	n, w := uvarint(s)
	if w == 0 || n > MaxBins {
		return ErrCorrupt
	}
	rest, last := []byte(s[w:]), ""
	for range n {
		bin, r, err := ReadBin(rest)
		if err != nil || bin.Name <= last || bin.Value.IsNil() {
			return ErrCorrupt
		}
		rest, last = r, bin.Name
	}
	if len(rest) != 0 {
		return ErrCorrupt
	}
	return nil
}

// Count returns the number of bins.
func (s Bins) Count() int {
	n, _ := binary.Uvarint(s)
	return int(n)
}

// Get returns the bin's value, and whether there is one.
func (s Bins) Get(name string) (Value, bool) {
	for b := range s.All() {
		if b.Name >= name {
			return b.Value, b.Name == name
		}
	}
	return Value{}, false
}

// All walks the bins in ascending order of their names, without allocating.
// A damaged section ends early.
func (s Bins) All() iter.Seq[Bin] {
	return func(yield func(Bin) bool) {
		n, w := uvarint(s)
		for rest := []byte(s[w:]); n > 0; n-- {
			bin, r, err := ReadBin(rest)
			if err != nil || !yield(bin) {
				return
			}
			rest = r
		}
	}
}
