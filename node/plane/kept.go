package plane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/storage"
)

// The copies file NAME.copies keeps what this node's copies are:
//
//	0          8        12      16
//	| HDRMCOP2 | crc32c | clean | member report of the one namespace (node/partition)
//	| 8        | u32    | u32   |
//
// Clean is 1 if the node stopped properly and everything it had acknowledged
// is on its devices.
const (
	copiesMagic = "HDRMCOP2"
	// CopiesMost bounds a copies file, in bytes.
	CopiesMost = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kept says whose copies a copies file keeps.
type Kept struct {
	Namespace string
	RF        int
	Inc       cluster.Incarnation // of this life of the node
}

// CopiesName is the name of the copies file.
func (k Kept) CopiesName() string { return k.Namespace + ".copies" }

// CopiesMark is the mark that EncodeCopies would return: while it stays the same,
// a copies file that is not a clean one needs no writing.
func (p *Plane) CopiesMark() (mark uint64) {
	p.Copies(func(*partition.Report) { mark = p.mig.core.Changes() })
	return mark
}

// EncodeCopies returns the copies file as it is now, and a mark for Stored.
func (p *Plane) EncodeCopies(k Kept, clean bool) (file []byte, mark uint64) {
	b := append([]byte(copiesMagic), make([]byte, 8)...)
	if clean {
		b[12] = 1
	}
	r := partition.MemberReport{Namespaces: []partition.NamespaceReport{{Name: k.Namespace, RF: k.RF}}}
	p.Copies(func(now *partition.Report) {
		c := *now
		p.mig.core.EachLeaving(func(pid int) { c.Copies[pid] = partition.Copy{} })
		if clean {
			p.keepBases(&c)
		}
		r.Namespaces[0].Report = &c
		mark = p.mig.core.Changes()
	})
	b = r.Append(b)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b, mark
}

// Stored tells that the copies file with that mark is on the devices, and before
// it all that the copies held.
func (p *Plane) Stored(mark uint64) {
	p.mig.mu.Lock()
	p.mig.core.Kept(mark)
	p.carryOutMigrationLocked()
	p.mig.mu.Unlock()
	p.host.Wake()
}

// keepBases makes copies that were given up while leaving, and are still on
// the devices, a base for the difference when the node comes back.
func (p *Plane) keepBases(r *partition.Report) {
	c := p.Committed()
	for pid := range r.Copies {
		if c != nil && r.Copies[pid].State == partition.None && !p.store.Engine.Partition(pid).Empty() {
			r.Copies[pid] = partition.Copy{State: partition.Spare, Key: c.View.Key}
		}
	}
}

// LoadCopies takes over, before the first Commit, what the last process left:
// the copies file b as far as the devices, which rec tells of, can bear it out.
func (p *Plane) LoadCopies(k Kept, b []byte, rec storage.Recovery) error {
	if len(b) < 16 || string(b[:8]) != copiesMagic || crc32.Checksum(b[12:], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return fmt.Errorf("%s is damaged or of an earlier version: put the right file back, or remove it and the namespace's devices to be filled by the other nodes", k.CopiesName())
	}
	m, err := partition.ParseMemberReport(b[16:])
	if err == nil && len(m.Namespaces) != 1 {
		err = errors.New("it holds another number of namespaces than one")
	}
	if err != nil {
		return fmt.Errorf("%s: written by another version? %w", k.CopiesName(), err)
	}
	r := m.Namespaces[0].Report
	p.judgeCopies(k, r, rec, binary.LittleEndian.Uint32(b[12:]) == 1 && rec.Clean)
	p.Load(r)
	p.mortal.Store(true) // nobody has looked at what is there
	return nil
}

// DropAll drops records that belong to no View.
func (p *Plane) DropAll() {
	for pid := range cluster.Partitions {
		p.store.Drop(pid)
	}
}

// judgeCopies lowers the states of copies that may lack something.
func (p *Plane) judgeCopies(kept Kept, r *partition.Report, rec storage.Recovery, clean bool) {
	for pid := range r.Copies {
		k := &r.Copies[pid]
		if k.State == partition.None {
			p.store.Drop(pid)
		}
		if k.State == partition.Full && !clean {
			k.Key = partition.Apart(k.Key, p.self, kept.Inc)
		}
	}
	for _, pid := range rec.LostPartitions {
		r.Copies[pid] = partition.Copy{}
	}
	if rec.Corrupt > 0 && kept.RF > 1 {
		for _, pid := range rec.Doubtful {
			if r.Copies[pid].State == partition.Full {
				r.Copies[pid].State = partition.Subset
			}
		}
	}
}
