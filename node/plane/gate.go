package plane

import (
	"slices"
	"sync"
)

// maxGated bounds the answers that wait for a device; beyond it a write is in
// doubt at once.
const maxGated = 1 << 16

// Durability is how far an engine's writes are on its devices: see
// storage.Engine.
type Durability interface {
	Mark() uint64
	DurableMark() uint64
}

// Gate holds back what acknowledges writes until they are durable. All that
// was put before an answer is durable when the engine's mark of that moment
// is, so answers leave in the order they came. The zero value is empty; its
// methods may be called from any goroutine.
type Gate struct {
	mu   sync.Mutex // guards list
	list []gated
}

type gated struct {
	mark uint64
	send func(durable bool)
}

// Hold keeps send until all that was put so far is durable. It reports false
// if it already is, or if too much waits: then full says so.
func (g *Gate) Hold(e Durability, send func(durable bool)) (held, full bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	mark := e.Mark()
	if mark <= e.DurableMark() {
		return false, false
	}
	if len(g.list) >= maxGated {
		return false, true
	}
	g.list = append(g.list, gated{mark, send})
	return true, false
}

// Release sends what is durable by now.
func (g *Gate) Release(e Durability) {
	g.mu.Lock()
	durable := e.DurableMark()
	i := 0
	for i < len(g.list) && g.list[i].mark <= durable {
		i++
	}
	ready := slices.Clone(g.list[:i])
	g.list = slices.Delete(g.list, 0, i)
	g.mu.Unlock()
	for _, x := range ready {
		x.send(true)
	}
}

// Failed tells all that wait that it will not be known whether they lasted.
func (g *Gate) Failed() {
	g.mu.Lock()
	list := g.list
	g.list = nil
	g.mu.Unlock()
	for _, x := range list {
		x.send(false)
	}
}
