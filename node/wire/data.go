package wire

import (
	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

// AppendMeta appends a record's metadata: regime u32, stamp u64, node u64,
// generation u16, expiry u32, flags u8: 27 bytes.
func AppendMeta(b []byte, m *record.Meta) []byte {
	b = appendVersion(b, m.Version)
	b = AppendU16(b, m.Generation)
	b = AppendU32(b, m.Expiry)
	switch {
	case m.Tombstone:
		return append(b, metaTombstone)
	case m.Shortens:
		return append(b, metaShortens)
	}
	return append(b, 0)
}

// Flags of a record's metadata, one at most.
const (
	metaTombstone = 1
	metaShortens  = 2
)

// Meta reads what AppendMeta wrote.
func (r *Reader) Meta() record.Meta {
	m := record.Meta{Version: r.version(), Generation: r.U16(), Expiry: r.U32()}
	f := r.U8()
	if f > metaShortens {
		r.fail("unknown flag of a record")
	}
	m.Tombstone, m.Shortens = f == metaTombstone, f == metaShortens
	return m
}

func appendVersion(b []byte, v record.Version) []byte {
	b = AppendU32(b, v.Regime)
	b = AppendU64(b, uint64(v.Stamp))
	b = AppendU64(b, uint64(v.Node))
	return append(b, v.Lifted)
}

func (r *Reader) version() record.Version {
	v := record.Version{Regime: r.U32(), Stamp: hlc.Stamp(r.U64()), Node: cluster.NodeID(r.U64()), Lifted: r.U8()}
	if !v.Valid() {
		r.fail("a version lifted from before the first View")
	}
	return v
}

// Replicate carries one record from a master to a member of the write set,
// to be applied if newer, fenced by the View. With KindAdopt it carries a
// write that was in flight when its master lost the partition to the
// receiver. Layout: view key 24 B, namespace u8, digest, meta, body.
type Replicate struct {
	View      cluster.ViewKey
	Namespace uint8
	Digest    record.Digest
	Meta      record.Meta
	Body      []byte // aliases the frame when parsed
}

// Append appends the payload to b.
func (m *Replicate) Append(b []byte) []byte {
	b = AppendViewKey(b, m.View)
	b = append(b, m.Namespace)
	b = append(b, m.Digest[:]...)
	b = AppendMeta(b, &m.Meta)
	return append(b, m.Body...)
}

// Parse reads the payload; Body aliases it.
func (m *Replicate) Parse(p []byte) error {
	r := NewReader(p)
	m.View = r.ViewKey()
	m.Namespace = r.U8()
	r.Fixed(m.Digest[:])
	m.Meta = r.Meta()
	m.Body = r.Rest()
	return r.Done()
}

// Resolve asks a holder of a duplicate copy for one record. Layout: view key,
// namespace u8, digest.
type Resolve struct {
	View      cluster.ViewKey
	Namespace uint8
	Digest    record.Digest
}

// Append appends the payload to b.
func (m *Resolve) Append(b []byte) []byte {
	b = AppendViewKey(b, m.View)
	b = append(b, m.Namespace)
	return append(b, m.Digest[:]...)
}

// Parse reads the payload.
func (m *Resolve) Parse(p []byte) error {
	r := NewReader(p)
	m.View = r.ViewKey()
	m.Namespace = r.U8()
	r.Fixed(m.Digest[:])
	return r.Done()
}

// Resolved answers Resolve: status u8 (OK with a record, NotFound, StaleView),
// meta, body.
type Resolved struct {
	Status Status
	Meta   record.Meta
	Body   []byte
}

// Append appends the payload to b.
func (m *Resolved) Append(b []byte) []byte {
	return append(AppendMeta(append(b, byte(m.Status)), &m.Meta), m.Body...)
}

// Parse reads the payload; Body aliases it.
func (m *Resolved) Parse(p []byte) error {
	r := NewReader(p)
	m.Status = Status(r.U8())
	m.Meta = r.Meta()
	m.Body = r.Rest()
	return r.Done()
}

// Step is one step of a partition's migration; see package migrate for the
// conversation.
type Step uint8

// The steps, each a question of the working master (the hub) or its answer.
const (
	StepSummaryAsk Step = iota + 1 // hub -> holder
	StepSummary                    // holder -> hub: Sums
	StepListAsk                    // hub -> holder: Buckets
	StepList                       // holder -> hub: Versions, More
	StepFetch                      // hub -> holder: Digests
	StepRecords                    // records, either way: Records; Seq is answered
	StepApplied                    // answer to StepRecords: Seq
	StepFilled                     // hub -> replica: you are Full
	StepAbsorbed                   // hub -> holder: your copy is contained in the Full ones
	StepHandoff                    // hub -> final master: you are master
	StepMastered                   // new master -> all members
	StepAllDone                    // final master -> holders outside the replicas: drop
	StepDone                       // answer to Filled, Absorbed, Handoff, Mastered, AllDone, Keep: Answers
	StepKeep                       // final master -> replicas: is it on your devices that you are Full?
	stepEnd
)

// Limits of migration messages.
const (
	SubBuckets     = 64        // summaries per partition
	MaxList        = 16 << 10  // (digest, version) pairs of one StepList: 656 KiB
	MaxRecords     = 4096      // records of one StepRecords
	MaxRecordBytes = 256 << 10 // target size of one StepRecords; one record may exceed it
)

// Migrate is one message about one partition in one View. Only the fields of
// its Step travel.
type Migrate struct {
	View      cluster.ViewKey
	Namespace uint8
	Partition uint16
	Step      Step
	Seq       uint32             // pairs StepRecords with StepApplied, and every ask with its answer
	Answers   Step               // StepDone: what it answers
	Sums      [SubBuckets]uint64 // StepSummary
	Buckets   uint64             // StepListAsk: bit per sub-bucket; StepList: which ones it covers
	Versions  []DigestVersion    // StepList
	More      bool               // StepList, StepRecords (from holder): another message follows
	Digests   []record.Digest    // StepFetch
	Records   []MigrateRecord    // StepRecords
	Line      string             // StepFilled: the descent of the copy, partition.Line
}

// DigestVersion is one line of a list: which version of a record a holder has.
type DigestVersion = record.DigestVersion

// MigrateRecord is one record in transit.
type MigrateRecord struct {
	Digest record.Digest
	Meta   record.Meta
	Body   []byte
}

// Append appends the payload to b.
func (m *Migrate) Append(b []byte) []byte {
	b = AppendViewKey(b, m.View)
	b = append(b, m.Namespace, byte(m.Step))
	b = AppendU16(b, m.Partition)
	b = AppendU32(b, m.Seq)
	switch m.Step {
	case StepSummary:
		for _, s := range m.Sums {
			b = AppendU64(b, s)
		}
	case StepListAsk:
		b = AppendU64(b, m.Buckets)
	case StepList:
		b = AppendBool(AppendU64(b, m.Buckets), m.More)
		for i := range m.Versions {
			v := &m.Versions[i]
			b = append(b, v.Digest[:]...)
			b = appendVersion(b, v.Version)
		}
	case StepFetch:
		for i := range m.Digests {
			b = append(b, m.Digests[i][:]...)
		}
	case StepRecords:
		b = AppendBool(b, m.More)
		for i := range m.Records {
			x := &m.Records[i]
			b = append(b, x.Digest[:]...)
			b = AppendMeta(b, &x.Meta)
			b = AppendBytes(b, x.Body)
		}
	case StepFilled:
		b = append(b, m.Line...)
	case StepDone:
		b = append(b, byte(m.Answers))
	}
	return b
}

// Parse reads the payload; record bodies alias it.
func (m *Migrate) Parse(p []byte) error {
	*m = Migrate{Versions: m.Versions[:0], Digests: m.Digests[:0], Records: m.Records[:0]}
	r := NewReader(p)
	m.View = r.ViewKey()
	m.Namespace = r.U8()
	m.Step = Step(r.U8())
	m.Partition = r.U16()
	m.Seq = r.U32()
	if m.Step == 0 || m.Step >= stepEnd || m.Partition >= cluster.Partitions {
		r.Fail("unknown migration step or partition")
	}
	switch m.Step {
	case StepSummary:
		for i := range m.Sums {
			m.Sums[i] = r.U64()
		}
	case StepListAsk:
		m.Buckets = r.U64()
	case StepList:
		m.Buckets, m.More = r.U64(), r.Bool()
		m.parseVersions(&r)
	case StepFetch:
		for r.Len() > 0 && len(m.Digests) < MaxList {
			var d record.Digest
			r.Fixed(d[:])
			m.Digests = append(m.Digests, d)
		}
	case StepRecords:
		m.More = r.Bool()
		m.parseRecords(&r)
	case StepFilled:
		m.Line = string(r.Rest())
	case StepDone:
		m.Answers = Step(r.U8())
	}
	return r.Done()
}

func (m *Migrate) parseVersions(r *Reader) {
	for r.Len() > 0 && len(m.Versions) < MaxList {
		var v DigestVersion
		r.Fixed(v.Digest[:])
		v.Version = r.version()
		m.Versions = append(m.Versions, v)
	}
}

func (m *Migrate) parseRecords(r *Reader) {
	for r.Len() > 0 && len(m.Records) < MaxRecords {
		var x MigrateRecord
		r.Fixed(x.Digest[:])
		x.Meta = r.Meta()
		x.Body = r.Bytes(record.MaxSize)
		m.Records = append(m.Records, x)
	}
}
