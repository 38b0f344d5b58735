package storage

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"headroom/node/cluster"
	"headroom/node/disk"
)

const spreadDevice = volumeHeader + 200*crashBlock

// rack is a set of devices in memory and the directory beside them.
type rack struct {
	devs []*disk.Memory
	dir  *disk.MemoryDir
}

func newRack(n int) *rack {
	r := &rack{dir: disk.NewMemoryDir()}
	for range n {
		r.add()
	}
	return r
}

func (r *rack) add() {
	r.devs = append(r.devs, disk.NewMemory(fmt.Sprint("d", len(r.devs)), spreadDevice, crashAlign))
}

// crashed is what is left after a crash that kept what was synced, and share
// of the rest.
func (r *rack) crashed(keep func() bool) *rack {
	c := &rack{dir: r.dir.Crashed(keep)}
	for _, d := range r.devs {
		c.devs = append(c.devs, d.Crashed(keep))
	}
	return c
}

func (r *rack) open(s *disk.Schedule, inMemory bool) (*Engine, error) {
	c := crashConfig(r.devs[0], disk.NewFaultyDir(r.dir, s), inMemory)
	c.Log.Devices = nil
	for _, d := range r.devs {
		c.Log.Devices = append(c.Log.Devices, disk.NewFaulty(d, s))
	}
	return Open(c)
}

const spreadRecords = 3000

func spreadBody(k int) []byte { return bytes.Repeat([]byte{byte(k)}, k%300) }

// loaded is a rack of n devices that holds records, a third of them
// overwritten and some deleted; closed properly or not.
func loaded(t *testing.T, n int, clean bool) *rack {
	t.Helper()
	r := newRack(n)
	e, err := r.open(disk.NewSchedule(nil), false)
	if err != nil {
		t.Fatal(err)
	}
	put := func(k, stamp int, body []byte, tombstone bool) {
		d := numbered(k)
		m := versioned(stamp)
		m.Tombstone = tombstone
		for e.Put(&d, m, body) != nil {
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for k := range spreadRecords {
		put(k, 1, []byte("old"), false)
		if k%3 != 1 {
			put(k, 2, spreadBody(k), k%3 == 2)
		}
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	if clean {
		if err := e.shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	return r.crashed(nil)
}

// holds checks that an engine has what loaded wrote.
func holds(e *Engine) error {
	for k := range spreadRecords {
		d := numbered(k)
		m, body, ok := e.Get(&d, nil)
		want, stamp := spreadBody(k), 2
		switch k % 3 {
		case 1:
			want, stamp = []byte("old"), 1
		case 2:
			want = nil
		}
		if !ok || m.Unreadable || m.Tombstone != (k%3 == 2) || int(m.Version.Stamp) != stamp || !bytes.Equal(body, want) {
			return fmt.Errorf("record %d: there %v, %+v, %d bytes; want stamp %d, %d bytes", k, ok, m, len(body), stamp, len(want))
		}
	}
	return nil
}

// homesOf counts the partitions of each device.
func homesOf(e *Engine, n int) []int {
	count := make([]int, n)
	for p := range cluster.Partitions {
		count[uint8(e.log.homes[p].Load())]++
	}
	return count
}

func TestAFurtherDeviceGetsItsShare(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, inMemory := range []bool{true, false} {
			r := loaded(t, 2, clean)
			r.add()
			e, err := r.open(disk.NewSchedule(nil), inMemory)
			if err != nil {
				t.Fatal(err)
			}
			if err := holds(e); err != nil {
				t.Errorf("clean %v, in memory %v: %v", clean, inMemory, err)
			}
			if got := homesOf(e, 3); got[2] != cluster.Partitions/3 || got[0] < 1365 || got[1] < 1365 {
				t.Errorf("clean %v, in memory %v: partitions per device %v", clean, inMemory, got)
			}
			d := e.Devices()
			if d[2].UsedBytes*2 < d[0].UsedBytes || d[2].UsedBytes > d[0].UsedBytes*2 {
				t.Errorf("the devices hold %d, %d and %d bytes", d[0].UsedBytes, d[1].UsedBytes, d[2].UsedBytes)
			}
			for e.Defragment() {
				e.Write()
			}
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
			again := r.crashed(nil)
			e.Close()
			if e, err = again.open(disk.NewSchedule(nil), inMemory); err != nil {
				t.Fatal(err)
			}
			if err := holds(e); err != nil {
				t.Errorf("clean %v, in memory %v, after a crash: %v", clean, inMemory, err)
			}
			e.Close()
		}
	}
}

// The opening that adds a device may end at any of its operations, and again
// while it is repeated: nothing is lost, and nothing comes back.
func TestCrashesWhileADeviceIsAdded(t *testing.T) {
	whole := disk.NewSchedule(nil)
	first := loaded(t, 2, false)
	first.add()
	e, err := first.crashed(nil).open(whole, false)
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	points := 0
	for at := uint64(1); at < whole.Count(); at += max(1, whole.Count()/60) {
		r := first.crashed(nil)
		for round := range uint64(2) {
			n := at
			if round == 1 {
				n = whole.Count() - at
			}
			s := disk.NewSchedule(func(op disk.Op) disk.Fault {
				if op.N >= n {
					return disk.Error
				}
				return disk.None
			})
			if e, err := r.open(s, false); err == nil {
				e.Close()
			}
			flip := round == 0
			r = r.crashed(func() bool { flip = !flip; return flip })
			points++
		}
		e, err := r.open(disk.NewSchedule(nil), false)
		if err != nil {
			t.Fatalf("crash at operation %d: %v", at, err)
		}
		if err := holds(e); err != nil {
			t.Fatalf("crash at operation %d: %v", at, err)
		}
		if got := homesOf(e, 3); float64(got[2]) < spreadShare*cluster.Partitions/3-1 {
			t.Errorf("crash at operation %d: partitions per device %v", at, got)
		}
		e.Close()
	}
	t.Logf("%d crashes in an opening of %d operations", points, whole.Count())
}

func TestAFurtherDeviceMustBeEmpty(t *testing.T) {
	r, other := loaded(t, 2, true), loaded(t, 1, true)
	r.devs = append(r.devs, other.devs[0])
	fewer := &rack{devs: []*disk.Memory{r.devs[0].Crashed(nil)}, dir: r.dir.Crashed(nil)}
	if _, err := r.open(disk.NewSchedule(nil), false); err == nil || !strings.Contains(err.Error(), "is to be added") {
		t.Errorf("a device of another namespace: %v", err)
	}
	if _, err := fewer.open(disk.NewSchedule(nil), false); err == nil || !strings.Contains(err.Error(), "has 2 devices, the configuration has 1") {
		t.Errorf("fewer devices: %v", err)
	}
}

// A device that was given up and works again after a restart gets its share
// back, although nothing that it held counts.
func TestADeviceThatWorksAgainGetsItsShare(t *testing.T) {
	r := loaded(t, 2, true)
	e, err := r.open(disk.NewSchedule(nil), false)
	if err != nil {
		t.Fatal(err)
	}
	e.GiveUp(1, disk.ErrGone)
	lost := map[int]bool{}
	for _, p := range e.Lost(1) {
		lost[p] = true
	}
	if err := e.shutdown(); err != nil {
		t.Fatal(err)
	}
	r = r.crashed(nil)
	if e, err = r.open(disk.NewSchedule(nil), false); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got := homesOf(e, 2); got[0] != got[1] {
		t.Errorf("partitions per device %v", got)
	}
	for k := range spreadRecords {
		d := numbered(k)
		if _, ok := e.Meta(&d); ok == lost[d.Partition()] {
			t.Fatalf("record %d: there %v, its device failed %v", k, ok, lost[d.Partition()])
		}
	}
}
