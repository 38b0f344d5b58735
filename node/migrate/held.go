package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// held is a message of a View that is not committed here yet, or one that
// waits behind such.
type held struct {
	from cluster.NodeID
	m    *wire.Migrate
}

// hold keeps a message for later, within bounds; a repeat replaces what is
// dropped.
func (c *Core) hold(from cluster.NodeID, m *wire.Migrate) {
	size := messageBytes(m)
	if len(c.held) >= maxHeld || c.heldBytes+size > maxHeldBytes {
		c.progress.HeldDropped++
		return
	}
	k := *m
	k.Versions, k.Digests = slices.Clone(m.Versions), slices.Clone(m.Digests)
	k.Records = slices.Clone(m.Records)
	for i := range k.Records {
		k.Records[i].Body = slices.Clone(k.Records[i].Body)
	}
	c.held = append(c.held, held{from, &k})
	c.heldBytes += size
}

func messageBytes(m *wire.Migrate) int {
	n := 600 + len(m.Versions)*41 + len(m.Digests)*20 // 600: the fixed fields
	for i := range m.Records {
		n += recordOverhead + len(m.Records[i].Body)
	}
	return n
}

// takeHeld keeps of the held messages those of the new View, for replay.
func (c *Core) takeHeld() {
	all := c.held
	c.held, c.heldBytes, c.replay = nil, 0, false
	for _, h := range all {
		if key := h.m.View; key == c.view.Key || c.view.Key.Less(key) {
			c.held = append(c.held, h)
			c.heldBytes += messageBytes(h.m)
			c.replay = c.replay || key == c.view.Key
		}
	}
}

// replayOne handles the first held message of the current View and returns
// its cost in records; messages of newer Views stay.
func (c *Core) replayOne() int {
	i := slices.IndexFunc(c.held, func(h held) bool { return h.m.View == c.view.Key })
	if i < 0 {
		c.replay = false
		return 1
	}
	h := c.held[i]
	c.held = slices.Delete(c.held, i, i+1)
	c.heldBytes -= messageBytes(h.m)
	c.handle(h.from, h.m)
	return 1 + len(h.m.Records) + len(h.m.Versions)/4 + len(h.m.Digests)
}
