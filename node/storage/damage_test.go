package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headroom/node/disk"
	"headroom/node/hlc"
	"headroom/node/record"
)

// filled returns a disk with a ledger of what is on it, its last process
// ended properly or not.
func filled(t *testing.T, seed uint64, clean bool) *rig {
	t.Helper()
	r, err := newRig(seed, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k := range crashKeys {
		r.put(k, 300, false)
		r.put(k, 300+k, false)
	}
	if err := r.flush(); err != nil {
		t.Fatal(err)
	}
	if clean {
		if err := r.e.shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	r.mem, r.dir = r.mem.Crashed(nil), r.dir.Crashed(nil)
	r.e.Close()
	return r
}

// alter changes device bytes in place.
func alter(t *testing.T, m *disk.Memory, off int64, n int, change func(b []byte)) {
	t.Helper()
	from, to := off/crashAlign*crashAlign, (off+int64(n)+crashAlign-1)/crashAlign*crashAlign
	b := disk.Aligned(int(to - from))
	if err := m.ReadAt(b, from); err != nil {
		t.Fatal(err)
	}
	change(b[off-from : off-from+int64(n)])
	if err := m.WriteAt(b, from); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
}

// verdicts opens a damaged disk and returns how many records are right and
// how many are known to be lost; a wrong value, or a loss that nobody counts,
// is an error.
func verdicts(t *testing.T, r *rig) (right, lost int) {
	t.Helper()
	e, err := Open(crashConfig(r.mem, r.dir, false))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	doubtful := map[int]bool{}
	for _, p := range e.Recovery().Doubtful {
		doubtful[p] = true
	}
	for k := range r.ledger.keys {
		d := &r.ledger.keys[k]
		want := r.ledger.last(k)
		m, body, ok := e.Get(d, nil)
		switch {
		case ok && !m.Unreadable && m == want.meta && string(body) == string(want.body):
			right++
		case ok && !m.Unreadable && !slices.ContainsFunc(r.ledger.history[k], func(c content) bool { return c.meta == m && string(c.body) == string(body) }):
			t.Errorf("key %d: a value that never was", k)
		case ok && m.Unreadable, doubtful[d.Partition()], !e.Recovery().Clean:
			lost++ // the caller compares its copy with another node's
		default:
			t.Errorf("key %d: there %v %+v, %d bytes, in a partition said to be whole", k, ok, m, len(body))
		}
	}
	if lost > 0 && e.Recovery().Clean && e.Devices()[0].Corrupt == 0 {
		t.Errorf("%d records lost and no damage counted", lost)
	}
	return right, lost
}

func TestDamageIsNoticedAndNeverRead(t *testing.T) {
	for seed := range uint64(20) {
		for _, clean := range []bool{true, false} {
			rnd := rand.New(rand.NewPCG(seed, 5))
			r := filled(t, seed, clean)
			for range 20 {
				alter(t, r.mem, volumeHeader+rnd.Int64N(crashDevice-volumeHeader), 1, func(b []byte) { b[0] ^= byte(1 + rnd.IntN(255)) })
			}
			right, _ := verdicts(t, r)
			if right == 0 {
				t.Errorf("seed %d: nothing survived 20 flipped bytes", seed)
			}
			r = filled(t, seed, clean)
			page := make([]byte, 4096)
			from, to := volumeHeader+rnd.Int64N(12*crashBlock/4096)*4096, volumeHeader+rnd.Int64N(12*crashBlock/4096)*4096
			alter(t, r.mem, from, len(page), func(b []byte) { copy(page, b) })
			alter(t, r.mem, to, len(page), func(b []byte) { copy(b, page) })
			verdicts(t, r)
		}
	}
}

func TestDamagedRecordIsRepairedByTheSameVersion(t *testing.T) {
	r := filled(t, 1, true)
	e, err := Open(crashConfig(r.mem, r.dir, false))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d := &r.ledger.keys[3]
	_, en := e.find(&e.shards[d.Partition()], d)
	_, n, off := splitLoc(en.loc)
	alter(t, r.mem, volumeHeader+int64(n)*crashBlock+int64(off)+recordHeader+5, 1, func(b []byte) { b[0] ^= 1 })
	m, _, ok := e.Get(d, nil)
	if !ok || !m.Unreadable {
		t.Fatalf("damaged record: %v %+v", ok, m)
	}
	want := r.ledger.last(3)
	if applied, _, _, err := e.PutNewer(d, want.meta, want.body); err != nil || !applied {
		t.Fatalf("repair: %v %v", applied, err)
	}
	if m, body, ok := e.Get(d, nil); !ok || m != want.meta || string(body) != string(want.body) {
		t.Errorf("after repair: %v %+v", ok, m)
	}
}

func TestDevicesThatDoNotFitAreRefusedWithAdvice(t *testing.T) {
	good := filled(t, 1, true)
	open := func(dev disk.Device, dir disk.Dir, change func(*LogConfig)) error {
		c := crashConfig(dev, dir, false)
		if change != nil {
			change(c.Log)
		}
		e, err := Open(c)
		if err == nil {
			e.Close()
		}
		return err
	}
	refused := func(name string, err error, words ...string) {
		t.Helper()
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want an error with %q", name, err, w)
			}
		}
	}
	other := filled(t, 2, true)
	foreign := crashConfig(disk.NewMemory("dev", crashDevice, crashAlign), disk.NewMemoryDir(), false)
	foreign.Log.NewID = func() uint64 { return 99 }
	mem := foreign.Log.Devices[0].(*disk.Memory)
	e, err := Open(foreign)
	if err != nil {
		t.Fatal(err)
	}
	mem = mem.Crashed(nil)
	e.Close()
	refused("foreign", open(mem, good.dir.Crashed(nil), nil), "foreign", "remove the file")
	refused("no state", open(good.mem.Crashed(nil), disk.NewMemoryDir(), nil), "test.volume", "remove the file")

	short := disk.NewMemory("dev", crashDevice-4*crashBlock, crashAlign)
	b := disk.Aligned(crashDevice - 4*crashBlock)
	if err := good.mem.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := short.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	refused("truncated", open(short, good.dir.Crashed(nil), nil), "truncated", "restore it")
	refused("write block", open(good.mem.Crashed(nil), good.dir.Crashed(nil), func(c *LogConfig) { c.WriteBlock *= 2 }), "write-block-size")

	newer := good.mem.Crashed(nil)
	alter(t, newer, 0, superSize, func(b []byte) { b[12] = 9 })
	alter(t, newer, volumeHeader/2, superSize, func(b []byte) { b[12] = 9 })
	refused("destroyed superblocks", open(newer, good.dir.Crashed(nil), nil), "remove the file")

	old := other.mem.Crashed(nil) // a copy, then the node runs on
	if err := open(other.mem, other.dir, nil); err != nil {
		t.Fatal(err)
	}
	refused("older copy", open(old, other.dir.Crashed(nil), nil), "older copy", "remove the file")
}

func TestLostDeviceTakesItsPartitionsOnly(t *testing.T) {
	devs := []*disk.Memory{disk.NewMemory("a", crashDevice, crashAlign), disk.NewMemory("b", crashDevice, crashAlign)}
	var failed []int
	s := disk.NewSchedule(nil)
	c := crashConfig(devs[0], disk.NewMemoryDir(), false)
	c.Log.Devices = []disk.Device{devs[0], disk.NewFaulty(devs[1], s)}
	c.Log.Failed = func(slot int, _ error) { failed = append(failed, slot) }
	e, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	put := func(p int) error {
		d := record.Digest{byte(p), byte(p >> 8)}
		return e.Put(&d, record.Meta{Version: record.Version{Stamp: 1}, Generation: 1}, []byte(fmt.Sprint(p)))
	}
	for p := range 100 {
		if err := put(p); err != nil {
			t.Fatal(err)
		}
	}
	s.Kill("b")
	for range 2 {
		if err := e.Flush(); err == nil {
			t.Error("a flush of a dead device succeeded while its records are in the index")
		}
	}
	if len(failed) != 1 || failed[0] != 1 {
		t.Fatalf("failed devices told: %v", failed)
	}
	lost := e.Lost(1)
	if len(lost) != 2048 || lost[0] != 1 {
		t.Errorf("%d partitions lost, the first %d", len(lost), lost[0])
	}
	for p := range 100 {
		d := record.Digest{byte(p)}
		if _, _, ok := e.Get(&d, nil); ok != (p%2 == 0) {
			t.Errorf("partition %d: there %v", p, ok)
		}
	}
	if err := put(1); err != nil {
		t.Errorf("the other device does not take over: %v", err)
	}
	if err := e.Flush(); err != nil || e.Healthy() != 1 {
		t.Errorf("with nothing left on it the device counts no more: flush %v, %d healthy", err, e.Healthy())
	}
}

func TestAGivenUpDeviceFailsItsOperationsOnly(t *testing.T) {
	devs := []disk.Device{disk.NewMemory("a", crashDevice, crashAlign), disk.NewMemory("b", crashDevice, crashAlign)}
	var told []error
	c := crashConfig(disk.NewMemory("x", crashDevice, crashAlign), disk.NewMemoryDir(), false)
	c.Log.Devices = devs
	c.Log.Failed = func(slot int, err error) { told = append(told, fmt.Errorf("%d: %w", slot, err)) }
	e, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a, b := record.Digest{0}, record.Digest{1}
	put := func(d *record.Digest, stamp int) error {
		return e.Put(d, record.Meta{Version: record.Version{Stamp: hlc.Stamp(stamp)}, Generation: 1}, []byte("x"))
	}
	if err := errors.Join(put(&a, 1), put(&b, 1), e.Flush()); err != nil {
		t.Fatal(err)
	}
	e.GiveUp(1, disk.ErrStuck)
	e.GiveUp(1, disk.ErrGone)
	if len(told) != 1 || !errors.Is(told[0], disk.ErrStuck) {
		t.Errorf("told %v, want once, of the first reason", told)
	}
	if err := put(&b, 2); !errors.Is(err, disk.ErrStuck) || !strings.Contains(err.Error(), "device b") {
		t.Errorf("a write to the device: %v, want its name and the reason", err)
	}
	if err := put(&a, 2); err != nil {
		t.Errorf("a write to the other device: %v", err)
	}
}
