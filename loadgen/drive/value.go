package drive

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"

	"headroom/workloads"
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
//	40     filler: per block of 4 KiB first random bytes, then one word repeated
//
// Size and filler are functions of key and sequence. The share of random bytes
// gives the workload's compression ratio; the word, with which the random bytes
// are combined too, differs from value to value, so that no value helps to
// compress another.
const (
	headerSize = 40
	crcAt      = 36
	valueMagic = 0x31765248
	poolSize   = 4 << 20 // filler is cut from a pool: drawing it would cost 1 ns per 2 bytes
	fillBlock  = 4 << 10
	// What zstd makes of the header among its like (measured: checksum, low
	// bytes of time, key and sequence), and of the seam of a block's two parts.
	headerDense = 14
	seamDense   = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a value says about itself.
type header struct {
	writer   uint32
	seq      uint32
	key      uint64
	intended int64
}

// filler makes values; read-only once made.
type filler struct {
	pool  []byte
	size  workloads.Size
	ratio float64
}

func newFiller(w *workloads.Workload, seed uint64) *filler {
	f := &filler{pool: make([]byte, poolSize), size: w.ValueSize, ratio: w.CompressionRatio}
	rng := rand.NewPCG(seed, 0x6a09e667f3bcc908)
	for i := 0; i+8 <= len(f.pool); i += 8 {
		binary.LittleEndian.PutUint64(f.pool[i:], rng.Uint64())
	}
	return f
}

// put writes the value for h into buf, which has room for the largest, and
// returns it. A value shorter than the header holds filler only: it cannot be
// audited.
func (f *filler) put(buf []byte, h header) []byte {
	word := mix(h.key ^ uint64(h.seq)<<40)
	buf = buf[:f.size.At(mix(word))]
	if len(buf) < headerSize {
		f.fill(buf, word, float64(len(buf))/f.ratio)
		return buf
	}
	f.fill(buf[headerSize:], word, float64(len(buf))/f.ratio-headerDense)
	stamp(buf, h)
	return buf
}

// stamp writes the header over the filler.
func stamp(buf []byte, h header) {
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

// fill writes filler of which dense bytes in all do not compress.
func (f *filler) fill(buf []byte, word uint64, dense float64) {
	share := 1.0
	if f.ratio > 1 {
		share = max(0, dense/float64(max(len(buf), 1)))
	}
	from := word % uint64(len(f.pool)-fillBlock) &^ 7
	for len(buf) > 0 {
		block := buf[:min(fillBlock, len(buf))]
		buf = buf[len(block):]
		random := len(block)
		if share < 1 {
			random = max(0, int(share*float64(len(block)))-seamDense)
		}
		xor(block[:random], f.pool[from:], word)
		repeat(block[random:], word)
		from = (from + fillBlock) % uint64(len(f.pool)-fillBlock) &^ 7
	}
}

// xor fills dst with src, word by word combined with word.
func xor(dst, src []byte, word uint64) {
	le := binary.LittleEndian
	for ; len(dst) >= 8; dst, src = dst[8:], src[8:] {
		le.PutUint64(dst, le.Uint64(src)^word)
	}
	for i := range dst {
		dst[i] = src[i] ^ byte(word>>(8*i))
	}
}

// repeat fills dst with word again and again.
func repeat(dst []byte, word uint64) {
	for ; len(dst) >= 8; dst = dst[8:] {
		binary.LittleEndian.PutUint64(dst, word)
	}
	for i := range dst {
		dst[i] = byte(word >> (8 * i))
	}
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
