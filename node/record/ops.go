package record

import (
	"math"
	"slices"
	"strings"
)

// OpKind says what an Op does to its bin. The numbers are part of the wire.
type OpKind uint8

// The operations. OpRead gives the bin's value as the operations before it
// left it, or every bin if Op.Bin is empty. OpWrite sets it; an absent value
// removes the bin. OpAdd adds an int to an int or a float to a float.
// OpAppend and OpPrepend join strings to strings and bytes to bytes. The last
// three create a bin that is absent.
const (
	OpRead OpKind = iota + 1
	OpWrite
	OpAdd
	OpAppend
	OpPrepend
)

// Op is one operation on one bin.
type Op struct {
	Kind  OpKind
	Bin   string
	Value Value
}

// Apply runs ops in order on the bins of body and appends the new body to
// dst, which must not overlap body. Set and key stay; for a record that is
// absent, pass an AppendBody without bins. results holds a bin for each read,
// in order, absent bins with an absent value; it aliases body, ops and fresh
// memory, never dst. changed reports whether any operation other than a read
// ran (a write of what was there counts: it makes a new version); without
// one, newBody is dst unchanged. A newBody without bins is up to the caller:
// usually it means delete.
//
// It is atomic: on an error (ErrBinType, ErrBinName, ErrBins, ErrOps,
// ErrOverflow, ErrTooBig) newBody is dst unchanged and results is nil. The
// results are held to MaxBins and MaxSize like a record, so that reading a
// large bin many times cannot make an answer that no frame holds.
func Apply(body Body, ops []Op, dst []byte) (newBody []byte, results []Bin, changed bool, err error) {
	if len(ops) > MaxOps {
		return dst, nil, false, ErrOps
	}
	var few [16]Bin // works on a usual record without allocating
	bins := slices.AppendSeq(few[:0], body.All())
	for _, op := range ops {
		if op.Kind == OpRead {
			if results, err = readOp(results, bins, op.Bin); err != nil {
				return dst, nil, false, err
			}
			continue
		}
		if bins, err = changeOp(bins, op); err != nil {
			return dst, nil, false, err
		}
		changed = true
	}
	if contents(results) > MaxSize {
		return dst, nil, false, ErrTooBig
	}
	if !changed {
		return dst, results, false, nil
	}
	head := body.head()
	if len(head) == 0 {
		head = []byte{0}
	}
	newBody, err = AppendBins(append(dst, head...), bins)
	if err == nil && len(newBody)-len(dst) > MaxSize {
		err = ErrTooBig
	}
	if err != nil {
		return dst, nil, false, err
	}
	return newBody, results, true, nil
}

// contents returns the bytes of strings and byte strings in bins.
func contents(bins []Bin) int {
	n := 0
	for i := range bins {
		n += len(bins[i].Value.text)
	}
	return n
}

// readOp adds what one read gives.
func readOp(results, bins []Bin, name string) ([]Bin, error) {
	if len(name) > MaxBinName {
		return nil, ErrBinName
	}
	if name == "" {
		results = append(results, bins...)
	} else if at, ok := find(bins, name); ok {
		results = append(results, bins[at])
	} else {
		results = append(results, Bin{Name: name})
	}
	if len(results) > MaxBins {
		return nil, ErrBins
	}
	return results, nil
}

// changeOp runs one op that is no read and returns the bins, in order still.
func changeOp(bins []Bin, op Op) ([]Bin, error) {
	if len(op.Bin) == 0 || len(op.Bin) > MaxBinName {
		return bins, ErrBinName
	}
	at, ok := find(bins, op.Bin)
	var old Value
	if ok {
		old = bins[at].Value
	}
	v, err := combine(op.Kind, old, op.Value)
	switch {
	case err != nil:
		return bins, err
	case ok && v.IsNil():
		return slices.Delete(bins, at, at+1), nil
	case ok:
		bins[at].Value = v
		return bins, nil
	case v.IsNil():
		return bins, nil
	case len(bins) == MaxBins:
		return bins, ErrBins
	}
	return slices.Insert(bins, at, Bin{Name: op.Bin, Value: v}), nil
}

func find(bins []Bin, name string) (int, bool) {
	return slices.BinarySearchFunc(bins, name, func(b Bin, name string) int { return strings.Compare(b.Name, name) })
}

// combine gives the value of a bin that held old (absent: none) after op.
func combine(op OpKind, old, v Value) (Value, error) {
	switch op {
	case OpWrite:
		return v, nil
	case OpAdd:
		return sum(old, v)
	case OpAppend:
		return join(old, v, old.text, v.text)
	case OpPrepend:
		return join(old, v, v.text, old.text)
	}
	return Value{}, ErrBinType
}

func sum(old, v Value) (Value, error) {
	if v.kind != KindInt && v.kind != KindFloat || !old.IsNil() && old.kind != v.kind {
		return Value{}, ErrBinType
	}
	if old.IsNil() {
		return v, nil
	}
	if v.kind == KindFloat {
		return Float(math.Float64frombits(old.num) + math.Float64frombits(v.num)), nil
	}
	a, b := int64(old.num), int64(v.num)
	if s := a + b; (s > a) == (b > 0) {
		return Int(s), nil
	}
	return Value{}, ErrOverflow
}

func join(old, v Value, first, second string) (Value, error) {
	if v.kind != KindString && v.kind != KindBytes || !old.IsNil() && old.kind != v.kind {
		return Value{}, ErrBinType
	}
	if len(first)+len(second) > MaxSize {
		return Value{}, ErrTooBig
	}
	return Value{kind: v.kind, text: first + second}, nil
}
