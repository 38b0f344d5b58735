package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// Format is the format number of a model file.
const Format = "headroom-model/1"

// maxFile bounds a model file.
const maxFile = 16 << 20

// Model is how nodes of one kind perform: fitted to runs, or the shipped
// priors. Times are in microseconds, rates per second and per node.
type Model struct {
	Format  string   `json:"format"`
	Name    string   `json:"name"`
	Created string   `json:"created,omitempty"` // RFC 3339
	Prior   bool     `json:"prior"`             // true: nothing here was measured on the machines planned for
	Runs    []string `json:"runs,omitempty"`    // ids of the runs it was fitted to
	// Unmeasured names the fields below that the runs say nothing about: they
	// hold the shipped prior.
	Unmeasured []string `json:"unmeasured,omitempty"`
	Host       Host     `json:"host"`

	// What one operation costs of CPU: a read at its master, a write at its
	// master, a write at each replica, each KiB of value beside, and a record
	// that is migrated.
	ReadCPU    Triple `json:"read_cpu_us"`
	WriteCPU   Triple `json:"write_cpu_us"`
	ReplicaCPU Triple `json:"replica_cpu_us"`
	PerKiBCPU  Triple `json:"per_kib_cpu_us"`
	MigrateCPU Triple `json:"migrate_cpu_us"`
	// Transfer multiplies CPU times on a type that was not measured.
	Transfer Triple `json:"transfer"`

	// Bytes on the network beside the record itself.
	RequestBytes Triple `json:"request_bytes"`

	// How fast one node sends migrated data at most.
	MigrateBytes   Triple `json:"migrate_bytes_per_s"`
	MigrateRecords Triple `json:"migrate_records_per_s"`
	// Failover is the time without service of a partition whose master dies,
	// in seconds.
	Failover Triple `json:"failover_s"`
	// EmptyBytes is the memory of a node without records.
	EmptyBytes float64 `json:"empty_bytes"`

	// Scale is the scalability law with Gamma 1; it was measured up to
	// ScaleNodes nodes, 0: assumed.
	Scale      USL `json:"scale"`
	ScaleNodes int `json:"scale_nodes"`

	// What an operation takes on a quiet node, network and CPU, without
	// waiting and without a device. Zero: no percentile is predicted.
	Read  Dist `json:"read_us"`
	Write Dist `json:"write_us"`

	Devices map[string]Device `json:"devices,omitempty"`

	// Errors are relative errors seen when plans were verified: they widen
	// intervals.
	Errors Errors `json:"errors"`
	// Measured is what the runs covered. Beyond it the model extrapolates,
	// and the plan says so.
	Measured Range `json:"measured"`
}

// Host is the machine that a model was measured on.
type Host struct {
	Type  string `json:"type,omitempty"` // of the catalog, empty: none
	CPU   string `json:"cpu,omitempty"`
	Cores int    `json:"cores,omitempty"`
}

// Device is a storage device as a station: Channels requests at a time, each
// taking as long as drawn, and what it moves at most.
type Device struct {
	Channels   int     `json:"channels"`
	Read       Dist    `json:"read_us"`  // one small read
	Write      Dist    `json:"write_us"` // one write block
	ReadIOPS   float64 `json:"read_iops"`
	WriteIOPS  float64 `json:"write_iops"`
	ReadBytes  float64 `json:"read_bytes_per_s"`
	WriteBytes float64 `json:"write_bytes_per_s"`
	// Dilation is how many times slower than the real device it was run.
	// 0 and 1: not at all.
	Dilation float64 `json:"dilation,omitempty"`
}

// Errors are relative errors, 0.1 is 10 %.
type Errors struct {
	Throughput float64 `json:"throughput"`
	Mean       float64 `json:"mean"`
	P99        float64 `json:"p99"`
	Rebuild    float64 `json:"rebuild"`
	Bytes      float64 `json:"bytes"`
}

// Range is what runs covered; zero values: nothing.
type Range struct {
	NodesLeast int     `json:"nodes_least"`
	NodesMost  int     `json:"nodes_most"`
	ValueLeast float64 `json:"value_bytes_least"`
	ValueMost  float64 `json:"value_bytes_most"`
	// UtilisationMost is the highest utilisation of the busiest resource.
	UtilisationMost float64 `json:"utilisation_most"`
}

// Rests reports whether any of the fields, named as in the file, rests on a
// prior.
func (m *Model) Rests(fields ...string) bool {
	return m.Prior || slices.ContainsFunc(fields, func(f string) bool { return slices.Contains(m.Unmeasured, f) })
}

// RestsCPU reports whether any cost of an operation rests on a prior, RestsPace
// whether that of migration does.
func (m *Model) RestsCPU() bool {
	return m.Rests("read_cpu_us", "write_cpu_us", "replica_cpu_us", "per_kib_cpu_us")
}

// RestsPace is described at RestsCPU.
func (m *Model) RestsPace() bool { return m.Rests("migrate_bytes_per_s", "migrate_records_per_s") }

// Latency reports whether the model predicts percentiles.
func (m *Model) Latency() bool { return !m.Prior && !m.Read.IsZero() && !m.Write.IsZero() }

// Priors returns the shipped model: what this project measured on one virtual
// machine with two cores (README.md, Figures), with intervals wide enough for
// other machines. It predicts no percentile.
func Priors() *Model {
	return &Model{
		Format: Format, Name: "shipped priors", Prior: true,
		// 3.2 us of server CPU per get of 100 bytes from memory were measured
		// with 64 in flight, where frames share datagrams. Alone on its
		// datagram a request costs several times that.
		ReadCPU: Triple{3.2, 8, 25},
		// 51,800 puts/s at RF 2 on two cores that also ran the generator: 38
		// us for master, replica and client together.
		WriteCPU:   Triple{8, 15, 40},
		ReplicaCPU: Triple{6, 10, 25},
		// Encryption and copies of a KiB: AES-GCM at 1 to 4 GB/s, twice, and
		// as much again for the kernel.
		PerKiBCPU:  Triple{0.5, 1, 3},
		MigrateCPU: Triple{4, 10, 25},
		Transfer:   Triple{0.7, 1, 1.5},
		// QUIC, UDP and IP headers, the frame and its fixed fields.
		RequestBytes: Triple{90, 130, 200},
		// 1 million records of 100 bytes at RF 2 on four nodes: full
		// redundancy 7.9 s after a kill, 21,000 records/s per survivor on a
		// machine with two cores for everything. A machine with a core or
		// more for it alone does more.
		MigrateBytes:   Triple{50e6, 100e6, 200e6},
		MigrateRecords: Triple{20e3, 40e3, 100e3},
		Failover:       Triple{0.1, 0.15, 0.6},
		EmptyBytes:     18e6,
	}
}

// Load reads a model file. Errors name the file and the field.
func Load(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, a model has at most %d", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := &Model{}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("%s: not a model that headroom-planner fit wrote: %w", path, err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Save writes the model to a file.
func (m *Model) Save(path string) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Validate reports the first thing that makes the model unusable, and what
// its own figures contradict.
func (m *Model) Validate() error {
	if m.Format != Format {
		return fmt.Errorf("format %q, this program reads %q: fit the runs again", m.Format, Format)
	}
	if m.Transfer == (Triple{}) {
		m.Transfer = Priors().Transfer
	}
	for name, t := range m.triples() {
		if err := t.Check(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, t := range map[string]*Triple{"read_cpu_us": &m.ReadCPU, "write_cpu_us": &m.WriteCPU, "replica_cpu_us": &m.ReplicaCPU,
		"migrate_bytes_per_s": &m.MigrateBytes, "migrate_records_per_s": &m.MigrateRecords, "transfer": &m.Transfer} {
		if t.P10 <= 0 {
			return fmt.Errorf("%s: %v, want more than 0", name, t)
		}
	}
	if s := m.Scale; !(s.Alpha >= 0) || !(s.Beta >= 0) || math.IsInf(s.Alpha+s.Beta, 0) {
		return fmt.Errorf("scale: alpha %g and beta %g, want at least 0", s.Alpha, s.Beta)
	}
	for name, d := range m.Devices {
		if err := d.validate(); err != nil {
			return fmt.Errorf("devices.%s: %w", name, err)
		}
	}
	return m.contradiction()
}

// worstError is the relative error of its own runs beyond which a model is
// not used: it describes something else.
const worstError = 1.0

func (m *Model) contradiction() error {
	e := m.Errors
	for name, v := range map[string]float64{"throughput": e.Throughput, "mean": e.Mean, "p99": e.P99, "rebuild": e.Rebuild, "bytes": e.Bytes} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("errors.%s: %g, want a relative error of at least 0", name, v)
		}
		if v > worstError {
			return fmt.Errorf("errors.%s: the model is contradicted by its own runs, its error is %.0f %%: fit it to runs of one kind, or measure again", name, v*100)
		}
	}
	if !m.Prior && m.Read.IsZero() != m.Write.IsZero() {
		return fmt.Errorf("read_us and write_us: one is missing, want both or none")
	}
	if !m.Read.IsZero() && m.Read.Mean() < m.ReadCPU.P10*0.5 {
		return fmt.Errorf("read_us: the mean read takes %.3g us, but %.3g us of CPU at least: the model is contradicted by its own runs", m.Read.Mean(), m.ReadCPU.P10)
	}
	return nil
}

func (d Device) validate() error {
	switch {
	case d.Channels < 1 || d.Channels > 1<<16:
		return fmt.Errorf("channels: %d, want 1 to 65536", d.Channels)
	case d.Read.IsZero() || d.Write.IsZero():
		return fmt.Errorf("read_us or write_us is missing")
	}
	for _, v := range []float64{d.ReadIOPS, d.WriteIOPS, d.ReadBytes, d.WriteBytes} {
		if !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("rates: %g, want all four above 0", v)
		}
	}
	if top := float64(d.Channels) / d.Read.Mean() * 1e6; d.ReadIOPS > 2*top {
		return fmt.Errorf("read_iops: %.3g, but %d channels at %.3g us a read give %.3g: the profile is contradicted by its own figures",
			d.ReadIOPS, d.Channels, d.Read.Mean(), top)
	}
	return nil
}

// triples returns the uncertain figures by their name in the file.
func (m *Model) triples() map[string]*Triple {
	return map[string]*Triple{
		"read_cpu_us": &m.ReadCPU, "write_cpu_us": &m.WriteCPU, "replica_cpu_us": &m.ReplicaCPU, "per_kib_cpu_us": &m.PerKiBCPU,
		"migrate_cpu_us": &m.MigrateCPU, "transfer": &m.Transfer, "request_bytes": &m.RequestBytes,
		"migrate_bytes_per_s": &m.MigrateBytes, "migrate_records_per_s": &m.MigrateRecords, "failover_s": &m.Failover,
	}
}

// Uncertain lists the uncertain figures, sorted by name: what a Monte-Carlo
// draws. The pointers are into m.
func (m *Model) Uncertain() []Named {
	var list []Named
	for name, t := range m.triples() {
		if t.Uncertain() {
			list = append(list, Named{"model." + name, t})
		}
	}
	slices.SortFunc(list, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Named is an uncertain number with its name.
type Named struct {
	Name  string
	Value *Triple
}
