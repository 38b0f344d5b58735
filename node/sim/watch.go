package sim

import (
	"fmt"
	"strings"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/wire"
)

// watch prints the life of one key into the World's log: what its clients did,
// what each store made of it, and the plan and the copies of its partition in
// each View. It is the trace to read when a history is wrong.
type watch struct {
	key  *key // nil: none
	seen map[cluster.ViewKey]bool
}

// Watch makes the World's log tell of the key with that index; below zero: of
// none.
func (d *Data) Watch(index int) {
	if index >= 0 && index < len(d.keys) {
		d.watch = watch{key: d.keys[index], seen: map[cluster.ViewKey]bool{}}
	}
}

// version is what a store holds of a record.
type version struct {
	meta record.Meta
	body []byte
	ok   bool
}

// stored tells the observers what a node's store made of a version.
func (d *Data) stored(s *space, digest *record.Digest, how string, old, v version) {
	if d.watches(digest, s.id) {
		d.watch.stored(s, how, v.meta, v.body)
	}
	if d.ledger == nil {
		return
	}
	p := d.ledger.of(s.id, digest)
	x := p.enter(&v.meta, v.body)
	if how == "stores" && v.meta.Version.Node == s.a.n.ID {
		x.writer = s.a.inc
		x.acknowledged = x.acknowledged || d.ledger.adopted(x)
	}
	if !old.ok {
		return
	}
	switch was := p.known(old.meta.Version); {
	case was == x: // it was only lifted
	case how == "stores":
		x.wrote(was)
	case how == "takes":
		p.replaced(x, was)
	}
}

// dropping tells the observers that a node drops its copy of a partition.
func (d *Data) dropping(s *space, pid int) {
	d.watch.dropped(s, pid)
	if d.ledger != nil {
		d.ledger.dropping(s, pid)
	}
}

func (d *Data) watches(digest *record.Digest, space int) bool {
	k := d.watch.key
	return k != nil && k.space == space && k.digest == *digest
}

// stored tells that a store holds another version of the key.
func (w *watch) stored(s *space, how string, m record.Meta, body []byte) {
	what := "a tombstone"
	if !m.Tombstone {
		what = fmt.Sprintf("write %d", writeOf(body))
	}
	s.a.d.W.logf("  node%d %s %s, regime %d stamp %d node%d", s.a.n.ID, how, what, m.Version.Regime, m.Version.Stamp, m.Version.Node)
}

// dropped tells that a store dropped the key's partition.
func (w *watch) dropped(s *space, pid int) {
	if w.key == nil || w.key.pid() != pid || w.key.space != s.id {
		return
	}
	if m, b, ok := s.store.Get(&w.key.digest, nil); ok {
		w.stored(s, "drops", m, b)
	}
}

// committed tells of the plan of the key's partition, once for each View.
func (w *watch) committed(d *Data, m *wire.Commit) {
	if w.key == nil || w.seen[m.View.Key] {
		return
	}
	w.seen[m.View.Key] = true
	pid := w.key.pid()
	for i, p := range m.Payloads {
		r, err := partition.ParseMemberReport(p)
		if err != nil {
			continue
		}
		n := r.Namespaces[w.key.space].Report
		d.W.logf("  %v: node%d reports %v, established %v, history %s", m.View.Key, m.View.Members[i].Node,
			describeCopy(n.Copies[pid]), n.Established[pid], counters(r.History))
	}
	part := &d.committed(m)[w.key.space].Plan.Parts[pid]
	names := func(list []uint16) string { return nodeNames(&m.View, list) }
	d.W.logf("  %v: available %v, master %s, final %s, writes to %s, duplicates %s, represented %s, fill %s, spares %s", m.View.Key,
		part.Available, names([]uint16{part.Master}), names([]uint16{part.Final}), names(part.WriteSet), names(part.Duplicates), names(part.Represented),
		names(part.Fill), names(part.Spares))
}

func describeCopy(c partition.Copy) string {
	if c.Empty {
		return fmt.Sprintf("%v@%v empty", c.State, c.Key)
	}
	return fmt.Sprintf("%v@%v", c.State, c.Key)
}

func counters(keys []cluster.ViewKey) string {
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%d.%d ", k.Counter, k.Proposer)
	}
	return strings.TrimSpace(b.String())
}

func nodeNames(v *cluster.View, list []uint16) string {
	var names []string
	for _, m := range list {
		if int(m) < len(v.Members) {
			names = append(names, fmt.Sprint(v.Members[m].Node))
		}
	}
	return "[" + strings.Join(names, " ") + "]"
}

// ended tells what a client was told.
func (w *watch) ended(d *Data, c *Client, x *call, st wire.Status, view cluster.ViewKey) {
	if x.key == w.key {
		id := uint64(0)
		if x.write != nil {
			id = x.write.id
		}
		d.W.logf("  client%d: %s %d begun at %v ends as %v under %v", c.ID, kindName(x.kind), id, x.start, st, view)
	}
}
