package record

import (
	"encoding/binary"
	"errors"
	"hash"
	"sync"

	//lint:ignore SA1019 chosen for the digests of the ecosystem's clients, not for security
	"golang.org/x/crypto/ripemd160"
)

// Key types as they enter the digest. They are those of the Aerospike
// ecosystem's clients, so that the same set and key have the same digest and
// partition here and there.
const (
	KeyInt    byte = 1
	KeyString byte = 3
	KeyBytes  byte = 4
)

// ErrKey refuses a key that is neither an int, a string nor bytes.
var ErrKey = errors.New("record: a key is an int, a string or bytes")

// NewDigest returns the digest of the record with this set ("" for none) and
// key: RIPEMD-160 over the set's bytes, the key type and the key's bytes, an
// int as 8 bytes big-endian. Errors are ErrKey and ErrSet. It does not
// allocate.
func NewDigest(set string, key Value) (Digest, error) {
	if len(set) > MaxSet {
		return Digest{}, ErrSet
	}
	switch key.kind {
	case KindInt:
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], key.num)
		return DigestOf(set, KeyInt, b[:]), nil
	case KindString:
		return DigestOf(set, KeyString, viewBytes(key.text)), nil
	case KindBytes:
		return DigestOf(set, KeyBytes, viewBytes(key.text)), nil
	}
	return Digest{}, ErrKey
}

// DigestOf is NewDigest for a key that is already bytes; it checks nothing
// and neither keeps nor changes key.
func DigestOf(set string, keyType byte, key []byte) Digest {
	h := hashers.Get().(*hasher)
	h.in = append(append(append(h.in[:0], set...), keyType), key...)
	h.ripemd.Reset()
	h.ripemd.Write(h.in)
	sum := h.ripemd.Sum(h.in[:0])
	d := Digest(sum)
	if cap(h.in) <= keptInput {
		hashers.Put(h)
	}
	return d
}

// keptInput bounds the buffer a pooled hasher may keep: a set and any sane
// key, not the one odd megabyte.
const keptInput = 4 << 10

// hasher is one hash state with the memory for its input and sum, which
// would otherwise be allocated for every digest.
type hasher struct {
	ripemd hash.Hash
	in     []byte
}

// hashers is a cache of hash states, not state: any of them gives the same
// digests.
var hashers = sync.Pool{New: func() any {
	return &hasher{ripemd: ripemd160.New(), in: make([]byte, 0, 128)}
}}
