package sim

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// scanPatience is how long a scan goes on trying for a partition. Package
// client waits for ever, or as long as its caller says.
const scanPatience = 5 * opTimeout

// partitionScan is a scan of one partition as package client makes it: page by
// page from one master, anew from the start if another one takes over. It is a
// get of each of the partition's keys: every one that lives from beginning to
// end is visited, and one that is not visited was absent at some moment.
type partitionScan struct {
	c       *Client
	space   int
	pid     int
	slot    int
	page    int // records of one
	begin   cluster.Instant
	at      cluster.NodeID
	cursor  uint64
	keys    []*key // of the partition
	visited map[*key]bool
	pauses  int
	done    func()
}

// Scan reads all keys of a partition, page records at a time.
func (c *Client) Scan(space, slot, page int, done func()) {
	c.running++
	s := &partitionScan{c: c, space: space, pid: c.d.pids[slot], slot: slot, page: page, begin: c.d.W.now, visited: map[*key]bool{}, done: done}
	for _, k := range c.d.keys {
		if k.space == space && k.slot == slot {
			s.keys = append(s.keys, k)
		}
	}
	s.ask()
}

func (s *partitionScan) ask() {
	w := s.c.d.W
	if w.now.Sub(s.begin) > scanPatience { // what it has visited, it has seen; of the rest nothing is known
		s.end()
		return
	}
	m := s.master()
	if m != s.at {
		s.at, s.cursor = m, 0 // a cursor means nothing to another node
	}
	q := wire.Scan{Namespace: uint8(s.space), Partition: uint16(s.pid), Cursor: s.cursor, Max: uint16(s.page)}
	if m == 0 || !s.c.submitTo(s.c.nodes[m], wire.KindScan, q.Append(nil), w.now.Add(opTimeout), s.answered) {
		s.again()
	}
}

func (s *partitionScan) master() cluster.NodeID {
	if i := s.c.cur.masters[s.space][s.slot]; int(i) < len(s.c.cur.members) {
		return s.c.cur.members[i]
	}
	return 0
}

func (s *partitionScan) again() {
	s.c.d.W.After(min(backoffMin<<min(s.pauses, 16), backoffMax), s.ask)
	s.pauses++
}

// answered takes in one page; nil: none came.
func (s *partitionScan) answered(r *wire.Reply) {
	var p wire.ScanReply
	if r != nil {
		if err := p.Parse(r.Bins); err != nil {
			s.c.d.W.fail("a scan's reply does not parse: %v", err)
			return
		}
	}
	if r == nil || p.Status != wire.StatusOK {
		s.again()
		return
	}
	for i := range p.Items {
		s.visit(&p.Items[i])
	}
	if s.cursor, s.pauses = p.Next, 0; !p.Done {
		s.ask()
		return
	}
	for _, k := range s.keys {
		if !s.visited[k] {
			s.saw(k, wire.StatusNotFound, &wire.Reply{})
		}
	}
	s.c.d.Stats.Scans++
	s.end()
}

func (s *partitionScan) visit(it *wire.ScanItem) {
	i := slices.IndexFunc(s.keys, func(k *key) bool { return k.digest == it.Digest })
	if i < 0 {
		s.c.d.W.fail("a scan of partition %d finds a record that nobody wrote: %x", s.pid, it.Digest)
		return
	}
	k := s.keys[i]
	s.visited[k] = true
	s.saw(k, wire.StatusOK, &wire.Reply{Generation: it.Generation, Expiry: it.Expiry, Bins: record.Body(it.Body).RawBins()})
}

// saw notes what the scan found of a key, as a get that began with it.
func (s *partitionScan) saw(k *key, st wire.Status, r *wire.Reply) {
	a := s.c.d.newAct(k, verbGet)
	a.start = s.begin
	s.c.d.acted(a, st, r)
}

func (s *partitionScan) end() {
	s.c.running--
	s.done()
}

// scanSteps is how many records of a page are visited under the engine's lock
// at once: few, as the partitions are small.
const scanSteps = 3

// scan is server's: one page of a partition's records.
func (a *app) scan(from txn.Origin, kind wire.Kind, _ *plane.QueueClock, payload []byte) {
	var q wire.Scan
	if err := q.Parse(payload); err != nil {
		a.bad(kind, err)
		return
	}
	s, pid := a.spaces[q.Namespace], int(q.Partition)
	r := wire.ScanReply{Next: q.Cursor}
	before := s.Route(pid)
	if before&1 == 1 {
		s.scanPage(&q, &r)
	} else {
		r.Status = wire.StatusNotMaster
	}
	if now := a.now(); now.Mono >= now.Lease || s.Route(pid) != before {
		r = wire.ScanReply{Status: wire.StatusNotMaster, Next: q.Cursor}
	}
	from.Conn.(*link).reply(from.ID, &wire.Reply{Bins: r.Append(nil)}, a.viewKey())
}

func (s *space) scanPage(q *wire.Scan, r *wire.ScanReply) {
	sec := uint32(s.Now().WallMS / 1000)
	cursor := storage.Cursor(q.Cursor)
	for !r.Done && len(r.Items) < int(q.Max) {
		from, had, done := cursor, len(r.Items), false
		var visited []record.Digest
		cursor, done = s.store.Scan(int(q.Partition), cursor, min(scanSteps, int(q.Max)-len(r.Items)), func(d *record.Digest, m *record.Meta, body []byte) {
			visited = append(visited, *d)
			switch {
			case !m.Live(sec):
			case m.Unreadable:
				r.Status = wire.StatusUnavailable // until another holder has sent it: a scan must not leave it out
			default:
				r.Items = append(r.Items, wire.ScanItem{Digest: *d, Generation: m.Generation, Expiry: m.Expiry, Body: slices.Clone(body)})
			}
		})
		if slices.ContainsFunc(visited, func(d record.Digest) bool { return !s.Settled(&d) }) {
			// A write of one is in flight, and what it leaves may not last: the
			// page ends before it.
			if cursor, r.Items = from, r.Items[:had]; had == 0 {
				r.Status = wire.StatusBusy
			}
			break
		}
		r.Done = done
	}
	if r.Next = uint64(cursor); r.Status != wire.StatusOK {
		*r = wire.ScanReply{Status: r.Status, Next: q.Cursor}
	}
}
