package txn

import (
	"slices"
	"testing"

	"headroom/node/hlc"
	"headroom/node/record"
	"headroom/node/wire"
)

// A write that runs again in another View has had another stamp before, which
// others may have seen.
func TestTheFormerStampOfAWriteThatRunsAgainIsNoLoss(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	var told []hlc.Stamp
	c := w.nodes[2].core
	c.cfg.Succeeded = func(_ record.Digest, v record.Version) { told = append(told, v.Stamp) }
	id := w.request(2, wire.KindPut, 1, body(1))
	d := digest(1)
	m, _ := w.nodes[2].store.Meta(&d)
	w.queue = nil // the replica does not get it
	w.commit(2, 2, 2, 1)
	w.deliver()
	if now, _ := w.nodes[2].store.Meta(&d); w.status(id) != wire.StatusOK || now.Version.Stamp == m.Version.Stamp {
		t.Fatalf("the write ends as %v under stamp %d, before %d: it did not run again", w.status(id), now.Version.Stamp, m.Version.Stamp)
	}
	if want := []hlc.Stamp{m.Version.Stamp}; !slices.Equal(told, want) {
		t.Errorf("told of stamps %v, want %v", told, want)
	}
}
