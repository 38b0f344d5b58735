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

// TestRecordsBeginWhereTheyTouchFewestSectors appends to a volume of 4 KiB
// sectors.
func TestRecordsBeginWhereTheyTouchFewestSectors(t *testing.T) {
	v := &volume{size: 1 << 20, align: 4096}
	f := func(off, need, want int) {
		t.Helper()
		if got := v.place(off, need); got != want {
			t.Errorf("place(%d, %d) = %d, want %d", off, need, got, want)
		}
	}
	f(headerSize, 4064, headerSize) // a header would cost a whole sector
	f(8192, 4064, 8192)
	f(8192+4064, 4064, 3*4096)
	f(8192+3900, 4064, 3*4096)    // 196 bytes are left empty
	f(8192+3800, 4064, 8192+3800) // 296 are too many
	f(8192+992, 4160, 8192+992)   // touches two, wherever it begins
	f(8192+4064, 4160, 3*4096)    // two instead of three
	f(8192+4064, 8192, 3*4096)    // two instead of three
	f(4096*7+4048, 176, 4096*7+4048)
	f(4096*7+4080, 1024, 4096*8)
	last := v.size - headerSize
	f(last-4064, 4064, last-4064) // it fits here only
	f(headerSize, v.size-2*headerSize, headerSize)
	f(headerSize, v.size-4096, headerSize)
}
