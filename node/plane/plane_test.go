package plane

import (
	"slices"
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
)

// The former master, and members in sync outside the replica set, hold Full
// copies until they drop them; a View change before that counts them as equal
// to the new master's.
func TestNewMasterWritesToAllThatStillHoldFullCopies(t *testing.T) {
	com := &Committed{View: &cluster.View{Members: []cluster.Member{{Node: 4}, {Node: 3}, {Node: 2}, {Node: 1}}}, Plan: new(partition.Plan)}
	com.Plan.Parts[5] = partition.Part{Available: true, Master: 3, Final: 0, Replicas: []uint16{0, 1}, WriteSet: []uint16{3, 0, 1}}
	if got := writeSetWithout(com, 5, 4); !slices.Equal(got, []cluster.NodeID{1, 3}) {
		t.Errorf("write set of the new master: %v, want the former one and the other replica", got)
	}
}
