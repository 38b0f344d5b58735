package storage

import (
	"encoding/binary"
	"hash/crc32"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

// A device begins with two copies of its superblock, volumeHeader/2 apart;
// write blocks follow. A write block is a header, records at multiples of
// unit bytes, and a trailer in its last bytes once it is closed:
//
//	0          64                                          size-64     size
//	| header   | record | record | 0... | record | ... 0... | trailer  |
//
// Zeros fill what a flush left of a device block: the next record begins at
// the next one, so that nothing that was flushed is ever written again. So they
// do before a record that begins with a device block: see place.
const (
	unit         = 16
	volumeHeader = 128 << 10 // two superblocks, each in a device block of at most 64 KiB
	headerSize   = 64        // of a block's header, and of its trailer
	recordHeader = 64

	recordMagic = 0x5248 // "HR"
	blockMagic  = 0x42575248
	endMagic    = 0x45575248

	formatVersion = 1
	epochShift    = 40 // a seq is epoch << epochShift | count
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockHead is the header of a write block, and, with another magic, its
// trailer.
//
//	0       4       8        10     12      16    24    32       40        48     52
//	| magic | crc32c| format | slot | block | seq | set | synced | prevSeq | prev | zeros to 64
//	| u32   | u32   | u16    | u16  | u32   | u64 | u64 | u64    | u64     | u32  |
type blockHead struct {
	slot    uint16 // of the device in its set
	block   uint32
	seq     uint64 // epoch << 40 | count: unique to one filling of one block
	set     uint64
	synced  uint64 // header: blocks with a lower seq were whole on the medium when this one began; trailer: where the records end
	prevSeq uint64 // of the block begun before this one on the device; 0: none since it was opened
	prev    uint32 // and its number: if an older filling is found there, that write was lost
}

func (h *blockHead) put(b []byte, magic uint32) {
	clear(b[:headerSize])
	binary.LittleEndian.PutUint32(b[0:], magic)
	binary.LittleEndian.PutUint16(b[8:], formatVersion)
	binary.LittleEndian.PutUint16(b[10:], h.slot)
	binary.LittleEndian.PutUint32(b[12:], h.block)
	binary.LittleEndian.PutUint64(b[16:], h.seq)
	binary.LittleEndian.PutUint64(b[24:], h.set)
	binary.LittleEndian.PutUint64(b[32:], h.synced)
	binary.LittleEndian.PutUint64(b[40:], h.prevSeq)
	binary.LittleEndian.PutUint32(b[48:], h.prev)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:headerSize], castagnoli))
}

func (h *blockHead) parse(b []byte, magic uint32) bool {
	if binary.LittleEndian.Uint32(b) != magic || binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:headerSize], castagnoli) {
		return false
	}
	*h = blockHead{
		slot: binary.LittleEndian.Uint16(b[10:]), block: binary.LittleEndian.Uint32(b[12:]),
		seq: binary.LittleEndian.Uint64(b[16:]), set: binary.LittleEndian.Uint64(b[24:]), synced: binary.LittleEndian.Uint64(b[32:]),
		prevSeq: binary.LittleEndian.Uint64(b[40:]), prev: binary.LittleEndian.Uint32(b[48:]),
	}
	return binary.LittleEndian.Uint16(b[8:]) == formatVersion
}

// seed starts the checksums of the records of this filling of this block:
// what was here before, or lies in another block, does not verify.
func (h *blockHead) seed() uint32 {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[0:], h.set)
	binary.LittleEndian.PutUint64(b[8:], h.seq)
	binary.LittleEndian.PutUint32(b[16:], h.block)
	binary.LittleEndian.PutUint16(b[20:], h.slot)
	return crc32.Checksum(b[:], castagnoli)
}

// recordSpan is what a record with a body of n bytes takes in a block.
func recordSpan(n int) int { return (recordHeader + n + unit - 1) / unit * unit }

// stored is a record as it lies in a block.
//
//	0       2       3      4       8      12       16      24     32       52       56      60           62      64
//	| magic | flags |lifted| crc32c| size | regime | stamp | node | digest | expiry | lineage| generation | zero | body
//	| u16   | u8    | u8   | u32   | u32  | u32    | u64   | u64  | 20     | u32    | u32    | u16        | u16  | size
//
// Flags: 1 a tombstone, 2 record.Meta.Shortens, not both. The checksum covers
// all but itself, from the block's seed on, and is mixed with the record's place
// in the block.
type stored struct {
	digest  record.Digest
	meta    record.Meta
	lineage uint32 // how often the partition had been dropped
	body    []byte
}

const storedShortens = 2

// sum mixes the place into a checksum, so that a record copied to another
// place of its block does not verify.
func sum(seed uint32, b []byte, size, at int) uint32 {
	s := crc32.Update(seed, castagnoli, b[:4])
	s = crc32.Update(s, castagnoli, b[8:recordHeader+size])
	return s ^ uint32(at/unit)*0x9e3779b1
}

// put writes the record into a block at offset at; there is room.
func (r *stored) put(block []byte, at int, seed uint32) {
	b := block[at : at+recordSpan(len(r.body))]
	binary.LittleEndian.PutUint16(b[0:], recordMagic)
	b[2], b[3] = 0, r.meta.Version.Lifted
	if r.meta.Tombstone {
		b[2] = flagTombstone
	} else if r.meta.Shortens {
		b[2] = storedShortens
	}
	binary.LittleEndian.PutUint32(b[8:], uint32(len(r.body)))
	binary.LittleEndian.PutUint32(b[12:], r.meta.Version.Regime)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.meta.Version.Stamp))
	binary.LittleEndian.PutUint64(b[24:], uint64(r.meta.Version.Node))
	copy(b[32:52], r.digest[:])
	binary.LittleEndian.PutUint32(b[52:], r.meta.Expiry)
	binary.LittleEndian.PutUint32(b[56:], r.lineage)
	binary.LittleEndian.PutUint16(b[60:], r.meta.Generation)
	b[62], b[63] = 0, 0
	n := copy(b[recordHeader:], r.body)
	clear(b[recordHeader+n:])
	binary.LittleEndian.PutUint32(b[4:], sum(seed, b, n, at))
}

// parse reads the record at offset at of a block, or of the part of a block
// that begins at base. The body aliases block.
func (r *stored) parse(block []byte, base, at int, seed uint32) bool {
	b := block[at-base:]
	if len(b) < recordHeader || binary.LittleEndian.Uint16(b) != recordMagic || b[2] > storedShortens {
		return false
	}
	size := int(binary.LittleEndian.Uint32(b[8:]))
	if size > record.MaxSize || recordHeader+size > len(b) {
		return false
	}
	if binary.LittleEndian.Uint32(b[4:]) != sum(seed, b, size, at) {
		return false
	}
	r.meta = record.Meta{
		Version: record.Version{
			Regime: binary.LittleEndian.Uint32(b[12:]), Stamp: hlc.Stamp(binary.LittleEndian.Uint64(b[16:])),
			Node: cluster.NodeID(binary.LittleEndian.Uint64(b[24:])), Lifted: b[3],
		},
		Expiry: binary.LittleEndian.Uint32(b[52:]), Generation: binary.LittleEndian.Uint16(b[60:]),
		Tombstone: b[2] == flagTombstone, Shortens: b[2] == storedShortens,
	}
	if !r.meta.Version.Valid() {
		return false
	}
	r.digest = record.Digest(b[32:52])
	r.lineage = binary.LittleEndian.Uint32(b[56:])
	r.body = b[recordHeader : recordHeader+size]
	return true
}

// findings is what walking a block came to.
type findings struct {
	head    blockHead
	used    bool // the block holds a filling of this set
	closed  bool // its trailer is there
	records int
	gaps    int  // places where a record should be and is not, with more behind them
	end     int  // offset after the last record
	over    bool // a later filling had begun to replace this one when a crash came
}

// walk calls fn for each record of a block, in order. A place that does not
// verify is skipped: what is behind it is found by trying every unit.
func walk(block []byte, set uint64, slot uint16, number uint32, deviceBlock int, fn func(r *stored, at int)) findings {
	var f findings
	var end blockHead
	last := len(block) - headerSize
	f.closed = end.parse(block[last:], endMagic) && end.set == set && end.slot == slot && end.block == number
	front := f.head.parse(block, blockMagic) && f.head.set == set && f.head.slot == slot && f.head.block == number
	switch {
	case front:
		f.over = f.closed && end.seq > f.head.seq
		f.closed = f.closed && end.seq == f.head.seq
	case f.closed: // its front is damaged, its end tells
		f.head = end
		f.gaps++
	default:
		return findings{}
	}
	f.used, f.end = true, headerSize
	seed := f.head.seed()
	var r stored
	lost := 0 // bytes passed over since the last record that were not zero padding
	at := headerSize
	for at+recordHeader <= last {
		if r.parse(block[:last], 0, at, seed) {
			if lost > 0 {
				f.gaps++
				lost = 0
			}
			fn(&r, at)
			f.records++
			at += recordSpan(len(r.body))
			f.end = at
			continue
		}
		if lost == 0 && f.closed && at == int(end.synced) {
			return f
		}
		if next := (at + deviceBlock) / deviceBlock * deviceBlock; at%deviceBlock != 0 && lost == 0 && zero(block[at:min(next, last)]) {
			at = next
			continue
		}
		lost += unit
		at += unit
	}
	if f.closed && (lost > 0 || at != int(end.synced)) {
		f.gaps++
	}
	return f
}

// replaced reports whether a record of one of the n fillings from seq first on
// is in the block.
func (h blockHead) replaced(block []byte, first, n uint64) bool {
	var r stored
	seeds := make([]uint32, n)
	for i := range seeds {
		h.seq = first + uint64(i)
		seeds[i] = h.seed()
	}
	for at := headerSize; at+recordHeader <= len(block)-headerSize; at += unit {
		if binary.LittleEndian.Uint16(block[at:]) != recordMagic {
			continue
		}
		for _, seed := range seeds {
			if r.parse(block[:len(block)-headerSize], 0, at, seed) {
				return true
			}
		}
	}
	return false
}

func zero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// superblock identifies a device.
//
//	0         8       12      16    24     32      40     42      44           48       56
//	| magic   | crc32c| format| set | node | epoch | slot | slots | device     | write   | blocks | name, zero-filled
//	| HDRMDEV | u32   | u32   | u64 | u64  | u64   | u16  | u16   | block u32  | block u64| u64   | 32
type superblock struct {
	set         uint64 // of devices that belong together, random
	node        uint64
	epoch       uint64 // counts openings
	slot, slots uint16
	deviceBlock uint32
	writeBlock  uint64
	blocks      uint64
	name        string // of the namespace
}

const (
	superMagic = "HDRMDEV\x00"
	superSize  = 96
)

func (s *superblock) encode() []byte {
	b := make([]byte, superSize)
	copy(b, superMagic)
	binary.LittleEndian.PutUint32(b[12:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], s.set)
	binary.LittleEndian.PutUint64(b[24:], s.node)
	binary.LittleEndian.PutUint64(b[32:], s.epoch)
	binary.LittleEndian.PutUint16(b[40:], s.slot)
	binary.LittleEndian.PutUint16(b[42:], s.slots)
	binary.LittleEndian.PutUint32(b[44:], s.deviceBlock)
	binary.LittleEndian.PutUint64(b[48:], s.writeBlock)
	binary.LittleEndian.PutUint64(b[56:], s.blocks)
	copy(b[64:], s.name)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b
}

// decode reports whether b is a superblock, and which format it has; fields
// are set for formatVersion only.
func (s *superblock) decode(b []byte) (ok bool, format uint32) {
	if string(b[:8]) != superMagic || binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[12:superSize], castagnoli) {
		return false, 0
	}
	if format = binary.LittleEndian.Uint32(b[12:]); format != formatVersion {
		return true, format
	}
	name := b[64:96]
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	*s = superblock{
		set: binary.LittleEndian.Uint64(b[16:]), node: binary.LittleEndian.Uint64(b[24:]), epoch: binary.LittleEndian.Uint64(b[32:]),
		slot: binary.LittleEndian.Uint16(b[40:]), slots: binary.LittleEndian.Uint16(b[42:]),
		deviceBlock: binary.LittleEndian.Uint32(b[44:]), writeBlock: binary.LittleEndian.Uint64(b[48:]), blocks: binary.LittleEndian.Uint64(b[56:]),
		name: string(name),
	}
	return true, format
}
