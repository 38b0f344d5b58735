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
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"headroom/workloads/keys"
	"headroom/workloads/units"
)

// Op is a kind of operation of a workload.
type Op uint8

// The operations. Put writes a whole record without reading; update is the
// same under YCSB's name; read-modify-write reads, then writes, and is timed
// as one; insert writes a record that did not exist.
const (
	Get Op = iota
	Put
	Update
	ReadModifyWrite
	Insert
	Scan
	Delete
	Ops // the number of operations
)

var opNames = [Ops]string{"get", "put", "update", "read-modify-write", "insert", "scan", "delete"}

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
	maxFile       = 1 << 20
)

// Workload is what is done to the target, apart from how fast and how long.
type Workload struct {
	Name      string
	Records   int64       // loaded before the measurement
	ValueSize units.Bytes // of every value, the audit header included
	// Mix holds the share of each operation in percent; they sum to 100.
	Mix  [Ops]float64
	Keys KeySpec
	// ScanLength is the greatest length of a scan; lengths are uniform from 1.
	ScanLength int
	// TTL is given with every write; zero means records never expire.
	TTL time.Duration
}

// KeySpec says which records are asked for. See keys.Spec.
type KeySpec struct {
	Distribution string
	Exponent     float64
	HotFraction  float64
	HotShare     float64
}

// Chooser returns a fresh key chooser for one lane; seed must be the same for
// all lanes of a run, so that they share their hot keys.
func (w *Workload) Chooser(seed uint64) (keys.Chooser, error) {
	return keys.New(keys.Spec{Distribution: w.Keys.Distribution, Exponent: w.Keys.Exponent,
		HotFraction: w.Keys.HotFraction, HotShare: w.Keys.HotShare, Records: uint64(w.Records), Seed: seed})
}

// Writes reports whether the mix changes records.
func (w *Workload) Writes() bool {
	return w.Mix[Put]+w.Mix[Update]+w.Mix[ReadModifyWrite]+w.Mix[Insert]+w.Mix[Delete] > 0
}

// withDefaults returns the workload from which every file starts.
func withDefaults() Workload {
	return Workload{Records: 100_000, ValueSize: 100, ScanLength: 100,
		Keys: KeySpec{Distribution: "uniform", Exponent: 0.99, HotFraction: 0.2, HotShare: 0.8}}
}

// Validate reports the first thing that makes the workload unusable.
func (w *Workload) Validate() error {
	switch {
	case w.Name == "":
		return fmt.Errorf("name: missing")
	case w.Records < 1 || w.Records > MaxRecords:
		return fmt.Errorf("records: %d, want 1 to %d", w.Records, int64(MaxRecords))
	case w.ValueSize < 1 || w.ValueSize > MaxValueSize:
		return fmt.Errorf("value-size: %v, want 1B to %v", w.ValueSize, units.Bytes(MaxValueSize))
	case w.ScanLength < 1 || w.ScanLength > MaxScanLength:
		return fmt.Errorf("scan-length: %d, want 1 to %d", w.ScanLength, MaxScanLength)
	}
	sum := 0.0
	for op, share := range w.Mix {
		if !(share >= 0 && share <= 100) {
			return fmt.Errorf("mix.%v: %v, want a share of 0 to 100 percent", Op(op), share)
		}
		sum += share
	}
	if math.Abs(sum-100) > 0.001 {
		return fmt.Errorf("mix: the shares sum to %s percent, want 100 (%s)", number(sum), w.mix())
	}
	_, err := w.Chooser(0)
	return err
}

// mix prints the shares that are not zero: "get:95,update:5".
func (w *Workload) mix() string {
	var parts []string
	for op, share := range w.Mix {
		if share > 0 {
			parts = append(parts, Op(op).String()+":"+number(share))
		}
	}
	return strings.Join(parts, ",")
}

// YAML prints the workload in its canonical form: every key, in a fixed order.
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
	fmt.Fprintf(&b, "scan-length: %d\nttl: %v\n", w.ScanLength, w.TTL)
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
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return nil, fmt.Errorf("no workload %q: it is neither a file nor one of %s%s", name, strings.Join(Names(), ", "),
			didYouMean(strings.TrimSuffix(filepath.Base(name), ".yaml"), Names()))
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, a workload has at most %d", name, info.Size(), maxFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}
