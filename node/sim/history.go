package sim

import (
	"fmt"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// key is one record and all that was ever written to it.
type key struct {
	index  int
	space  int // its namespace
	slot   int // of its partition in Data.pids
	digest record.Digest
	mortal bool // may be deleted
	writes []*write
	reads  []read
	acts   []*act
	gen    uint16 // that an act saw last
}

// read is a get that was answered, or a delete that found nothing.
type read struct {
	start, end cluster.Instant
	id         uint64 // of the write that it saw; zero: absent
}

func (k *key) pid() int { return k.digest.Partition() }

// write is one put or delete as its client saw it.
type write struct {
	id     uint64
	start  cluster.Instant
	end    cluster.Instant // when it was acknowledged; Never: not, or not known
	absent bool            // a delete, or the time before the first write
	acked  bool
	sent   int             // how often its client sent it
	none   bool            // answered as certainly not applied
	view   cluster.ViewKey // of the node that acknowledged it
}

// before reports whether w had been acknowledged when o began.
func (w *write) before(o *write) bool { return w.acked && w.end < o.start || w.id == 0 && o.id != 0 }

func (d *Data) begin(k *key, absent bool) *write {
	d.writes++
	w := &write{id: d.writes, start: d.W.now, end: cluster.Never, absent: absent}
	k.writes = append(k.writes, w)
	return w
}

// ended notes the outcome of an operation, and judges it.
func (d *Data) ended(c *Client, x *call, st wire.Status, bins record.Bins, view cluster.ViewKey) {
	now := d.W.now
	took := now.Sub(x.start)
	d.Stats.Worst = max(d.Stats.Worst, took)
	d.W.record("op", uint64(x.kind), uint64(x.key.index), uint64(st))
	if d.W.cfg.Log != nil && took > time.Second {
		d.W.logf("client%d: %v of key %d in partition %d ends as %v after %v", c.ID, kindName(x.kind), x.key.index, x.key.pid(), st, took)
	}
	d.watch.ended(d, c, x, st, view)
	switch {
	case st == wire.StatusInDoubt:
		d.Stats.InDoubt++
	case x.kind == wire.KindGet && st == wire.StatusOK, st == wire.StatusNotFound:
		d.Stats.Reads++
		d.read(x, st, bins, view)
		if x.write != nil {
			x.write.none = true
		}
	case st == wire.StatusOK:
		d.Stats.Acked++
		x.write.acked, x.write.end, x.write.view = true, now, view
	case st == wire.StatusStopWrites:
		d.Stats.Stopped++
		x.write.none = true
	case retryableOrTimeout(st):
		d.Stats.Refused++
		if x.write != nil {
			x.write.none = true
		}
	default:
		d.W.fail("%v of key %d ends as %v", kindName(x.kind), x.key.index, st)
	}
}

func retryableOrTimeout(st wire.Status) bool { return st == wire.StatusTimeout || st.Retryable() }

func kindName(k wire.Kind) string {
	switch k {
	case wire.KindGet:
		return "get"
	case wire.KindPut:
		return "put"
	}
	return "delete"
}

// read judges an answer to a get, or a delete that found nothing.
func (d *Data) read(x *call, st wire.Status, bins record.Bins, view cluster.ViewKey) {
	if st == wire.StatusNotFound {
		d.Stats.NotFound++
		x.key.reads = append(x.key.reads, read{start: x.start, end: d.W.now})
		d.readAbsent(x, view)
		return
	}
	v, _ := bins.Get("v")
	id, ok := v.Int()
	w := x.key.find(uint64(id))
	x.key.reads = append(x.key.reads, read{start: x.start, end: d.W.now, id: uint64(id)})
	switch {
	case !ok || w == nil:
		d.W.fail("key %d reads as a record that nobody wrote: %v", x.key.index, bins)
	case w.none:
		d.W.fail("key %d reads as write %d, which was answered as not applied", x.key.index, w.id)
	default:
		if y := d.newer(x, w, view); y != nil {
			d.W.fail("stale read of key %d in partition %d under %v: %v, though %v was acknowledged before the read began at %v", x.key.index, x.key.pid(), view, w, y, x.start)
		}
	}
}

// readAbsent looks for a delete that explains the answer.
func (d *Data) readAbsent(x *call, view cluster.ViewKey) {
	var last *write
	for _, w := range x.key.writes {
		if !w.absent || w.none || w == x.write || w.start > d.W.now {
			continue
		}
		if last = d.newer(x, w, view); last == nil {
			return
		}
	}
	if last == nil {
		last = x.key.writes[len(x.key.writes)-1]
	}
	if d.OneSided && x.key.mortal {
		return
	}
	d.W.fail("false not found of key %d in partition %d under %v: %v was acknowledged before the request of %v", x.key.index, x.key.pid(), view, last, x.start)
}

// newer returns an acknowledged write that the reader should have seen
// instead of w; nil if w is a right answer. On both sides of a split only
// what the very same View acknowledged counts, and not against a write that
// came to both sides.
func (d *Data) newer(x *call, w *write, view cluster.ViewKey) *write {
	for _, y := range x.key.writes {
		if y == w || !y.acked || y.end >= x.start || !w.before(y) {
			continue
		}
		if d.OneSided && y.id != 0 && w.id != 0 && (y.view != view || view.IsZero() || d.late(x.key, w, view)) {
			continue
		}
		return y
	}
	return nil
}

// late reports whether w may have come to this View out of a network that was
// cut, after its client had sent it again and another side had acknowledged it:
// the master here, which knows nothing of that side, takes it as any other.
func (d *Data) late(k *key, w *write, view cluster.ViewKey) bool {
	if w.sent < 2 || w.view == view {
		return false
	}
	clear(d.lines.memo)
	return !d.lines.known(d, k.space, k.slot, view)[w.view]
}

func (k *key) find(id uint64) *write {
	for _, w := range k.writes {
		if w.id == id && !w.absent {
			return w
		}
	}
	return nil
}

// String tells of a write in failures.
func (w *write) String() string {
	what := "put"
	if w.absent {
		what = "delete"
	}
	if !w.acked {
		return fmt.Sprintf("%s %d of %v, not acknowledged", what, w.id, w.start)
	}
	return fmt.Sprintf("%s %d of %v to %v (%v)", what, w.id, time.Duration(w.start), time.Duration(w.end), w.view)
}
