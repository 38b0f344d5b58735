package plane

import (
	"time"

	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/storage"
)

const (
	// TombstoneHorizon is how long a delete is remembered: longer than two
	// nodes may be apart and still merge what they hold, by an hour for clocks
	// that differ.
	TombstoneHorizon = partition.MaxAbsence + time.Hour
	reapVisit        = 256 // records looked at under one lock of the engine
)

// Reap removes from a partition what has expired, and tombstones older than
// horizon. Of a version that shortens the life of what it replaces a tombstone
// stays, as after a delete: a copy that missed it may have what lives longer. Before that no View can tell that a tombstone is not needed: who was
// cut off with an older version is no member of it, and nobody knows who ever
// was. Production's horizon is TombstoneHorizon.
func (p *Plane) Reap(pid int, wallMS int64, horizon time.Duration) (removed, buried int) {
	if planted.Is(planted.TombstoneReapedEarly) {
		horizon /= 8
	}
	sec, oldest := uint32(wallMS/1000), wallMS-horizon.Milliseconds()
	var dead, ended []record.DigestVersion // for good, and but for a tombstone
	var cursor storage.Cursor
	for done := false; !done; {
		dead, ended = dead[:0], ended[:0]
		cursor, done = p.store.Each(pid, cursor, reapVisit, func(d *record.Digest, m *record.Meta) {
			old := m.Version.Stamp.Millis() < oldest
			switch {
			case m.Expired(sec) && m.Shortens && !old && !planted.Is(planted.ExpiredForgotten):
				ended = append(ended, record.DigestVersion{Digest: *d, Version: m.Version})
			case m.Expired(sec) || m.Tombstone && old:
				dead = append(dead, record.DigestVersion{Digest: *d, Version: m.Version})
			}
		})
		for i := range ended {
			if p.store.Bury(&ended[i].Digest, ended[i].Version) {
				buried++
			}
		}
		for i := range dead {
			if p.store.Remove(&dead[i].Digest, dead[i].Version) {
				removed++
			}
		}
	}
	return removed, buried
}
