// Package workloads owns what a load test does: the definition of a workload,
// its strict YAML form, the shipped definitions (ycsb-a to ycsb-f) and
// overrides by key. It draws no keys (keys does) and sends nothing.
//
// The invariant to know: a Workload that Parse or Load returned and that
// Validate accepts prints (YAML) and parses back to itself, and SHA256 is over
// that text, so equal hashes mean equal work.
//
// Start reading at Workload, then the table in fields.go.
package workloads

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"headroom/workloads/keys"
)

// Op is a kind of operation of a workload.
type Op uint8

// The operations. Put writes a whole record without reading; update is the
// same under YCSB's name; read-modify-write reads, then writes, and is timed
// as one; insert writes a record that did not exist; operate adds one to a
// counter of the record and reads it, in one request; touch renews the time to
// live; the batches get or put batch-size records in one request.
const (
	Get Op = iota
	Put
	Update
	ReadModifyWrite
	Insert
	Scan
	Delete
	Operate
	Touch
	BatchGet
	BatchPut
	Ops // the number of operations
)

var opNames = [Ops]string{"get", "put", "update", "read-modify-write", "insert", "scan", "delete", "operate", "touch",
	"batch-get", "batch-put"}

// String gives the name used in files, flags and run folders.
func (o Op) String() string {
	if o >= Ops {
		return fmt.Sprintf("op(%d)", o)
	}
	return opNames[o]
}

// Limits on a workload.
const (
	// MaxRecords keeps the audit's table (16 bytes a key) below 64 GiB.
	MaxRecords = 4_000_000_000
	// MaxValueSize is the node's limit on a record, less its own header.
	MaxValueSize = 1<<20 - 1024
	// MaxScanLength bounds the answer to one scan.
	MaxScanLength = 10_000
	// MaxBatchSize is what a node takes in one request.
	MaxBatchSize = 1000
	// MaxCompressionRatio is that of a value whose audit header is most of
	// what remains.
	MaxCompressionRatio = 100
	faultsMax           = 100
)

// Workload is what is done to the target, apart from how fast and how long.
type Workload struct {
	Name      string
	Records   int64 // loaded before the measurement
	ValueSize Size  // of every value, the audit header included
	// CompressionRatio is the size of a value over what a good general
	// compressor makes of it; 1 does not compress.
	CompressionRatio float64
	// Mix holds the share of each operation in percent; they sum to 100.
	Mix  [Ops]float64
	Keys KeySpec
	// ScanLength is the greatest length of a scan; lengths are uniform from 1.
	ScanLength int
	// BatchSize is the number of records of a batch.
	BatchSize int
	// TTL is given with every write and touch; zero means records never expire.
	TTL time.Duration
	// Stages divide the measured phase; none means that it is all alike.
	Stages []Stage
	// Faults are what happens to local nodes meanwhile, in the form of --fault;
	// an instant may be a percentage of the measured phase: "kill node3 @40%".
	Faults []string
}

// KeySpec says which records are asked for. See keys.Spec.
type KeySpec struct {
	Distribution  string
	Exponent      float64
	HotFraction   float64
	HotShare      float64
	Percentile    float64
	Fraction      float64
	Zones         []keys.Zone
	HotPartitions int // how many (hot-partition)
	HotNode       int // which, counted from 1 in the target's order (hot-node)
}

// Place says for which lane of a run a chooser is made. The zero value is the
// only lane of a run whose seed is zero.
type Place struct {
	Seed        uint64   // the same for all lanes of a run, so that they share their hot keys
	Lane, Lanes int      // zero lanes means one
	Hot         []uint64 // keys of the hot partitions or node, for distributions with Placed
}

// Placed reports whether the distribution depends on where the target keeps a
// record.
func (k *KeySpec) Placed() bool {
	return k.Distribution == keys.HotPartition || k.Distribution == keys.HotNode
}

// Chooser returns a fresh key chooser for one lane.
func (w *Workload) Chooser(at Place) (keys.Chooser, error) { return keys.New(w.keySpec(at)) }

func (w *Workload) keySpec(at Place) keys.Spec {
	k := &w.Keys
	return keys.Spec{Distribution: k.Distribution, Exponent: k.Exponent, HotFraction: k.HotFraction, HotShare: k.HotShare,
		Percentile: k.Percentile, Fraction: k.Fraction, Zones: k.Zones, Hot: at.Hot, Records: uint64(max(w.Records, 0)), Seed: at.Seed,
		Lane: at.Lane, Lanes: at.Lanes}
}

// withDefaults returns the workload from which every file starts. 95 and 6/7
// are YCSB's defaults of the exponential distribution.
func withDefaults() Workload {
	return Workload{Records: 100_000, ValueSize: FixedSize(100), CompressionRatio: 1, ScanLength: 100, BatchSize: 10,
		Keys: KeySpec{Distribution: "uniform", Exponent: 0.99, HotFraction: 0.2, HotShare: 0.8, Percentile: 95,
			Fraction: 0.8571428571, HotPartitions: 1, HotNode: 1}}
}

// Validate reports the first thing that makes the workload unusable.
func (w *Workload) Validate() error {
	switch {
	case w.Name == "":
		return fmt.Errorf("name: missing")
	case w.Records < 1 || w.Records > MaxRecords:
		return fmt.Errorf("records: %d, want 1 to %d", w.Records, int64(MaxRecords))
	case w.ScanLength < 1 || w.ScanLength > MaxScanLength:
		return fmt.Errorf("scan-length: %d, want 1 to %d", w.ScanLength, MaxScanLength)
	case w.BatchSize < 1 || w.BatchSize > MaxBatchSize:
		return fmt.Errorf("batch-size: %d, want 1 to %d", w.BatchSize, MaxBatchSize)
	case !(w.CompressionRatio >= 1 && w.CompressionRatio <= MaxCompressionRatio):
		return fmt.Errorf("compression-ratio: %v, want 1 (not compressible) to %d (size over compressed size)", w.CompressionRatio,
			MaxCompressionRatio)
	case len(w.Faults) > faultsMax:
		return fmt.Errorf("faults: %d, want at most %d", len(w.Faults), faultsMax)
	}
	if err := w.ValueSize.Validate(); err != nil {
		return fmt.Errorf("value-size: %w", err)
	}
	if err := checkMix(w.Mix); err != nil {
		return err
	}
	if err := w.validateStages(); err != nil {
		return err
	}
	if w.Keys.Distribution == keys.HotPartition && w.Keys.HotPartitions < 1 || w.Keys.Distribution == keys.HotNode && w.Keys.HotNode < 1 {
		return fmt.Errorf("keys.%ss: want 1 or more", w.Keys.Distribution)
	}
	spec := w.keySpec(Place{})
	if err := spec.Validate(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

// YAML prints the workload in its canonical form: the keys that every workload
// has, then those that differ from their defaults, in a fixed order.
func (w *Workload) YAML() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nname: %s\nrecords: %d\nvalue-size: %v\nmix:\n", strconv.Quote(w.Name), w.Records, w.ValueSize)
	for op, share := range w.Mix {
		if share > 0 {
			fmt.Fprintf(&b, "  %v: %s\n", Op(op), number(share))
		}
	}
	fmt.Fprintf(&b, "keys:\n  distribution: %s\n  exponent: %s\n  hot-fraction: %s\n  hot-share: %s\n", w.Keys.Distribution,
		number(w.Keys.Exponent), number(w.Keys.HotFraction), number(w.Keys.HotShare))
	d := withDefaults()
	differs := func(key string, value, usual float64) {
		if value != usual {
			fmt.Fprintf(&b, "%s: %s\n", key, number(value))
		}
	}
	differs("  percentile", w.Keys.Percentile, d.Keys.Percentile)
	differs("  fraction", w.Keys.Fraction, d.Keys.Fraction)
	if len(w.Keys.Zones) > 0 {
		var zones []string
		for _, z := range w.Keys.Zones {
			zones = append(zones, number(z.Share)+":"+number(z.Keys))
		}
		fmt.Fprintf(&b, "  zones: %q\n", strings.Join(zones, ","))
	}
	differs("  hot-partitions", float64(w.Keys.HotPartitions), 1)
	differs("  hot-node", float64(w.Keys.HotNode), 1)
	fmt.Fprintf(&b, "scan-length: %d\nttl: %v\n", w.ScanLength, w.TTL)
	differs("compression-ratio", w.CompressionRatio, 1)
	differs("batch-size", float64(w.BatchSize), float64(d.BatchSize))
	if len(w.Stages) > 0 {
		b.WriteString("stages:\n")
	}
	for i := range w.Stages {
		w.Stages[i].yaml(&b)
	}
	if len(w.Faults) > 0 {
		b.WriteString("faults:\n")
	}
	for _, f := range w.Faults {
		fmt.Fprintf(&b, "  - %s\n", strconv.Quote(f))
	}
	return []byte(b.String())
}

// SHA256 is the hash of YAML in hex. The name is part of it.
func (w *Workload) SHA256() string {
	sum := sha256.Sum256(w.YAML())
	return hex.EncodeToString(sum[:])
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

//go:embed *.yaml
var shipped embed.FS

// Names lists the shipped workloads in order.
func Names() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		panic("workloads: embedded files cannot be listed: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Load returns the shipped workload of that name, or else the one in the file
// of that path. It does not Validate: overrides may still come.
func Load(name string) (*Workload, error) {
	if slices.Contains(Names(), name) {
		text, err := shipped.ReadFile(name + ".yaml")
		if err != nil {
			return nil, err
		}
		return Parse(name+".yaml", text)
	}
	if filepath.Ext(name) == ".properties" {
		return nil, fmt.Errorf("%s is a workload of YCSB: 'headroom-loadgen convert %s -o workload.yaml' makes one of ours", name, name)
	}
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return nil, fmt.Errorf("no workload %q: it is neither a file nor one of %s%s", name, strings.Join(Names(), ", "),
			didYouMean(strings.TrimSuffix(filepath.Base(name), ".yaml"), Names()))
	}
	if err := kind.Fits(name, info.Size()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}
