package record

import (
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// Kind is the type of a Value. The numbers are part of the flat encoding and
// of the wire; add at the end, never renumber.
type Kind uint8

// The kinds of value. KindNone is the absent value: what a bin holds that
// does not exist.
const (
	KindNone Kind = iota
	KindInt
	KindFloat
	KindString
	KindBytes
	KindBool
	kindEnd
)

var kindNames = [kindEnd]string{"none", "int", "float", "string", "bytes", "bool"}

// String names the kind as users write it: "int", "bytes".
func (k Kind) String() string {
	if k < kindEnd {
		return kindNames[k]
	}
	return "kind" + strconv.Itoa(int(k))
}

// Value is one typed value. The zero Value is absent. It is 32 bytes, never
// boxes, and does not copy what it is made of: a Value from Bytes or from a
// decoded Body aliases that memory and is good only as long as it is; Clone
// cuts it loose. Values of the same kind and content are ==.
type Value struct {
	kind Kind
	num  uint64 // int, float bits, or 0/1
	text string // string, or the memory of bytes
}

// Int makes a value of a signed integer.
func Int(v int64) Value { return Value{kind: KindInt, num: uint64(v)} }

// Float makes a value of a float; NaN and infinities are kept bit by bit.
func Float(v float64) Value { return Value{kind: KindFloat, num: math.Float64bits(v)} }

// String makes a value of a string. Any bytes are allowed.
func String(v string) Value { return Value{kind: KindString, text: v} }

// Bytes makes a value of b without copying: leave b alone while the value is
// in use. A nil b is an empty byte string, not an absent value.
func Bytes(b []byte) Value { return Value{kind: KindBytes, text: viewString(b)} }

// Bool makes a value of a truth value.
func Bool(v bool) Value {
	if v {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Kind returns the type of v.
func (v Value) Kind() Kind { return v.kind }

// IsNil reports whether v is the absent value.
func (v Value) IsNil() bool { return v.kind == KindNone }

// Int returns the integer, and whether v is one.
func (v Value) Int() (int64, bool) {
	if v.kind != KindInt {
		return 0, false
	}
	return int64(v.num), true
}

// Float returns the float, and whether v is one.
func (v Value) Float() (float64, bool) {
	if v.kind != KindFloat {
		return 0, false
	}
	return math.Float64frombits(v.num), true
}

// Str returns the string, and whether v is one.
func (v Value) Str() (string, bool) {
	if v.kind != KindString {
		return "", false
	}
	return v.text, true
}

// Bytes returns the byte string, and whether v is one. The slice is the
// memory the value was made of: read it, do not write it.
func (v Value) Bytes() ([]byte, bool) {
	if v.kind != KindBytes {
		return nil, false
	}
	return viewBytes(v.text), true
}

// Bool returns the truth value, and whether v is one.
func (v Value) Bool() (value, ok bool) { return v.kind == KindBool && v.num == 1, v.kind == KindBool }

// Equal reports whether v and o have the same kind and content, floats
// compared bit by bit.
func (v Value) Equal(o Value) bool { return v == o }

// Clone returns v with memory of its own.
func (v Value) Clone() Value {
	v.text = strings.Clone(v.text)
	return v
}

// String gives v as people write it: 12, 1.5, "text", 0x00ff, true, none.
func (v Value) String() string {
	switch v.kind {
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64)
	case KindString:
		return strconv.Quote(v.text)
	case KindBytes:
		return "0x" + hexOf(v.text)
	case KindBool:
		return strconv.FormatBool(v.num == 1)
	}
	return "none"
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		b = append(b, digits[s[i]>>4], digits[s[i]&15])
	}
	return string(b)
}

// Bin is one named value of a record. MaxBinName bounds the name, which is
// not empty.
type Bin struct {
	Name  string
	Value Value
}

// Clone returns b with memory of its own.
func (b Bin) Clone() Bin { return Bin{Name: strings.Clone(b.Name), Value: b.Value.Clone()} }

// viewString and viewBytes change the type without copying; whoever calls
// keeps the memory unchanged while the other view is in use.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func viewBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
