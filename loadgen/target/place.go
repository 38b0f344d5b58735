package target

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// Partitions implements Placer.
func (h *Headroom) Partitions() int { return cluster.Partitions }

// Partition implements Placer.
func (h *Headroom) Partition(key uint64) int {
	d, err := record.NewDigest(h.set, record.Int(int64(key)))
	if err != nil {
		return -1 // the set was checked at the first write
	}
	return d.Partition()
}

// Nodes implements Placer. Nodes are ordered by their ids, ascending.
func (h *Headroom) Nodes() int { return len(h.client.Map().Members) }

// Node implements Placer.
func (h *Headroom) Node(key uint64) int {
	m, p := h.client.Map(), h.Partition(key)
	if p < 0 || int(h.namespace) >= len(m.Namespaces) {
		return -1
	}
	i := m.Namespaces[h.namespace].Masters[p]
	if i == wire.NoMaster {
		return -1
	}
	ids := make([]cluster.NodeID, 0, len(m.Members))
	for j := range m.Members {
		ids = append(ids, m.Members[j].Node)
	}
	id := ids[i]
	slices.Sort(ids)
	return slices.Index(ids, id)
}
