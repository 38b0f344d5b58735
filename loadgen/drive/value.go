package drive

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// The value of every record, little-endian:
//
//	 0  4  magic "HRv1"
//	 4  4  length of the whole value
//	 8  4  writer: the run that wrote it
//	12  4  sequence of the write among those of its key, from 1
//	16  8  key
//	24  8  intended start of the write, ns since 1970
//	32  4  zero
//	36  4  CRC-32C of all other bytes of the value
//	40     filler, random, so that it neither compresses nor deduplicates
const (
	headerSize = 40
	crcAt      = 36
	valueMagic = 0x31765248
	poolSize   = 4 << 20 // filler is cut from a pool: drawing it would cost 1 ns per 2 bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a value says about itself.
type header struct {
	writer   uint32
	seq      uint32
	key      uint64
	intended int64
}

// filler is the pool that values are cut from; read-only once made.
type filler []byte

func newFiller(seed uint64) filler {
	pool := make([]byte, poolSize)
	rng := rand.NewPCG(seed, 0x6a09e667f3bcc908)
	for i := 0; i+8 <= len(pool); i += 8 {
		binary.LittleEndian.PutUint64(pool[i:], rng.Uint64())
	}
	return pool
}

// put writes a value for h over all of buf. A buf shorter than the header
// holds filler only: it cannot be audited.
func (f filler) put(buf []byte, h header) {
	from := int(mix(h.key^uint64(h.seq)<<40) % uint64(len(f)-len(buf)))
	copy(buf, f[from:])
	if len(buf) < headerSize {
		return
	}
	le := binary.LittleEndian
	le.PutUint32(buf, valueMagic)
	le.PutUint32(buf[4:], uint32(len(buf)))
	le.PutUint32(buf[8:], h.writer)
	le.PutUint32(buf[12:], h.seq)
	le.PutUint64(buf[16:], h.key)
	le.PutUint64(buf[24:], uint64(h.intended))
	le.PutUint32(buf[32:], 0)
	le.PutUint32(buf[crcAt:], checksum(buf))
}

// parse returns the header of a value; ok is false when any byte is not as it
// was written.
func parse(buf []byte) (h header, ok bool) {
	if len(buf) < headerSize {
		return h, false
	}
	le := binary.LittleEndian
	if le.Uint32(buf) != valueMagic || int(le.Uint32(buf[4:])) != len(buf) || le.Uint32(buf[crcAt:]) != checksum(buf) {
		return h, false
	}
	return header{writer: le.Uint32(buf[8:]), seq: le.Uint32(buf[12:]), key: le.Uint64(buf[16:]),
		intended: int64(le.Uint64(buf[24:]))}, true
}

func checksum(buf []byte) uint32 {
	sum := crc32.Update(0, castagnoli, buf[:crcAt])
	return crc32.Update(sum, castagnoli, buf[crcAt+4:])
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
