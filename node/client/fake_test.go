package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// world is a cluster in memory: nodes that share one store and speak the
// client protocol over channels. It is also the dialer.
type world struct {
	mu     sync.Mutex
	nodes  map[cluster.NodeID]*fakeNode
	m      *wire.Map
	store  map[record.Digest]stored
	closed bool
	wg     sync.WaitGroup
}

type stored struct {
	body []byte
	gen  uint16
}

// fakeNode answers requests; hook may take them over.
type fakeNode struct {
	w     *world
	id    cluster.NodeID
	links []*fakeLink
	down  bool // refuses dials
	// hook sees each request first; true means it dealt with it. It may keep
	// the link to answer later.
	hook func(l *fakeLink, h wire.Header, p []byte) bool
	got  map[wire.Kind]int
}

// fakeLink is both ends of a connection.
type fakeLink struct {
	node *fakeNode
	in   receiver
	up   chan []byte // client to node
	back chan []byte // node to client
	done chan struct{}
	once sync.Once
}

func newWorld(n int) *world {
	w := &world{nodes: make(map[cluster.NodeID]*fakeNode), store: make(map[record.Digest]stored)}
	m := &wire.Map{View: cluster.ViewKey{Counter: 1, Proposer: cluster.NodeID(n), Inc: 1}, Cluster: "test"}
	for i := n; i > 0; i-- {
		id := cluster.NodeID(i)
		w.nodes[id] = &fakeNode{w: w, id: id, got: make(map[wire.Kind]int)}
		m.Members = append(m.Members, wire.MapMember{Node: id, Addr: addrOf(id)})
	}
	m.Namespaces = []wire.MapNamespace{{Name: "default", RF: 2}}
	for p := range m.Namespaces[0].Masters {
		m.Namespaces[0].Masters[p] = uint16(p % n)
	}
	w.m = m
	return w
}

func addrOf(id cluster.NodeID) string { return fmt.Sprintf("10.0.0.%d:4300", id) }

func (w *world) dial(ctx context.Context, addr string, node cluster.NodeID, in receiver) (link, cluster.NodeID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, n := range w.nodes {
		if addrOf(id) != addr || n.down || w.closed {
			continue
		}
		l := &fakeLink{node: n, in: in, up: make(chan []byte, 1024), back: make(chan []byte, 1024), done: make(chan struct{})}
		n.links = append(n.links, l)
		w.wg.Go(l.serve)
		w.wg.Go(l.read)
		return l, id, nil
	}
	return nil, 0, errors.New("connection refused")
}

func (w *world) close() error {
	w.mu.Lock()
	w.closed = true
	for _, n := range w.nodes {
		for _, l := range n.links {
			l.Close(nil)
		}
	}
	w.mu.Unlock()
	w.wg.Wait()
	return nil
}

func (l *fakeLink) Append(add func([]byte) []byte) error {
	select {
	case <-l.done:
		return errors.New("closed")
	default:
	}
	select {
	case l.up <- add(nil):
		return nil
	default:
		return errors.New("backpressure")
	}
}

func (l *fakeLink) OnSent(f func())          { f() }
func (l *fakeLink) SinceRead() time.Duration { return 0 }
func (l *fakeLink) Close(error)              { l.once.Do(func() { close(l.done) }) }
func (l *fakeLink) Done() <-chan struct{}    { return l.done }

// read is the client's reader goroutine.
func (l *fakeLink) read() {
	for {
		select {
		case f := <-l.back:
			h, err := wire.ParseHeader(f)
			if err != nil {
				panic(err)
			}
			l.in.frame(h, f[wire.HeaderSize:])
		case <-l.done:
			return
		}
	}
}

// serve is the node.
func (l *fakeLink) serve() {
	for {
		select {
		case f := <-l.up:
			h, err := wire.ParseHeader(f)
			if err != nil {
				panic(err)
			}
			l.node.w.handle(l, h, f[wire.HeaderSize:])
		case <-l.done:
			return
		}
	}
}

// send sends a frame to the client.
func (l *fakeLink) send(kind wire.Kind, id uint64, add func([]byte) []byte) {
	b := wire.AppendHeader(nil, wire.Header{Kind: kind, ID: id})
	b = add(b)
	wire.PutLength(b, 0)
	select {
	case l.back <- b:
	case <-l.done:
	}
}

func (l *fakeLink) reply(id uint64, r wire.Reply) { l.send(wire.KindReply, id, r.Append) }

func (w *world) handle(l *fakeLink, h wire.Header, p []byte) {
	w.mu.Lock()
	l.node.got[h.Kind]++
	hook, m := l.node.hook, w.m
	w.mu.Unlock()
	if h.Kind == wire.KindHello {
		l.send(wire.KindMap, 0, m.Append)
		return
	}
	if hook != nil && hook(l, h, p) {
		return
	}
	w.answer(l, h, p)
}

// answer does what a master would.
func (w *world) answer(l *fakeLink, h wire.Header, p []byte) {
	switch h.Kind {
	case wire.KindBatchGet, wire.KindBatchPut:
		w.answerBatch(l, h, p)
	case wire.KindScan:
		w.answerScan(l, h, p)
	default:
		var q wire.Request
		if err := q.Parse(p); err != nil {
			panic(err)
		}
		l.reply(h.ID, w.apply(l, h.Kind, &q))
	}
}

func (w *world) apply(l *fakeLink, kind wire.Kind, q *wire.Request) wire.Reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.masterLocked(&q.Digest) != l.node.id {
		return wire.Reply{Status: wire.StatusNotMaster}
	}
	s, ok := w.store[q.Digest]
	if q.CheckGen && q.Generation != s.gen {
		return wire.Reply{Status: wire.StatusGeneration}
	}
	switch kind {
	case wire.KindPut:
		s = stored{slices.Clone(q.Body), s.gen + 1}
		w.store[q.Digest] = s
	case wire.KindDelete:
		delete(w.store, q.Digest)
	case wire.KindOperate:
		return w.operateLocked(q, s)
	}
	switch {
	case !ok && kind != wire.KindPut:
		return wire.Reply{Status: wire.StatusNotFound}
	case kind == wire.KindGet:
		return wire.Reply{Generation: s.gen, Bins: record.Body(s.body).RawBins()}
	}
	return wire.Reply{Generation: s.gen}
}

func (w *world) operateLocked(q *wire.Request, s stored) wire.Reply {
	ops, _, _, err := wire.ParseOps(q.Body)
	if err != nil {
		return wire.Reply{Status: wire.StatusBadRequest}
	}
	body, results, _, err := record.Apply(s.body, ops, nil)
	if err != nil {
		return wire.Reply{Status: wire.StatusBinType}
	}
	w.store[q.Digest] = stored{body, s.gen + 1}
	bins, err := wire.AppendResults(nil, results)
	if err != nil {
		panic(err)
	}
	return wire.Reply{Generation: s.gen + 1, Bins: bins}
}

func (w *world) answerBatch(l *fakeLink, h wire.Header, p []byte) {
	var q wire.Batch
	if err := q.Parse(p, h.Kind == wire.KindBatchPut); err != nil {
		panic(err)
	}
	kind := wire.KindGet
	if h.Kind == wire.KindBatchPut {
		kind = wire.KindPut
	}
	l.send(wire.KindBatchReply, h.ID, func(b []byte) []byte {
		for _, it := range q.Items {
			r := w.apply(l, kind, &wire.Request{Digest: it.Digest, Body: it.Body})
			b = wire.AppendBytes(b, r.Append(nil))
		}
		return b
	})
}

// answerScan gives up to two records a reply, in digest order; the cursor is
// how many were given.
func (w *world) answerScan(l *fakeLink, h wire.Header, p []byte) {
	var q wire.Scan
	if err := q.Parse(p); err != nil {
		panic(err)
	}
	w.mu.Lock()
	var all []wire.ScanItem
	for d, s := range w.store {
		if d.Partition() == int(q.Partition) {
			all = append(all, wire.ScanItem{Digest: d, Generation: s.gen, Body: s.body})
		}
	}
	master := w.m.Members[w.m.Namespaces[0].Masters[q.Partition]].Node
	w.mu.Unlock()
	slices.SortFunc(all, func(a, b wire.ScanItem) int { return slices.Compare(a.Digest[:], b.Digest[:]) })
	from, to := min(int(q.Cursor), len(all)), min(int(q.Cursor)+2, len(all))
	r := wire.ScanReply{Next: uint64(to), Done: to == len(all), Items: all[from:to]}
	if master != l.node.id {
		r = wire.ScanReply{Status: wire.StatusNotMaster}
	}
	l.send(wire.KindScanReply, h.ID, r.Append)
}

func (w *world) masterLocked(d *record.Digest) cluster.NodeID {
	i := w.m.Namespaces[0].Masters[d.Partition()]
	if i == wire.NoMaster {
		return 0
	}
	return w.m.Members[i].Node
}

// kill breaks all links of a node and refuses new ones; silent keeps the
// links open but answers nothing any more, like a dead host.
func (w *world) kill(id cluster.NodeID, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[id]
	n.down = true
	n.hook = func(*fakeLink, wire.Header, []byte) bool { return true }
	if silent {
		return
	}
	for _, l := range n.links {
		l.Close(nil)
	}
}

// without gives the next View: the same without some nodes, whose partitions
// go to the first member that is left.
func (w *world) without(ids ...cluster.NodeID) *wire.Map {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := *w.m
	m.View.Counter++
	m.Members = nil
	place := make([]uint16, len(w.m.Members))
	for i, x := range w.m.Members {
		if slices.Contains(ids, x.Node) {
			place[i] = 0
			continue
		}
		place[i] = uint16(len(m.Members))
		m.Members = append(m.Members, x)
	}
	m.Namespaces = slices.Clone(w.m.Namespaces)
	for p, i := range w.m.Namespaces[0].Masters {
		m.Namespaces[0].Masters[p] = place[i]
	}
	return &m
}

// moved gives a map of the same View in which to masters every partition.
func (w *world) moved(to cluster.NodeID) *wire.Map {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := *w.m
	m.Generation++
	m.Namespaces = slices.Clone(w.m.Namespaces)
	i := slices.IndexFunc(m.Members, func(x wire.MapMember) bool { return x.Node == to })
	for p := range m.Namespaces[0].Masters {
		m.Namespaces[0].Masters[p] = uint16(i)
	}
	return &m
}

// push makes m the map of the world and pushes it from every live node.
func (w *world) push(m *wire.Map) {
	w.mu.Lock()
	w.m = m
	var links []*fakeLink
	for _, n := range w.nodes {
		if !n.down {
			links = append(links, n.links...)
		}
	}
	w.mu.Unlock()
	for _, l := range links {
		l.send(wire.KindMap, 0, m.Append)
	}
}

// take installs a hook on a node.
func (w *world) take(id cluster.NodeID, hook func(l *fakeLink, h wire.Header, p []byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[id].hook = hook
}

func (w *world) count(id cluster.NodeID, kind wire.Kind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[id].got[kind]
}

// inWorld runs f in a bubble with a world of n nodes and a client to it.
func inWorld(t *testing.T, n int, f func(t *testing.T, w *world, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(n)
		c, err := dialWith(t.Context(), Config{Seeds: []string{addrOf(1)}}, w)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(100 * time.Millisecond) // in the bubble: all members are connected
		synctest.Wait()
		f(t, w, c)
	})
}

// keyOn returns a key that id masters.
func (w *world) keyOn(t *testing.T, id cluster.NodeID) Key {
	t.Helper()
	for i := range int64(10000) {
		k, err := NewKey("users", record.Int(i))
		if err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		m := w.masterLocked(&k.digest)
		w.mu.Unlock()
		if m == id {
			return k
		}
	}
	t.Fatalf("no key is mastered by %v", id)
	return Key{}
}

func bins(v int64) []record.Bin { return []record.Bin{{Name: "v", Value: record.Int(v)}} }
