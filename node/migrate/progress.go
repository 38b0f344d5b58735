package migrate

import (
	"time"

	"headroom/node/cluster"
)

// Progress is how far the migrations driven by this node are. Counters run
// since New.
type Progress struct {
	Partitions  int           // this node has still to finish, as hub or final master
	BytesLeft   int64         // estimate of records to move for them
	Unavailable int           // partitions of which no member holds a full copy
	Rate        float64       // bytes per second of the last seconds
	ETA         time.Duration // BytesLeft at Rate; negative: unknown

	BytesMoved         uint64 // sent as hub or fetched from duplicates
	RecordsSent        uint64
	RecordsReceived    uint64 // applied or older than ours
	ConflictsDiscarded uint64 // acknowledged versions that lost against the other side of a split
	Revived            uint64 // partitions that start from this node's copy because the rest was given up
	Forgotten          uint64 // copies dropped because this node was away for longer than partition.MaxAbsence
	Repeats            uint64 // questions and batches sent again
	Stale              uint64 // messages of an older View
	Refused            uint64 // messages that sender or state did not allow
	HeldDropped        uint64 // messages of a coming View beyond the limit
	StoreErrors        uint64 // records the Store did not take; they are sent again
}

// Progress returns the state of migration at the last call of the Core.
func (c *Core) Progress() Progress {
	p := c.progress
	p.BytesLeft, p.Rate, p.ETA = c.left, c.meter.rate(c.now), 0
	if p.BytesLeft > 0 {
		p.ETA = -1
		if p.Rate > 0 {
			p.ETA = time.Duration(float64(p.BytesLeft) / p.Rate * 1e9)
		}
	}
	return p
}

// moved accounts for records that travelled for job j.
func (c *Core) moved(j *job, records, bytes int) {
	c.limit.take(bytes, records)
	c.meter.add(c.now, bytes)
	c.progress.BytesMoved += uint64(bytes)
	c.setLeft(j, max(j.left-int64(bytes), j.size*int64(j.legsAfter())))
}

func (c *Core) setLeft(j *job, left int64) {
	c.left += left - j.left
	j.left = left
}

// meter measures a rate over the last few seconds.
type meter struct {
	slots [meterSlots]int
	at    int64 // number of the newest slot
	first int64 // slot in which counting began
}

const (
	meterSlots = 20
	meterSlot  = 250 * time.Millisecond
)

// turn moves on to the slot of now, clearing those that were skipped.
func (m *meter) turn(now cluster.Instant) {
	slot := int64(now) / int64(meterSlot)
	if slot-m.at >= meterSlots {
		m.slots, m.first = [meterSlots]int{}, slot
		m.at = slot
	}
	for m.at < slot {
		m.at++
		m.slots[m.at%meterSlots] = 0
	}
}

func (m *meter) add(now cluster.Instant, bytes int) {
	m.turn(now)
	m.slots[m.at%meterSlots] += bytes
}

// rate is bytes per second since counting began, over at most 5 s.
func (m *meter) rate(now cluster.Instant) float64 {
	m.turn(now)
	sum := 0
	for _, s := range m.slots {
		sum += s
	}
	slots := min(m.at-m.first+1, meterSlots)
	return float64(sum) / (float64(slots) * meterSlot.Seconds())
}
