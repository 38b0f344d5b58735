package plane

import (
	"testing"

	"headroom/node/cluster"
	"headroom/node/record"
)

func TestALossCountsOnce(t *testing.T) {
	var l losses
	d, v := record.Digest{1}, record.Version{Regime: 3, Stamp: 7, Node: 1}
	if !l.first(d, v) || l.first(d, v) {
		t.Error("a loss counts twice, or never")
	}
	if v.Regime++; l.first(d, v) {
		t.Error("a write counts again under the regime of another")
	}
	if v.Stamp++; !l.first(d, v) {
		t.Error("another version of the record does not count")
	}
}

func TestLossesAreForgottenFromTheOldestOn(t *testing.T) {
	var l losses
	for i := range maxLosses + 1 {
		l.first(record.Digest{}, record.Version{Stamp: 1, Node: cluster.NodeID(i) + 1})
	}
	if len(l.seen) != maxLosses || l.first(record.Digest{}, record.Version{Stamp: 1, Node: maxLosses + 1}) {
		t.Errorf("%d losses remembered, want the newest %d", len(l.seen), maxLosses)
	}
}
