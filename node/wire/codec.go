// Package wire owns every message that crosses a process boundary: its
// layout, its codec and its limits. It knows nothing of sockets and keeps no
// state. Integers are little-endian and fixed width unless a comment says
// uvarint.
//
// The invariant to know: decoding never allocates from a length on the wire
// before that many bytes have arrived, never panics, and rejects trailing
// bytes, so what was decoded encodes back to the same bytes.
//
// Start reading at Header, then the message files: pulse.go (heartbeat),
// view.go (membership), data.go (records between nodes), request.go (clients).
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Frame layout on a QUIC stream:
//
//	0        4     5      6        8            16
//	| length | kind| flags| zero   | id         | payload (length bytes) |
//	  u32      u8    u8     u16      u64
const (
	HeaderSize = 16
	// MaxPayload bounds one frame: a 1 MiB record with its headroom, or a
	// migration batch. Readers refuse a longer length before allocating.
	MaxPayload = 1<<20 + 64<<10
)

// Header precedes every frame on a stream.
type Header struct {
	Length uint32 // payload bytes that follow
	Kind   Kind
	Flags  uint8
	ID     uint64 // pairs a reply with its request; the sender's choice
}

// Kind says what a frame's payload is.
type Kind uint8

// ErrFrame is wrapped by every error of a frame or message that does not
// parse. The connection it came from cannot be trusted further.
var ErrFrame = errors.New("wire: malformed frame")

// AppendHeader appends h to b.
func AppendHeader(b []byte, h Header) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.Length)
	b = append(b, byte(h.Kind), h.Flags, 0, 0)
	return binary.LittleEndian.AppendUint64(b, h.ID)
}

// PutLength fills in the length of the frame that starts at b[at], once its
// payload has been appended.
func PutLength(b []byte, at int) {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-HeaderSize))
}

// ParseHeader reads the header at the front of b, which must hold HeaderSize
// bytes.
func ParseHeader(b []byte) (Header, error) {
	h := Header{Length: binary.LittleEndian.Uint32(b), Kind: Kind(b[4]), Flags: b[5], ID: binary.LittleEndian.Uint64(b[8:])}
	if h.Length > MaxPayload {
		return h, fmt.Errorf("%w: payload of %d bytes, limit %d", ErrFrame, h.Length, MaxPayload)
	}
	if b[6] != 0 || b[7] != 0 {
		return h, fmt.Errorf("%w: reserved bytes are not zero", ErrFrame)
	}
	return h, nil
}

// Reader takes values off the front of a payload. After the first short read
// every further call gives zero values; check Done once at the end.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads from b, which it does not copy: byte slices it returns
// alias b.
func NewReader(b []byte) Reader { return Reader{b: b} }

func (r *Reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrFrame, what)
	}
	r.b = nil
}

// Fail marks the payload as malformed, for rules the caller checks itself.
func (r *Reader) Fail(what string) { r.fail(what) }

// Err returns the first error so far.
func (r *Reader) Err() error { return r.err }

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

func (r *Reader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.fail("truncated")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

// Bool reads a byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	v := r.U8()
	if v > 1 {
		r.fail("boolean is neither 0 nor 1")
	}
	return v == 1
}

// U16 reads two bytes.
func (r *Reader) U16() uint16 {
	if v := r.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

// U32 reads four bytes.
func (r *Reader) U32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// U64 reads eight bytes.
func (r *Reader) U64() uint64 {
	if v := r.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

// Uvarint reads a variable-length integer in its shortest form.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("bad uvarint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count reads a uvarint that says how many items follow, each at least
// minSize bytes; it fails if the rest of the payload cannot hold them or they
// exceed limit.
func (r *Reader) Count(limit, minSize int) int {
	n := r.Uvarint()
	if n > uint64(limit) || n*uint64(max(minSize, 1)) > uint64(len(r.b)) {
		r.fail("count beyond the limit or the payload")
		return 0
	}
	return int(n)
}

// Bytes reads a uvarint length and that many bytes, at most limit. The slice
// aliases the payload.
func (r *Reader) Bytes(limit int) []byte {
	n := r.Uvarint()
	if n > uint64(limit) {
		r.fail("byte string beyond its limit")
		return nil
	}
	return r.take(int(n))
}

// String reads a uvarint length and that many bytes, at most limit.
func (r *Reader) String(limit int) string { return string(r.Bytes(limit)) }

// Fixed fills dst from the payload.
func (r *Reader) Fixed(dst []byte) { copy(dst, r.take(len(dst))) }

// Rest returns everything left; it aliases the payload.
func (r *Reader) Rest() []byte { return r.take(len(r.b)) }

// Done returns the first error, or an error if bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d bytes left over", len(r.b)))
	}
	return r.err
}

// The append functions mirror Reader; each returns the extended slice.

// AppendBool appends 1 or 0.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendU16 appends two bytes.
func AppendU16(b []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(b, v) }

// AppendU32 appends four bytes.
func AppendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// AppendU64 appends eight bytes.
func AppendU64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// AppendUvarint appends v in its shortest form.
func AppendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendBytes appends a uvarint length and v.
func AppendBytes(b, v []byte) []byte { return append(AppendUvarint(b, uint64(len(v))), v...) }

// AppendString appends a uvarint length and v.
func AppendString(b []byte, v string) []byte { return append(AppendUvarint(b, uint64(len(v))), v...) }
