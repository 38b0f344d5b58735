// Package device owns the qualification of one storage device: whether it
// holds its latency under the load that a log-structured engine makes, small
// random reads beside large-block writes and the reads of defragmentation. It
// judges time slices, not averages, fits a device profile, and reads what fio
// and ACT have measured. It opens no device and prints nothing.
//
// The invariant to know: the load is an open loop. Every request has an
// intended start that does not wait for the device, latency is measured from
// it, and a request that failed is beyond every limit.
//
// Start reading at Load, then Run.
package device

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"headroom/workloads/units"
)

// Kinds of requests, as they are named in files and output.
const (
	Reads       = "read"
	BlockWrites = "block-write"
	BlockReads  = "block-read"
)

// kinds in the order of printing.
var kinds = [...]string{Reads, BlockWrites, BlockReads}

// Kinds returns the names of the three streams of requests.
func Kinds() []string { return kinds[:] }

// Load is what records are read and written, and how an engine keeps them.
type Load struct {
	Rate      float64 // record reads and writes per second together
	ReadShare float64 // of Rate, 0 to 1
	Record    int     // bytes of a record on the device
	Block     int     // bytes of a write block, at most 8 MiB
	LowWater  float64 // share of live bytes below which a block is defragmented, 0 to below 1
	Align     int     // unit of reads: the device's block size
}

// One unit of ACT ("1x"): 2,000 reads and 1,000 writes of 1.5 KiB a second on
// a device, defragmented at 50 %.
const (
	ACTRate      = 3000.0
	ACTReadShare = 2.0 / 3
	ACTRecord    = 1536
	ACTBlock     = 128 << 10
	ACTLowWater  = 0.5
)

// Validate reports the first thing that makes no load.
func (l *Load) Validate() error {
	switch {
	case !(l.Rate > 0) || l.Rate > 10e6:
		return fmt.Errorf("rate %g: want above zero and at most 10M/s", l.Rate)
	case !(l.ReadShare >= 0 && l.ReadShare <= 1):
		return fmt.Errorf("share of reads %g: want 0 to 1", l.ReadShare)
	case l.Record < 1 || l.Record > l.Block:
		return fmt.Errorf("records of %d bytes: want 1 to the block's %d", l.Record, l.Block)
	case l.Align < 1 || l.Block < l.Align || l.Block > 8<<20 || l.Block%l.Align != 0:
		return fmt.Errorf("blocks of %d bytes: want a multiple of the device's %d, at most 8 MiB", l.Block, l.Align)
	case !(l.LowWater >= 0 && l.LowWater < 0.95):
		return fmt.Errorf("low-water mark %g: want 0 to below 0.95", l.LowWater)
	}
	return nil
}

// ReadSize is the size of a small read: the record's, in whole units.
func (l *Load) ReadSize() int { return (l.Record + l.Align - 1) / l.Align * l.Align }

// Rates returns the requests per second of each of Kinds. A block holds whole
// records of 16-byte units; 1/(1 - low-water mark) blocks are written for each
// block of records, because what a defragmented block still holds is written
// again, and as many are read.
func (l *Load) Rates() [3]float64 {
	stored := (l.Record + 15) / 16 * 16
	perBlock := max(l.Block/stored, 1)
	blocks := l.Rate * (1 - l.ReadShare) / float64(perBlock) / (1 - l.LowWater)
	return [3]float64{l.Rate * l.ReadShare, blocks, blocks}
}

// X is the load in units of ACT, which says something only for ACT's mix.
func (l *Load) X() float64 { return l.Rate / ACTRate }

// Limit is a share of small reads that may take longer than a time, in every
// slice.
type Limit struct {
	Over  time.Duration
	Share float64
}

// ACTLimits are those of ACT: in every slice fewer than 5 % above 1 ms, 1 %
// above 8 ms, 0.1 % above 64 ms.
func ACTLimits() []Limit {
	return []Limit{{time.Millisecond, 0.05}, {8 * time.Millisecond, 0.01}, {64 * time.Millisecond, 0.001}}
}

// String prints the limit as ParseLimit reads it.
func (l Limit) String() string {
	return strconv.FormatFloat(100*l.Share, 'g', 6, 64) + "%>" + l.Over.String()
}

// ParseLimit reads "5%>1ms": fewer than 5 % above 1 ms.
func ParseLimit(text string) (Limit, error) {
	percent, over, ok := strings.Cut(strings.ReplaceAll(text, " ", ""), "%>")
	v, err := strconv.ParseFloat(percent, 64)
	d, err2 := units.ParseDuration(over)
	if !ok || errors.Join(err, err2) != nil || !(v > 0 && v <= 100) || d <= 0 {
		return Limit{}, fmt.Errorf("limit %q: want PERCENT%%>TIME, such as 5%%>1ms: fewer than 5 %% of the reads take longer than 1 ms", text)
	}
	return Limit{Over: d, Share: v / 100}, nil
}
