package storage

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"headroom/node/disk"
)

// countingReads is a device that counts the bytes read from it.
type countingReads struct {
	disk.Device
	bytes atomic.Int64
}

func (c *countingReads) ReadAt(p []byte, off int64) error {
	c.bytes.Add(int64(len(p)))
	return c.Device.ReadAt(p, off)
}

// TestDefragmentationReadsTheSectorsThatItNeeds overwrites four fifths of the
// records of a device in place of which others come, and lets it defragment.
func TestDefragmentationReadsTheSectorsThatItNeeds(t *testing.T) {
	const blocks, size, keep = 64, 1 << 20, 5
	f := func(length int, wholes bool) {
		t.Helper()
		dev := &countingReads{Device: disk.NewMemory("dev", volumeHeader+blocks*size, 4096)}
		c := crashConfig(dev, disk.NewMemoryDir(), false)
		c.Log.WriteBlock, c.Log.LowWater, c.Log.StopUsed = size, 50, 100
		e, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		body := func(k, n int) []byte {
			b := bytes.Repeat([]byte{byte(k)}, length)
			binary.LittleEndian.PutUint32(b, uint32(k))
			binary.LittleEndian.PutUint32(b[4:], uint32(n))
			return b
		}
		records := 20 * size / recordSpan(length)
		for k := range records {
			putting(t, e, k, 1, body(k, 1))
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		kept := map[int]bool{}
		rnd := rand.New(rand.NewPCG(1, 1))
		for k := range records {
			if kept[k] = rnd.IntN(keep) == 0; !kept[k] {
				putting(t, e, k, 2, body(k, 2))
			}
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		before, freed := dev.bytes.Load(), e.Devices()[0].Freed
		for e.Defragment() {
			e.Write()
		}
		read, blocks := dev.bytes.Load()-before, int64(e.Devices()[0].Freed-freed)
		if blocks < 15 {
			t.Fatalf("%d blocks were freed, want those of the load", blocks)
		}
		if whole := read >= blocks*size; whole != wholes {
			t.Errorf("records of %d bytes: %d bytes read to free %d blocks; whole blocks wanted: %v", length, read, blocks, wholes)
		}
		for k := range records {
			n := 2
			if kept[k] {
				n = 1
			}
			d := numbered(k)
			if m, got, ok := e.Get(&d, nil); !ok || m.Unreadable || !bytes.Equal(got, body(k, n)) {
				t.Fatalf("record %d of %d bytes, kept %v: there %v, %+v", k, length, kept[k], ok, m)
			}
		}
		for n := range e.log.volumes[0].blocks {
			for s, live := range e.log.volumes[0].blocks[n].sectors {
				if b := &e.log.volumes[0].blocks[n]; b.live == 0 && live != 0 {
					t.Fatalf("block %d is empty and sector %d counts %d", n, s, live)
				}
			}
		}
	}
	f(4000, false)
	f(60_000, false)
	f(200, true)
}
