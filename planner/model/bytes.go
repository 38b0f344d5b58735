package model

import (
	"errors"
	"math"
	"math/bits"

	"headroom/node/cluster"
	"headroom/node/record"
)

// Record is the shape of a record: what its bytes depend on. Sizes are in
// bytes.
type Record struct {
	Value   int // of all bins together, shared evenly; at least 0
	Bins    int // 0 means 1
	BinName int // of each name; 0 means 1
	Set     int // of the set's name; 0 is no set
	Key     int // of a stored key; 0 means it is not stored
	Tomb    bool
}

// BodyBytes is the length of the record's flat encoding, exactly what
// record.AppendBody makes of it (the tests compare), without making it. The
// error is one of package record's.
func (r Record) BodyBytes() (int, error) {
	if r.Tomb {
		return 0, nil
	}
	nbins, name := max(r.Bins, 1), max(r.BinName, 1)
	switch {
	case r.Value < 0:
		return 0, errors.New("model: a value below 0 bytes")
	case r.Set > record.MaxSet:
		return 0, record.ErrSet
	case name > record.MaxBinName:
		return 0, record.ErrBinName
	case nbins > record.MaxBins:
		return 0, record.ErrBins
	}
	n := 1 + r.Set + uvarint(nbins)
	if r.Key > 0 {
		n += 1 + uvarint(r.Key) + r.Key
	}
	each, more := r.Value/nbins, r.Value%nbins
	n += nbins*(1+name) + r.Value + more*uvarint(each+1) + (nbins-more)*uvarint(each)
	if n > record.MaxSize {
		return 0, record.ErrTooBig
	}
	return n, nil
}

// uvarint is the bytes of n as a base-128 number.
func uvarint(n int) int { return max((bits.Len(uint(n))+6)/7, 1) }

// The memory engine's layout (node/storage, index.go and slab.go; the tests
// compare with a running engine).
const (
	IndexEntryBytes = 64 // one record in the primary index
	tableMinBits    = 6
	tableMaxBits    = 18
)

// SlotBytes is what the memory engine uses for a body of n bytes: every 16
// bytes up to 1 KiB, then eight sizes per doubling.
func SlotBytes(n int) int {
	const small, step = 1 << 10, 16
	if n <= small {
		return (n + step - 1) / step * step
	}
	eighth := 1 << (bits.Len(uint(n-1)) - 4)
	return (n + eighth - 1) / eighth * eighth
}

// IndexBytes is what the primary index takes for one copy of a partition of
// that many records: an entry each, and the partition's hash table.
func IndexBytes(records int) int {
	if records <= 0 {
		return 0
	}
	b := min(max(bits.Len(uint(records-1)), tableMinBits), tableMaxBits)
	return records*IndexEntryBytes + SlotBytes(4<<b)
}

// ClusterIndexBytes is the primary index of one copy of a whole namespace of
// that many records, as expected of records that spread over the partitions at
// random: a partition doubles its table when it has more records than buckets,
// which some do before the mean does.
func ClusterIndexBytes(records float64) float64 {
	if records <= 0 {
		return 0
	}
	per := records / cluster.Partitions
	table := 0.0
	last := 0.0 // probability that the table has more than 2^b buckets
	for b := tableMaxBits; b >= tableMinBits; b-- {
		more := 1.0
		if b > tableMinBits {
			more = beyond(per, float64(int(1)<<(b-1)))
		}
		table += (more - last) * float64(SlotBytes(4<<b))
		last = more
	}
	return records*IndexEntryBytes + cluster.Partitions*-math.Expm1(-per)*table
}

// Fullest is how many records the fullest of so many nodes holds, expected, if
// each is to hold a share of them: keys fall on partitions at random. The
// greatest of n independent normal deviates is near the quantile
// (n - 0.375)/(n + 0.25) of one (Blom 1958); these add up to the records, which
// spreads them by n/(n - 1) more.
func Fullest(records, share float64, nodes int) float64 {
	mean := records * share
	if nodes < 2 || share >= 1 || mean <= 0 {
		return mean
	}
	p := (float64(nodes) - 0.375) / (float64(nodes) + 0.25)
	variance := mean * (1 - share) * float64(nodes) / float64(nodes-1)
	return mean + math.Sqrt(variance)*math.Sqrt2*math.Erfinv(2*p-1)
}

// beyond is the probability that a partition of on average per records has
// more than n.
func beyond(per, n float64) float64 {
	return math.Erfc((n+0.5-per)/math.Sqrt(2*per)) / 2
}

// The flash engine's layout (node/storage, format.go): a record is a header
// and its body, rounded up; records fill write blocks between a header and a
// trailer.
const (
	flashHeader = 64
	flashUnit   = 16
	writeBlock  = 1 << 20 // the default
	blockFrame  = 128
)

// FlashBytes is what a body of n bytes takes in a write block.
func FlashBytes(n int) int { return (flashHeader + n + flashUnit - 1) / flashUnit * flashUnit }

// MigratedBytes is what a migrated record takes beside its body, and what its
// rate counts: digest 20, metadata 27, length 4 (node/migrate).
const MigratedBytes = 51

// PageBytes is the unit in which devices are read; a record begins at any
// multiple of flashUnit.
const PageBytes = 4096

// ReadPages is how many pages a read of a body of n bytes touches on average:
// a record of 1,104 bytes lies across two of them once in four times.
func ReadPages(n int) float64 { return float64(FlashBytes(n)+PageBytes-flashUnit) / PageBytes }

// The engine keeps the blocks flushed last for reads (node/storage, volume.go).
const (
	cacheBytes = 32 << 20
	cacheShare = 128 // of the device, one block at least
)

// CachedBytes is how many bytes of records a device of that size and write
// block leaves in memory: the blocks flushed last and the one being filled,
// half full on average.
func CachedBytes(device, block int64) float64 {
	return float64(max(min(cacheBytes, device/cacheShare)/block*block, block)) + float64(block)/2
}

// BlockShare is the device bytes per byte of FlashBytes(n): no record spans
// two blocks, so large ones leave a part of theirs empty.
func BlockShare(n int) float64 {
	span := FlashBytes(n)
	if span > writeBlock-blockFrame {
		return 1 + float64(blockFrame)/float64(span) // a larger block must be configured; taken as full
	}
	return writeBlock / float64((writeBlock-blockFrame)/span*span)
}
