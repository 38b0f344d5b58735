package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// verb is what an act does.
type verb uint8

const (
	verbGet    verb = iota // all bins: also an item of a batch, or of a scan
	verbHeader             // generation and expiry only
	verbPut                // replaces the record: also an item of a batch
	verbDelete
	verbTouch // a new time to live
	verbAdd   // operate: adds to a counter, appends to a log, and reads both
	verbLose  // not an operation: the node that acknowledged alone has crashed
)

var verbNames = [...]string{"get", "header", "put", "delete", "touch", "add", "crash of the master"}

// fate is how an act ended.
type fate uint8

const (
	fateDoubt    fate = iota // it may have had its effect, or may yet
	fateDone                 // it had its effect, or saw the record
	fateAbsent               // there was no record
	fateMismatch             // the record had another generation than the one asked for
	fateNone                 // it certainly had no effect
)

var fateNames = [...]string{"in doubt", "done", "absent", "another generation", "none"}

// act is one operation on one key as its client saw it. What the acts on a key
// add up to is judged at the end, see model_test.go.
type act struct {
	id         uint64
	verb       verb
	check      bool   // only if the record's generation is gen; zero: only if there is none
	gen        uint16 // see check
	ttl        uint32 // as in wire.Request
	delta      int64  // of an add
	start, end cluster.Instant
	unsure     int // how many of its sendings may have had an effect though they were not acknowledged
	fate       fate
	saw        sight
	loose      bool // a crash may lose it although it was acknowledged: its namespace commits to the master
}

// sight is what an act saw of the record, or left of it: all of it for a get,
// counter and log for an add, generation and expiry for the others.
type sight struct {
	id     uint64 // of the put that made it; zero: an add did
	n      int64
	log    string
	gen    uint16
	expiry uint32
}

// String tells of an act in failures.
func (a *act) String() string {
	s := fmt.Sprintf("%s %d [%v, %v] %s", verbNames[a.verb], a.id, time.Duration(a.start), time.Duration(a.end), fateNames[a.fate])
	if a.check {
		s += fmt.Sprintf(" if generation %d", a.gen)
	}
	if a.unsure > 0 {
		s += fmt.Sprintf(" with %d unsure sendings", a.unsure)
	}
	return s + fmt.Sprintf(" %+v", a.saw)
}

var verbKinds = [...]wire.Kind{wire.KindGet, wire.KindGetHeader, wire.KindPut, wire.KindDelete, wire.KindTouch, wire.KindOperate}

// newAct begins an act of a key.
func (d *Data) newAct(k *key, v verb) *act {
	d.writes++
	a := &act{id: d.writes, verb: v, start: d.W.now, end: cluster.Never, ttl: wire.TTLNever}
	k.acts = append(k.acts, a)
	return a
}

// body is what a puts or operates with; nil if it carries nothing.
func (a *act) body(pad int) []byte {
	switch a.verb {
	case verbPut:
		return body(a.id, pad)
	case verbAdd:
		b, err := wire.AppendOps(nil, "", record.Value{}, []record.Op{
			{Kind: record.OpAdd, Bin: "n", Value: record.Int(a.delta)},
			{Kind: record.OpAppend, Bin: "log", Value: record.String(a.mark())},
			{Kind: record.OpRead, Bin: "n"}, {Kind: record.OpRead, Bin: "log"}})
		if err != nil {
			panic("sim: invariant: four operations are valid: " + err.Error())
		}
		return b
	}
	return nil
}

// mark is what an add appends to the log.
func (a *act) mark() string { return strconv.FormatUint(a.id, 36) + "," }

// Act submits an act; done is called when its fate is known.
func (c *Client) Act(k *key, a *act, done func()) {
	x := &call{kind: verbKinds[a.verb], key: k, act: a, body: a.body(c.pad()), start: a.start, deadline: a.start.Add(opTimeout), done: done}
	c.running++
	c.d.W.at(x.deadline, func() { c.expire(x) })
	c.route(x)
}

// acted notes how an act ended. It reports whether the operation failed.
func (d *Data) acted(a *act, st wire.Status, r *wire.Reply) (failed bool) {
	a.end = d.W.now
	d.Stats.Worst = max(d.Stats.Worst, a.end.Sub(a.start))
	d.W.record("act", a.id, uint64(a.verb), uint64(st))
	d.Stats.Verbs[a.verb]++
	switch {
	case st == wire.StatusOK:
		a.fate, a.saw = fateDone, a.sightOf(r)
	case st == wire.StatusNotFound:
		a.fate = fateAbsent
		d.Stats.NotFound++
	case st == wire.StatusGeneration:
		a.fate = fateMismatch
		d.Stats.Mismatches++
	case st == wire.StatusInDoubt:
		d.Stats.InDoubt++
		d.W.logf("%v is in doubt", a)
		return !a.check && a.verb != verbAdd // these no client may send again
	case st == wire.StatusStopWrites:
		a.fate = fateNone
		d.Stats.Stopped++
		return false
	case retryableOrTimeout(st):
		a.fate = fateNone
		d.Stats.Refused++
		return true
	default:
		d.W.fail("%s ends as %v", verbNames[a.verb], st)
	}
	if a.verb == verbGet || a.verb == verbHeader {
		d.Stats.Reads++
	} else if a.fate == fateDone {
		d.Stats.Acked++
	}
	return false
}

// sightOf reads a reply.
func (a *act) sightOf(r *wire.Reply) sight {
	s := sight{gen: r.Generation, expiry: r.Expiry}
	switch a.verb {
	case verbGet:
		s.contents(record.Bins(r.Bins))
	case verbAdd:
		bins, _ := wire.ParseResults(r.Bins)
		for _, b := range bins {
			s.take(b)
		}
	}
	return s
}

func (s *sight) contents(bins record.Bins) {
	for b := range bins.All() {
		s.take(b)
	}
}

func (s *sight) take(b record.Bin) {
	switch b.Name {
	case "v":
		id, _ := b.Value.Int()
		s.id = uint64(id)
	case "n":
		s.n, _ = b.Value.Int()
	case "log":
		v, _ := b.Value.Str()
		s.log = strings.Clone(v)
	}
}
