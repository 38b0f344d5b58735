package plane

import (
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
)

func TestALossCountsOnceWhileItsMergeLasts(t *testing.T) {
	var l losses
	var parts [cluster.Partitions]partition.Part
	d, v := record.Digest{1}, record.Version{Regime: 3, Stamp: 7, Node: 1}
	parts[d.Partition()].Duplicates = []uint16{1}
	if !l.first(d, v) || l.first(d, v) {
		t.Error("a loss counts twice, or never")
	}
	l.forget(&parts)
	if l.first(d, v) {
		t.Error("a loss counts again in the next View of the same merge")
	}
	if v.Stamp++; !l.first(d, v) {
		t.Error("another version of the record does not count")
	}
	parts[d.Partition()].Duplicates = nil
	l.forget(&parts)
	if !l.first(d, v) {
		t.Error("a loss is remembered after its merge")
	}
}
