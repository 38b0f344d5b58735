// Package keys owns the choice of the next record of a workload: uniform, true
// zipfian, YCSB's zipfian, latest, hotspot, exponential, zoned, sequential, and
// keys that share a partition or a node. It owns no clock, no state of the run
// and no randomness of its own.
//
// The invariant to know: a Chooser draws from [0, n) only, n being the number
// of records that are acknowledged at that moment, so a workload never asks
// for a record that was not written. True zipfian and hotspot keys are spread
// by a bijection (Scramble), so each rank is exactly one key: nothing merges,
// and the hot keys can be named.
//
// Start reading at Chooser.
package keys

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
)

// Chooser draws the next key number from [0, n), n > 0. Not safe for
// concurrent use: each lane has its own Chooser and its own rand.
type Chooser interface {
	Next(r *rand.Rand, n uint64) uint64
}

// The distributions.
const (
	Uniform      = "uniform"       // every record alike
	Zipfian      = "zipfian"       // exact, any exponent above zero, hot keys spread
	YCSBZipfian  = "ycsb-zipfian"  // YCSB's, bit for bit: much milder than its exponent says
	Latest       = "latest"        // zipfian from the newest record backwards
	Hotspot      = "hotspot"       // hot-fraction of the keys get hot-share of the draws, spread
	Exponential  = "exponential"   // YCSB's: percentile % of the draws hit the newest fraction of the keys
	Zoned        = "zoned"         // fio's: SHARE:KEYS in percent, from the first key on
	Sequential   = "sequential"    // one key after the other, over all lanes, then from the start
	HotPartition = "hot-partition" // hot-share of the draws hit keys of hot-partitions partitions
	HotNode      = "hot-node"      // hot-share of the draws hit keys that one node masters
)

// Distributions lists the names New knows.
var Distributions = []string{Uniform, Zipfian, YCSBZipfian, Latest, Hotspot, Exponential, Zoned, Sequential, HotPartition, HotNode}

// Limits of a Spec.
const (
	exponentMax = 10
	zonesMax    = 64
)

// Zone is one part of a zoned distribution, both in percent.
type Zone struct{ Share, Keys float64 }

// Spec says which Chooser to make. Fields that a distribution does not use are
// ignored.
type Spec struct {
	// Distribution is one of Distributions.
	Distribution string
	// Exponent of zipfian and latest, above 0; ycsb-zipfian has 0.99 only.
	Exponent float64
	// HotFraction of the keys get HotShare of the draws (hotspot), both in (0,
	// 1). HotShare is also the share of Hot.
	HotFraction, HotShare float64
	// Percentile percent of the draws fall on the newest Fraction of the keys
	// (exponential).
	Percentile, Fraction float64
	// Zones of zoned; shares and keys each sum to 100.
	Zones []Zone
	// Hot are the keys of the hot partitions or node, ascending; see HotKeys.
	Hot []uint64
	// Records is the population when the load ends: zipfian, hotspot and zoned
	// draw from these and not from later inserts, so that the hot keys stay the
	// same.
	Records uint64
	// Seed picks which keys are hot.
	Seed uint64
	// Lane of Lanes this chooser is for (sequential); zero Lanes means one.
	Lane, Lanes int
}

// Validate reports what New would refuse, Hot apart.
func (s *Spec) Validate() error {
	share := func(name string, v float64) error {
		if !(v > 0 && v < 1) {
			return fmt.Errorf("%s %v: want a fraction above 0 and below 1", name, v)
		}
		return nil
	}
	if s.Records == 0 {
		return fmt.Errorf("no records to choose from")
	}
	switch s.Distribution {
	case Uniform, YCSBZipfian, Sequential:
		return nil
	case Zipfian, Latest:
		if !(s.Exponent > 0 && s.Exponent <= exponentMax) {
			return fmt.Errorf("exponent %v: want above 0 and at most %d", s.Exponent, exponentMax)
		}
		return nil
	case Hotspot:
		if err := share("hot-fraction", s.HotFraction); err != nil {
			return err
		}
		return share("hot-share", s.HotShare)
	case Exponential:
		if !(s.Percentile > 0 && s.Percentile < 100) {
			return fmt.Errorf("percentile %v: want above 0 and below 100", s.Percentile)
		}
		if !(s.Fraction > 0 && s.Fraction <= 1) {
			return fmt.Errorf("fraction %v: want above 0 and at most 1", s.Fraction)
		}
		return nil
	case Zoned:
		return checkZones(s.Zones, s.Records)
	case HotPartition, HotNode:
		return share("hot-share", s.HotShare)
	}
	return fmt.Errorf("unknown distribution %q, want one of %s", s.Distribution, strings.Join(Distributions, ", "))
}

func checkZones(zones []Zone, records uint64) error {
	if len(zones) == 0 || len(zones) > zonesMax {
		return fmt.Errorf("zones: %d, want 1 to %d, such as 60:10,30:20,10:70", len(zones), zonesMax)
	}
	var share, keys float64
	for _, z := range zones {
		if !(z.Share > 0 && z.Keys > 0) {
			return fmt.Errorf("zones: %v:%v, want SHARE:KEYS above zero, in percent", z.Share, z.Keys)
		}
		if uint64(z.Keys/100*float64(records)) == 0 {
			return fmt.Errorf("zones: %v %% of %d records is not one record", z.Keys, records)
		}
		share, keys = share+z.Share, keys+z.Keys
	}
	if math.Abs(share-100) > 0.001 || math.Abs(keys-100) > 0.001 {
		return fmt.Errorf("zones: shares sum to %.4g and keys to %.4g percent, want 100 each", share, keys)
	}
	return nil
}

// New returns the Chooser for s, or an error that names the accepted values.
func New(s Spec) (Chooser, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	switch s.Distribution {
	case Zipfian:
		return &zipfian{zipf: NewZipf(s.Records, s.Exponent), mix: NewScramble(s.Records, s.Seed)}, nil
	case YCSBZipfian:
		return &ycsb{gray: newGray(ycsbItems, ycsbTheta, ycsbZeta)}, nil
	case Latest:
		return &latest{zipf: NewZipf(s.Records, s.Exponent)}, nil
	case Hotspot:
		hot := uint64(max(1, math.Round(s.HotFraction*float64(s.Records))))
		return &hotspot{hot: min(hot, s.Records), n: s.Records, share: s.HotShare, mix: NewScramble(s.Records, s.Seed)}, nil
	case Exponential:
		return &exponential{gamma: -math.Log1p(-s.Percentile/100) / (float64(s.Records) * s.Fraction)}, nil
	case Zoned:
		return newZoned(s.Zones, s.Records), nil
	case Sequential:
		return &sequential{at: uint64(s.Lane), by: uint64(max(s.Lanes, 1))}, nil
	case HotPartition, HotNode:
		if len(s.Hot) == 0 {
			return nil, fmt.Errorf("keys: %s: none of the %d records is in the hot place", s.Distribution, s.Records)
		}
		return &hotList{hot: s.Hot, share: s.HotShare}, nil
	}
	return uniform{}, nil
}

type uniform struct{}

func (uniform) Next(r *rand.Rand, n uint64) uint64 { return r.Uint64N(n) }

type zipfian struct {
	zipf Zipf
	mix  Scramble
}

func (z *zipfian) Next(r *rand.Rand, n uint64) uint64 {
	return z.mix.Map(z.zipf.Rank(r)-1) % n // n < records only before the load ends
}

type latest struct{ zipf Zipf }

func (l *latest) Next(r *rand.Rand, n uint64) uint64 {
	if n != l.zipf.n {
		l.zipf = NewZipf(n, l.zipf.s) // O(1): a few powers
	}
	return n - l.zipf.Rank(r)
}

type hotspot struct {
	hot, n uint64
	share  float64
	mix    Scramble
}

func (h *hotspot) Next(r *rand.Rand, n uint64) uint64 {
	k := r.Uint64N(h.hot)
	if h.n > h.hot && r.Float64() >= h.share {
		k = h.hot + r.Uint64N(h.n-h.hot)
	}
	return h.mix.Map(k) % n
}

// exponential counts back from the newest record; what would lie before the
// first is drawn again, as in YCSB.
type exponential struct{ gamma float64 }

func (e *exponential) Next(r *rand.Rand, n uint64) uint64 {
	for {
		if back := r.ExpFloat64() / e.gamma; back < float64(n) {
			return n - 1 - uint64(back)
		}
	}
}

// zoned draws a zone by its share, then one of its keys alike.
type zoned struct {
	cumul []float64 // of shares, the last one 1
	ends  []uint64  // behind the last key of each zone
}

func newZoned(zones []Zone, records uint64) *zoned {
	z := &zoned{}
	var share, keys float64
	for _, v := range zones {
		share, keys = share+v.Share/100, keys+v.Keys/100
		z.cumul = append(z.cumul, share)
		z.ends = append(z.ends, uint64(math.Round(keys*float64(records))))
	}
	z.cumul[len(zones)-1], z.ends[len(zones)-1] = 1, records
	return z
}

func (z *zoned) Next(r *rand.Rand, n uint64) uint64 {
	u, i, from := r.Float64(), 0, uint64(0)
	for u >= z.cumul[i] {
		from = z.ends[i]
		i++
	}
	return (from + r.Uint64N(z.ends[i]-from)) % n
}

// sequential gives lane i the keys i, i+lanes, …: together the lanes go
// through all keys in order.
type sequential struct{ at, by uint64 }

func (s *sequential) Next(_ *rand.Rand, n uint64) uint64 {
	k := s.at % n
	s.at += s.by
	return k
}

// hotList gives share of the draws to the listed keys and the rest to all keys
// alike, the listed ones included.
type hotList struct {
	hot   []uint64 // ascending
	share float64
}

func (h *hotList) Next(r *rand.Rand, n uint64) uint64 {
	if r.Float64() >= h.share {
		return r.Uint64N(n)
	}
	hot := len(h.hot)
	if h.hot[hot-1] >= n { // before the load ends
		if hot = sort.Search(hot, func(i int) bool { return h.hot[i] >= n }); hot == 0 {
			return r.Uint64N(n)
		}
	}
	return h.hot[r.IntN(hot)]
}

// Limits of HotKeys: a digest costs 0.4 us, so that the search ends within
// two seconds; more hot keys than that are not told apart from all.
const (
	hotScanMax = 4 << 20
	hotKeysMax = 1 << 16
)

// HotKeys returns the keys below records that pick says are in the hot place,
// ascending, at most 65536 of the first 4 million.
func HotKeys(records uint64, pick func(key uint64) bool) []uint64 {
	var hot []uint64
	for k := range min(records, hotScanMax) {
		if pick(k) {
			if hot = append(hot, k); len(hot) == hotKeysMax {
				break
			}
		}
	}
	return hot
}
