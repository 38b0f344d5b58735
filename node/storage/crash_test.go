package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"headroom/node/disk"
	"headroom/node/hlc"
	"headroom/node/record"
)

const (
	crashBlock  = 8 << 10
	crashAlign  = 512
	crashDevice = volumeHeader + 28*crashBlock
	crashKeys   = 150
)

// crashOps is the length of the script: 2,000 for the full sweep (make crash).
var crashOps = flag.Int("crash-ops", 250, "operations of the script of the crash sweep")

// content is what a key may hold: a version, or nothing.
type content struct {
	there     bool
	meta      record.Meta
	body      []byte
	collected bool // removed without a tombstone, or buried: the one before it is as good
}

// ledger is what a disk may hold after a crash: for each key the contents
// since the one that was durable for certain.
type ledger struct {
	keys    [crashKeys]record.Digest
	history [crashKeys][]content
	floor   [crashKeys]int
}

func newLedger() *ledger {
	l := &ledger{}
	for k := range l.keys {
		binary.LittleEndian.PutUint16(l.keys[k][:], uint16(k%5)) // five partitions
		binary.LittleEndian.PutUint64(l.keys[k][4:], uint64(k)*0x9e3779b97f4a7c15)
		l.history[k] = []content{{}}
	}
	return l
}

func (l *ledger) last(k int) content      { return l.history[k][len(l.history[k])-1] }
func (l *ledger) record(k int, c content) { l.history[k] = append(l.history[k], c) }
func (l *ledger) marks() (m [crashKeys]int) {
	for k := range l.history {
		m[k] = len(l.history[k]) - 1
		for l.history[k][m[k]].collected {
			m[k]--
		}
	}
	return m
}

// check compares an engine with what it may hold.
func (l *ledger) check(e *Engine) error {
	for k := range l.keys {
		m, body, ok := e.Get(&l.keys[k], nil)
		if ok && m.Unreadable {
			return fmt.Errorf("key %d is unreadable", k)
		}
		found := false
		for _, c := range l.history[k][l.floor[k]:] {
			found = found || c.there == ok && (!ok || c.meta == m && bytes.Equal(c.body, body))
		}
		if !found {
			return fmt.Errorf("key %d: there %v, %+v, %d bytes; may be any of %d contents from %d on, the last %+v", k, ok, m, len(body),
				len(l.history[k]), l.floor[k], l.last(k).meta)
		}
	}
	return nil
}

// rig is an engine on a disk whose every operation can be hooked.
type rig struct {
	ledger   *ledger
	mem      *disk.Memory
	dir      *disk.MemoryDir
	schedule *disk.Schedule
	e        *Engine
	rnd      *rand.Rand
	inMemory bool
	stamp    uint64
	ops      int
	alarms   int // crashes called damage: an old filling of which a new one overwrote a part without a header
}

func crashConfig(dev disk.Device, dir disk.Dir, inMemory bool) Config {
	return Config{Log: &LogConfig{Name: "test", Node: 1, Devices: []disk.Device{dev}, Dir: dir, WriteBlock: crashBlock, Serial: true,
		InMemory: inMemory, NewID: func() uint64 { return 0x1234567 }}}
}

func (r *rig) open() error {
	e, err := Open(crashConfig(disk.NewFaulty(r.mem, r.schedule), disk.NewFaultyDir(r.dir, r.schedule), r.inMemory))
	r.e = e
	return err
}

func newRig(seed uint64, inMemory bool, decide func(disk.Op) disk.Fault) (*rig, error) {
	r := &rig{ledger: newLedger(), mem: disk.NewMemory("dev", crashDevice, crashAlign), dir: disk.NewMemoryDir(),
		rnd: rand.New(rand.NewPCG(seed, 1)), inMemory: inMemory}
	r.schedule = disk.NewSchedule(decide)
	return r, r.open()
}

// step does one operation of the script. It returns an error only for what
// must not happen.
func (r *rig) step() error {
	r.ops++
	k := r.rnd.IntN(crashKeys)
	if r.rnd.IntN(3) > 0 {
		k %= 30 // hot
	}
	switch n := r.rnd.IntN(100); {
	case n < 62:
		r.put(k, r.rnd.IntN(700), false)
	case n < 68:
		r.put(k, 0, true)
	case n < 72:
		if r.rnd.IntN(2) == 0 {
			r.remove(k)
		} else {
			r.bury(k)
		}
	case n < 73:
		r.drop(r.rnd.IntN(5))
	case n < 86:
		return r.flush()
	case n < 90:
		r.e.Write()
	case n < 96:
		for r.e.Defragment() {
			r.e.Write()
		}
	default:
		for r.rnd.IntN(4) > 0 && r.e.Raid() {
		}
	}
	if r.ops%150 == 0 {
		return r.restart()
	}
	return nil
}

func (r *rig) put(k, size int, tombstone bool) {
	r.stamp++
	c := content{there: true, meta: record.Meta{Version: record.Version{Regime: 1, Stamp: hlc.Stamp(r.stamp), Node: 1, Lifted: uint8(r.stamp % 2)}, Generation: uint16(r.stamp),
		Tombstone: tombstone, Shortens: !tombstone && r.stamp%3 == 0}}
	if !tombstone {
		c.body = bytes.Repeat([]byte{byte(r.stamp), byte(k)}, size/2)
	}
	r.ledger.record(k, c) // it may be on the disk before Put returns
	if err := r.e.Put(&r.ledger.keys[k], c.meta, c.body); err != nil {
		h := &r.ledger.history[k]
		*h = (*h)[:len(*h)-1]
	}
}

func (r *rig) remove(k int) {
	if c := r.ledger.last(k); c.there && c.meta.Tombstone {
		r.e.Remove(&r.ledger.keys[k], c.meta.Version)
		r.ledger.record(k, content{collected: true})
	}
}

// bury makes a tombstone of a record: that the record itself comes back is as
// good, because it has expired.
func (r *rig) bury(k int) {
	c := r.ledger.last(k)
	if !c.there || c.meta.Tombstone {
		return
	}
	r.ledger.record(k, content{there: true, meta: record.Meta{Version: c.meta.Version, Generation: c.meta.Generation, Tombstone: true}, collected: true})
	if !r.e.Bury(&r.ledger.keys[k], c.meta.Version) {
		h := &r.ledger.history[k]
		*h = (*h)[:len(*h)-1]
	}
}

func (r *rig) drop(p int) {
	r.e.Drop(p)
	for k := range r.ledger.keys {
		if r.ledger.keys[k].Partition() == p {
			r.ledger.record(k, content{})
		}
	}
}

func (r *rig) flush() error {
	before := r.ledger.marks()
	if err := r.e.Flush(); err == nil {
		r.ledger.floor = before
		return nil
	}
	if err := r.e.Flush(); err == nil {
		return errors.New("a flush succeeded after one that failed")
	}
	return nil
}

// restart closes the engine properly and opens it again.
func (r *rig) restart() error {
	before := r.ledger.marks()
	if err := r.e.shutdown(); err != nil {
		return nil // a fault; the engine goes on
	}
	r.ledger.floor = before
	r.e.Close()
	r.mem = r.mem.Crashed(nil)
	err := r.open()
	if errors.Is(err, disk.ErrInjected) {
		r.mem = r.mem.Crashed(nil)
		err = r.open()
	}
	if err != nil {
		return fmt.Errorf("open after a clean end: %w", err)
	}
	if rec := r.e.Recovery(); rec.Corrupt+rec.Torn > 0 {
		return fmt.Errorf("after a clean end: %+v", rec)
	}
	return r.ledger.check(r.e)
}

// crash opens what a crash at this moment may leave, and checks it.
func (r *rig) crash(keep func() bool) error {
	e, err := Open(crashConfig(r.mem.Crashed(keep), r.dir.Crashed(keep), r.inMemory))
	if err != nil {
		return err
	}
	defer e.Close()
	if c := e.Recovery().Corrupt; c > 0 {
		r.alarms++
	}
	return r.ledger.check(e)
}

// TestCrashAtEveryOperationLosesNothingFlushed crashes before every operation
// on device and directory of a script of operations, each time with
// nothing, everything and random parts of what was not synced kept.
func TestCrashAtEveryOperationLosesNothingFlushed(t *testing.T) {
	points, failed := 0, false
	for _, inMemory := range []bool{false, true} {
		var r *rig
		var last disk.Op
		hook := func(op disk.Op) disk.Fault {
			if failed || r == nil || r.e == nil || op.Kind == disk.OpRead {
				return disk.None
			}
			last = op
			some := rand.New(rand.NewPCG(op.N, 2))
			modes := []func() bool{nil, func() bool { return true }, func() bool { return some.IntN(2) == 0 }, func() bool { return some.IntN(2) == 0 }, func() bool { return some.IntN(3) == 0 }, func() bool { return some.IntN(2) == 0 }, func() bool { return some.IntN(8) == 0 }}
			for i, keep := range modes {
				points++
				if err := r.crash(keep); err != nil {
					t.Errorf("in memory %v, script operation %d, disk operation %+v, mode %d: %v", inMemory, r.ops, last, i, err)
					failed = true
					break
				}
			}
			return disk.None
		}
		var err error
		if r, err = newRig(7, inMemory, hook); err != nil {
			t.Fatal(err)
		}
		for range *crashOps {
			if err := r.step(); err != nil {
				t.Fatalf("script operation %d: %v", r.ops, err)
			}
			if failed {
				break
			}
		}
		if err := r.ledger.check(r.e); err != nil {
			t.Error(err)
		}
		if r.alarms*50 > points {
			t.Errorf("%d of %d crashes are called damage", r.alarms, points)
		}
		t.Logf("in memory %v: %d crash points so far, %+v", inMemory, points, r.e.Devices()[0].VolumeStats)
		r.e.Close()
	}
	if *crashOps >= 2000 && points < 10_000 && !failed {
		t.Errorf("only %d crash points", points)
	}
}

// TestFaultAtAnyOperationIsNeverAcknowledged lets the n-th operation fail or
// tear, goes on with the script, and then crashes.
func TestFaultAtAnyOperationIsNeverAcknowledged(t *testing.T) {
	for n := uint64(20); n < 600; n += 7 {
		for _, fault := range []disk.Fault{disk.Error, disk.Torn} {
			r, err := newRig(n, false, func(op disk.Op) disk.Fault {
				if op.N == n && op.Kind != disk.OpRead {
					return fault
				}
				return disk.None
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 250 {
				if err := r.step(); err != nil {
					t.Fatalf("fault %d in operation %d: %v", fault, n, err)
				}
			}
			some := rand.New(rand.NewPCG(n, 3))
			if err := r.crash(func() bool { return some.IntN(2) == 0 }); err != nil {
				t.Fatalf("fault %d in operation %d, then a crash: %v", fault, n, err)
			}
			r.e.Close()
		}
	}
}
