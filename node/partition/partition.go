// Package partition decides, as pure functions of a View and what its members
// hold, where every partition belongs and who serves it until it is there:
// Table is the final placement (rendezvous ranking, uniform balance, racks,
// quiesced members last), Plan the way to it (working master, write set, what
// is absorbed, filled and dropped). It moves no data, sends nothing, keeps no
// state between Views.
//
// The invariant to know: the same View and the same reports give the same
// Table and the same Plan on every node, so nobody has to be asked; and a Plan
// names a working master only if that member's copy is complete for the newest
// View that anybody saw served.
//
// Members are named by their index in View.Members throughout.
//
// Start reading at Plan, then Table.
package partition

import (
	"slices"

	"headroom/node/cluster"
)

// Nobody is the Master of a Part that no member can serve.
const Nobody = ^uint16(0)

// State says how complete a copy is.
type State uint8

const (
	// None is no copy at all.
	None State = iota
	// Full is complete for the lineage of the View it is keyed with.
	Full
	// Subset receives that View's writes, but older records may be missing.
	Subset
	// Spare is contained in the Full copies of that View and receives no
	// writes: a base for a delta, dropped once redundancy is complete.
	Spare
)

// String gives the lower-case name of the state.
func (s State) String() string {
	switch s {
	case None:
		return "none"
	case Full:
		return "full"
	case Subset:
		return "subset"
	case Spare:
		return "spare"
	}
	return "invalid"
}

// Copy is one member's copy of one partition. The zero Copy is no copy.
// Copies compare with ==.
type Copy struct {
	State State
	Empty bool            // holds neither records nor tombstones
	Key   cluster.ViewKey // the View for which State holds; zero with None only
}

// holdsRecords reports whether records could be lost with the copy.
func (c Copy) holdsRecords() bool { return c.State != None && !c.Empty }

// Report is what one member holds of one namespace. It is large (about
// 290 KiB): pass it by pointer.
type Report struct {
	Copies      [cluster.Partitions]Copy
	Established [cluster.Partitions]cluster.ViewKey // newest View known to have had a Full copy; zero: never any data
	Lines       [cluster.Partitions]Line            // the descent of each copy
	Unequal     [cluster.Partitions]Unequal         // as of the last freeze
}

// Unequal says that the copies of other members which equal a member's by their
// Copy may all the same hold other records. It is a set of bits.
type Unequal uint8

const (
	// Differ: a member is lost that may have had writes in flight, or what a merge
	// took in has not come to all of them, and nobody has compared them since.
	Differ Unequal = 1 << iota
	// Writing: this member has stored writes that it knows not to be on all of them.
	// It goes on with them, unless it is lost before the next master has them.
	Writing
)

// CommonAncestor returns the newest key that is in both histories, or the
// zero key: the View in which their holders last agreed. The order within the
// histories does not matter.
func CommonAncestor(a, b []cluster.ViewKey) cluster.ViewKey {
	var best cluster.ViewKey
	for _, k := range a {
		if best.Less(k) && slices.Contains(b, k) {
			best = k
		}
	}
	return best
}
