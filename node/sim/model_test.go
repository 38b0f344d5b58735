package sim

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"headroom/node/cluster"
	"headroom/node/wire"
)

// cell is what a key may be: its record, if it is live.
type cell struct {
	live   bool
	id     uint64
	n      int64
	log    string
	gen    uint16
	lo, hi uint32 // seconds of the wall clock between which it expires; both zero: never
}

// loseMost bounds the writes that one crash of a master can lose of one key.
const loseMost = 8

// memory is a cell and, where writes are acknowledged by the master alone, what
// it was before each of the writes that a crash may lose.
type memory struct {
	cell
	before [loseMost]cell
	depth  int
}

// input is one act as the model sees it.
type input struct {
	*act
	may      bool // it may have had no effect
	again    int  // or so many effects beyond one
	lead     int64
	from, to int64 // its time in milliseconds of the wall clock
}

// records is the model of a key under acts of all kinds. A write without a
// certain fate, and each further sending of one that may be sent again, may
// have had an effect or not. Clocks of nodes differ by up to lead, so that near
// its expiry a record may be there or not.
var records = porcupine.NondeterministicModel{
	Init: func() []any { return []any{memory{}} },
	Step: func(state, in, _ any) []any {
		m, i := state.(memory), in.(input)
		if i.verb == verbLose {
			return m.truncated()
		}
		var out []any
		for _, live := range []bool{true, false} {
			if live && !m.mayLive(i) || !live && !m.mayBeDead(i) {
				continue
			}
			old := m.cell
			if !live {
				old = cell{}
			}
			next, ok := old.after(i)
			for more := 0; ok && more <= i.again; more++ {
				if next == old { // a read: what is expired for one node may be seen at another
					next = m.cell
				}
				out = append(out, m.with(next, i))
				next, ok = next.after(i)
			}
			if i.may {
				out = append(out, m)
			}
		}
		return out
	},
}

func (m memory) truncated() (out []any) {
	out = append(out, m)
	for m.depth > 0 {
		m.depth--
		m.cell, m.before[m.depth] = m.before[m.depth], cell{}
		out = append(out, m)
	}
	return out
}

// with is the memory after a write left c; one that no crash can lose any more
// vouches for all before it.
func (m memory) with(c cell, i input) memory {
	if c == m.cell {
		return m
	}
	if i.verb == verbGet || i.verb == verbHeader { // it narrowed down when the record expires
		m.cell = c
		return m
	}
	switch {
	case !i.loose:
		m = memory{}
	case m.depth < loseMost:
		m.before[m.depth] = m.cell
		m.depth++
	}
	m.cell = c
	return m
}

func (c cell) mayLive(i input) bool {
	return c.live && (c.hi == 0 || i.from-i.lead < int64(c.hi)*1000)
}

func (c cell) mayBeDead(i input) bool {
	return !c.live || c.hi != 0 && i.to+i.lead >= int64(c.lo)*1000
}

// after is what an act leaves of a record, and whether what it saw fits.
func (c cell) after(i input) (cell, bool) {
	if i.check && (c.live && c.gen != i.gen || !c.live && i.gen != 0) {
		return c, i.fate == fateMismatch
	}
	if i.fate == fateMismatch {
		return c, false
	}
	exact := i.fate == fateDone && !i.may
	switch i.verb {
	case verbGet, verbHeader:
		return c.seen(i)
	case verbDelete:
		if i.fate == fateAbsent && !i.may {
			return c, !c.live
		}
		if !c.live {
			return c, i.may || i.unsure > 0
		}
		return cell{}, !exact || i.unsure > 0 || i.saw.gen == c.next()
	case verbTouch:
		if i.fate == fateAbsent && !i.may || !c.live {
			return c, !c.live && (i.may || i.fate == fateAbsent)
		}
	case verbPut:
		c = cell{live: c.live, gen: c.gen, lo: c.lo, hi: c.hi, id: i.id}
	case verbAdd:
		c.n, c.log = c.n+i.delta, c.log+i.mark()
	}
	c.gen = c.next()
	c.live = true
	c.expire(i)
	if !exact {
		return c, true
	}
	if i.verb == verbAdd && (i.saw.n != c.n || i.saw.log != c.log) || i.saw.gen != c.gen {
		return c, false
	}
	return c.narrowed(i.saw.expiry)
}

// seen is the record after a read of it.
func (c cell) seen(i input) (cell, bool) {
	if i.fate == fateAbsent {
		return c, !c.live
	}
	whole := i.verb == verbHeader || i.saw.id == c.id && i.saw.n == c.n && i.saw.log == c.log
	if !c.live || !whole || i.saw.gen != c.gen {
		return c, false
	}
	return c.narrowed(i.saw.expiry)
}

func (c cell) next() uint16 {
	if c.live && c.gen != math.MaxUint16 {
		return c.gen + 1
	}
	return 1
}

// expire gives the record the time to live that the act asked for.
func (c *cell) expire(i input) {
	switch i.ttl {
	case wire.TTLNever:
		c.lo, c.hi = 0, 0
	case wire.TTLKeep:
	default:
		c.lo, c.hi = uint32((i.from-i.lead)/1000)+i.ttl, uint32((i.to+i.lead)/1000)+i.ttl
	}
}

// narrowed is the record if it expires at that second; zero: never.
func (c cell) narrowed(expiry uint32) (cell, bool) {
	if expiry < c.lo || expiry > c.hi {
		return c, false
	}
	c.lo, c.hi = expiry, expiry
	return c, true
}

// doubtFor is how long after its beginning an act in doubt may have its effect.
const doubtFor = 10 * time.Second

// checkActs asserts that the acts on each key can be put in one order that
// everything agrees with that clients were told.
func (d *Data) checkActs() error {
	model := records.ToModel()
	for _, k := range d.keys {
		switch porcupine.CheckOperationsTimeout(model, d.actsOf(k), linearLimit) {
		case porcupine.Illegal:
			d.W.fail("the acts on key %d in partition %d of %s are not linearizable:\n%s", k.index, k.pid(), spaceName(k.space), k.tell())
		case porcupine.Unknown:
			d.W.fail("the acts on key %d in partition %d are not judged within %v:\n%s", k.index, k.pid(), linearLimit, k.tell())
		}
	}
	return d.W.Err
}

func (k *key) tell() string {
	var b strings.Builder
	for _, a := range k.acts {
		fmt.Fprintf(&b, "  %v\n", a)
	}
	return b.String()
}

func (d *Data) actsOf(k *key) []porcupine.Operation {
	var h []porcupine.Operation
	lead := d.cfg.Skew.Milliseconds() + 1000
	add := func(a *act, may bool, end cluster.Instant, again int) {
		i := input{act: a, may: may, again: again, lead: lead, from: wallStart + int64(a.start)/1e6, to: wallStart + int64(min(end, a.start.Add(doubtFor)))/1e6}
		h = append(h, porcupine.Operation{ClientId: len(h), Input: i, Call: int64(a.start), Return: int64(end)})
	}
	for _, a := range k.acts {
		writes := a.verb != verbGet && a.verb != verbHeader && a.verb != verbLose
		again := a.unsure
		if a.fate == fateDoubt {
			again = max(again, 1)
		}
		switch {
		case a.fate == fateNone || !writes && a.fate == fateDoubt:
			continue
		case a.fate != fateDoubt:
			add(a, false, a.end, 0)
		}
		if !writes || (a.check || a.verb == verbAdd) && a.fate != fateDoubt {
			continue // sent again only after it certainly had no effect
		}
		if a.check || a.verb == verbAdd {
			again = 1
		}
		end := a.end
		if a.fate == fateDoubt {
			end = math.MaxInt64
		}
		for n := min(again, maxAgain); n > 0; n-- {
			more := 0
			if again > maxAgain { // several at a time, with nothing in between
				more = again - 1
			}
			add(a, true, end, more)
		}
	}
	return h
}
