package storage

import (
	"errors"
	"fmt"

	"headroom/node/cluster"
	"headroom/node/record"
)

// spreadBatch is how many partitions move to another device between two syncs:
// each batch is durable on its new device before the old one may be
// overwritten.
const spreadBatch = 64

// moved is a record that was copied to another device.
type moved struct {
	digest   record.Digest
	from, to uint64 // 0: not copied yet
	size     uint32
}

// spreadShare of what it should have is what a device may have without getting
// more: 16 of 256 partitions are not worth a slower start.
const spreadShare = 15.0 / 16

// spread gives devices with less than their share of the partitions (one that
// was added, or that was given up and works again) their whole share,
// at the opening, when nobody uses the engine: a partition's records are
// appended to the new home under a lineage of their own, synced, and only then
// the state file says where the home is. A crash before leaves it where it was.
func (e *Engine) spread() error {
	l := e.log
	list := l.uneven()
	for len(list) > 0 {
		n := min(spreadBatch, len(list))
		if err := e.rehome(list[:n]); err != nil {
			if errors.Is(err, ErrDeviceFull) {
				return nil // what fits has moved
			}
			return fmt.Errorf("move partitions to a further device: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// rehoming is one partition and where it goes.
type rehoming struct {
	pid  int
	slot uint8
}

// uneven lists the partitions that go to devices with less than their share.
func (l *log) uneven() (list []rehoming) {
	well := l.healthy()
	if len(well) < 2 {
		return nil
	}
	var count [maxSlots]int
	for p := range l.homes {
		if slot := uint8(l.homes[p].Load()); slot != noSlot {
			count[slot]++
		}
	}
	share := cluster.Partitions / len(well)
	for _, to := range well {
		if float64(count[to]) >= spreadShare*float64(share) {
			continue
		}
		for p := 0; p < cluster.Partitions && count[to] < share; p++ {
			from := uint8(l.homes[p].Load())
			if from != noSlot && from != to && count[from] > share {
				count[from]--
				count[to]++
				list = append(list, rehoming{p, to})
			}
		}
	}
	return list
}

// rehome moves partitions to other devices.
func (e *Engine) rehome(list []rehoming) error {
	var all []moved
	var went []rehoming
	var err error
	for _, r := range list {
		var m []moved
		var whole bool
		if m, whole, err = e.copyPartition(r.pid, r.slot); whole {
			all, went = append(all, m...), append(went, r)
			continue
		}
		for _, x := range m {
			e.log.release(x.to, x.size)
		}
		if err != nil {
			break
		}
	}
	for _, r := range went {
		if _, ferr := e.log.volumes[r.slot].flush(true); ferr != nil {
			return ferr
		}
	}
	for _, r := range went {
		e.log.homes[r.pid].Store(uint64(e.log.nextLineage(r.pid))<<8 | uint64(r.slot))
	}
	e.log.changed.Add(1)
	if serr := e.log.saveState(); serr != nil {
		return serr
	}
	for i := range all {
		e.settleMoved(&all[i])
	}
	return err
}

// copyPartition appends a partition's records to another device. It reports
// whether all of them are there; one with a record that cannot be read stays.
func (e *Engine) copyPartition(p int, slot uint8) (list []moved, whole bool, err error) {
	v, lineage := e.log.volumes[slot], e.log.nextLineage(p)
	e.visitAll(p, func(en *entry) { list = append(list, moved{digest: en.digest, from: e.device(en.loc)}) })
	done := 0
	for i := range list {
		m, body, ok := e.Get(&list[i].digest, nil)
		if !ok || m.Unreadable {
			return list[:done], false, nil
		}
		list[i].size = uint32(len(body))
		r := stored{digest: list[i].digest, meta: m, lineage: lineage, body: body}
		if list[i].to, err = v.append(&r, fromClients); errors.Is(err, ErrOverload) {
			if _, err = v.flush(true); err == nil {
				list[i].to, err = v.append(&r, fromClients)
			}
		}
		if err != nil {
			return list[:done], false, err
		}
		done++
	}
	return list, true, nil
}

// settleMoved points the index to a record's new place, and lets the old one
// go.
func (e *Engine) settleMoved(x *moved) {
	sh := &e.shards[x.digest.Partition()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, en := e.find(sh, &x.digest); en != nil {
		e.setDevice(en, x.to)
		e.log.release(x.from, x.size)
	}
}

// nextLineage is one that no record of the partition has, also none that a
// crash in the middle of a move has left behind.
func (l *log) nextLineage(p int) uint32 {
	return max(uint32(l.homes[p].Load()>>8), l.seen[p].Load()) + 1
}
