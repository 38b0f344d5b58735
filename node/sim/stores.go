package sim

import (
	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/storage"
)

// scanSome is how many records a look at a store visits at a time: few, so
// that scans of small partitions have several steps.
const scanSome = 16

// CheckStores asserts for each node that is up that a scan of its records, the
// counters of each partition and those of the engine agree.
func (d *Data) CheckStores() error {
	for _, n := range d.W.Nodes {
		if !n.Up {
			continue
		}
		for _, s := range n.App.(*app).spaces {
			s.checkStore()
		}
	}
	return d.W.Err
}

func (s *space) checkStore() {
	var records, tombstones int64
	for pid := range cluster.Partitions {
		got, want := s.scan(pid), s.store.Partition(pid)
		if got != want {
			s.a.d.W.fail("node%d: a scan of partition %d finds %+v, its counters say %+v", s.a.n.ID, pid, got, want)
		}
		records, tombstones = records+got.Records, tombstones+got.Tombstones
	}
	if st := s.store.Stats(); st.Records != records || st.Tombstones != tombstones {
		s.a.d.W.fail("node%d: %d records and %d tombstones are in its partitions, its counters say %d and %d", s.a.n.ID, records, tombstones, st.Records, st.Tombstones)
	}
	for _, v := range s.store.Devices() {
		if (v.Err != nil || v.Corrupt > 0) && !s.a.d.cfg.Breaks {
			s.a.d.W.fail("node%d: device %d is not well: %v, %d damaged", s.a.n.ID, v.Slot, v.Err, v.Corrupt)
		}
	}
}

// scan counts what a partition holds.
func (s *space) scan(pid int) (st storage.PartitionStats) {
	if s.store.Partition(pid).Empty() {
		return s.store.Partition(pid)
	}
	var c storage.Cursor
	for done := false; !done; {
		c, done = s.store.Scan(pid, c, scanSome, func(d *record.Digest, m *record.Meta, body []byte) {
			if m.Tombstone {
				st.Tombstones++
			} else {
				st.Records++
			}
			st.Bytes += int64(len(body))
			st.Digest64 ^= storage.Fingerprint(d, m.Version)
		})
	}
	return st
}
