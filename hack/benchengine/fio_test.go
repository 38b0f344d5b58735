package main

import (
	"math"
	"testing"
	"time"

	"headroom/node/disk"
)

// fio takes whole percents of requests; what is compared with are bytes.
func TestAMixtureForFioReadsAsManyBytesPerByteWritten(t *testing.T) {
	f := func(reads, readSize, writes, writeSize, syncs uint64, depth, perSync int) {
		t.Helper()
		l := disk.Load{Reads: reads, ReadBytes: reads * readSize, Writes: writes, WriteBytes: writes * writeSize, Syncs: syncs,
			ReadTime: 3 * time.Second, WriteTime: 3500 * time.Millisecond}
		m := mixed(disk.Load{}, l, time.Second)
		want := float64(l.ReadBytes) / float64(l.WriteBytes)
		got := float64(m.percent) * float64(m.size) / (float64(100-m.percent) * (1 << 20))
		if math.Abs(got/want-1) > 0.06 || math.Abs(m.read/want-1) > 1e-9 {
			t.Errorf("%d reads of %d beside %d writes of %d: %d %% of requests of %d bytes are %.3f bytes read per byte written, says %.3f, want %.3f",
				reads, readSize, writes, writeSize, m.percent, m.size, got, m.read, want)
		}
		if m.depth != depth || m.writes != perSync {
			t.Errorf("depth %d, %d writes a sync; want %d, %d", m.depth, m.writes, depth, perSync)
		}
	}
	f(3000, 156<<10, 570, 1<<20, 29, 7, 20)
	f(500, 1<<20, 570, 1<<20, 0, 7, 0)
	f(20_000, 64<<10, 1000, 1<<20, 100, 7, 10)
	f(100, 256<<10, 4000, 512<<10, 2000, 7, 1)
}
