package plane

import (
	"time"

	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/storage"
)

const (
	// tombstoneHorizon is how long a delete is remembered: longer than two
	// nodes may be apart and still merge what they hold, by an hour for clocks
	// that differ.
	tombstoneHorizon = partition.MaxAbsence + time.Hour
	reapBatch        = 256 // records visited under one lock of the engine
)

// Reap removes from one partition what has expired at wallMS, and tombstones
// beyond their horizon.
func (p *Plane) Reap(pid int, wallMS int64) {
	sec := uint32(wallMS / 1000)
	horizon := wallMS - tombstoneHorizon.Milliseconds()
	var dead []record.DigestVersion
	var cursor storage.Cursor
	for done := false; !done; {
		dead = dead[:0]
		cursor, done = p.store.Each(pid, cursor, reapBatch, func(d *record.Digest, m *record.Meta) {
			if m.Expired(sec) || m.Tombstone && m.Version.Stamp.Millis() < horizon {
				dead = append(dead, record.DigestVersion{Digest: *d, Version: m.Version})
			}
		})
		for i := range dead {
			p.store.Remove(&dead[i].Digest, dead[i].Version)
		}
	}
}
