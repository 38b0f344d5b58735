package server

import (
	"fmt"
	"strings"
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
)

// reviveFor is how long an operator's word stands: a View follows within a
// second, and one that comes much later must not find it.
const reviveFor = 10 * time.Second

// Revive gives up the missing data of a namespace's unavailable partitions:
// each starts again from the fullest copy that is left, an empty one where
// there is none. It cannot be undone, but a holder that returns later still
// brings what it has. Only the principal can begin it; on another node the
// answer names it in Ask.
func (n *Node) Revive(name string) Outcome {
	o := Outcome{Node: n.id.String()}
	ns, err := n.namespaceOf(name)
	v := n.view.Load()
	switch {
	case err != nil:
		o.Error = err.Error()
		return o
	case v == nil:
		o.Error = "this node is in no cluster yet"
		return o
	case v.Principal() != n.id:
		o.Error = "only the principal can do this, " + v.Principal().String() + " at " + v.Members[0].Addr
		o.Ask = v.Members[0].Addr
		return o
	}
	lost := ns.Progress().Unavailable
	if lost == 0 {
		o.Done = "has nothing to revive: every partition of " + name + " is served"
		return o
	}
	if !n.tryPost(func(now cluster.Instant) {
		ns.reviveUntil.Store(int64(now.Add(reviveFor)))
		n.ctl.ms.Recluster(now)
		n.settle(now)
	}) {
		o.Error = "this node is overloaded; ask again"
		return o
	}
	n.log.Warn("an operator gives up missing data", "namespace", name, "partitions", lost)
	o.Done = fmt.Sprintf("revives %d partitions of %s from what is left of them", lost, name)
	return o
}

func (n *Node) namespaceOf(name string) (*namespace, error) {
	var names []string
	for _, ns := range n.namespaces {
		if ns.cfg.Name == name {
			return ns, nil
		}
		names = append(names, ns.cfg.Name)
	}
	return nil, fmt.Errorf("namespace %q is unknown here; there is %s", name, strings.Join(names, ", "))
}

// reviving reports whether the operator's word goes into the report that is
// made now.
func (ns *namespace) reviving(now cluster.Instant) bool {
	return cluster.Instant(ns.reviveUntil.Load()) > now
}

// revived follows a commit: the partitions given up in it are served from the
// next View on, which the principal asks for. Calling it twice costs nothing.
func (n *Node) revived(ns *namespace, plan *partition.Plan) {
	ns.reviveUntil.Store(0)
	if !plan.Revive {
		return
	}
	count := 0
	for pid := range plan.Parts {
		if !plan.Parts[pid].Available {
			count++
		}
	}
	if count > 0 {
		n.log.Warn("missing data given up", "namespace", ns.cfg.Name, "partitions", count)
		n.ctl.ms.Recluster(n.mono())
	}
}
