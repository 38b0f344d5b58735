package storage

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"headroom/node/disk"
	"headroom/node/hlc"
	"headroom/node/record"
)

func numbered(k int) (d record.Digest) {
	binary.LittleEndian.PutUint64(d[:], uint64(k)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(d[8:], uint64(k))
	return d
}

func versioned(n int) record.Meta {
	return record.Meta{Version: record.Version{Regime: 1, Stamp: hlc.Stamp(n), Node: 1}, Generation: 1}
}

// putting stores a record, doing the background work when there is no room.
func putting(tb testing.TB, e *Engine, k, n int, body []byte) {
	tb.Helper()
	d := numbered(k)
	for try := 0; ; try++ {
		err := e.Put(&d, versioned(n), body)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrOverload) || try == 100 {
			tb.Fatalf("put %d: %v", n, err)
		}
		work(tb, e)
	}
}

func work(tb testing.TB, e *Engine) {
	for e.Defragment() {
		e.Write()
	}
	if err := e.Flush(); err != nil {
		tb.Fatal(err)
	}
}

// TestWriteAmplificationFollowsTheFormula overwrites uniformly at the fill at
// which a low-water mark m is just sustained, (1-m)/ln(1/m), where
// defragmentation must cost 1/(1-m) bytes for each.
func TestWriteAmplificationFollowsTheFormula(t *testing.T) {
	for _, mark := range []int{20, 50} {
		const blocks, size, body = 300, 64 << 10, 960
		c := crashConfig(disk.NewMemory("dev", volumeHeader+blocks*size, 4096), disk.NewMemoryDir(), false)
		c.Log.WriteBlock, c.Log.LowWater, c.Log.StopUsed = size, mark, 100
		e, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		m := float64(mark) / 100
		fill := (1 - m) / math.Log(1/m)
		perBlock := (size - 2*headerSize) / recordSpan(body)
		records := int(fill * 0.96 * float64(blocks-defragReserve-deleteReserve) * float64(perBlock))
		rnd := rand.New(rand.NewPCG(1, uint64(mark)))
		contents := make([]byte, body)
		n := 0
		put := func(k int) {
			n++
			putting(t, e, k, n, contents)
			if n%perBlock == 0 {
				work(t, e)
			}
		}
		for k := range records {
			put(k)
		}
		for range 3 * records {
			put(rnd.IntN(records))
		}
		before := e.Devices()[0]
		for range 2 * records {
			put(rnd.IntN(records))
		}
		after := e.Devices()[0]
		user, moved := float64(after.UserBytes-before.UserBytes), float64(after.MovedBytes-before.MovedBytes)
		got, want := (user+moved)/user, 1/(1-m)
		t.Logf("low-water mark %d %%, %.0f %% full: write amplification %.3f, formula %.3f", mark, 100*float64(after.UsedBytes)/float64(blocks*size), got, want)
		if math.Abs(got-want) > want/10 {
			t.Errorf("low-water mark %d: write amplification %.3f, want %.3f within 10 %%", mark, got, want)
		}
		e.Close()
	}
}

func fileConfig(tb testing.TB, dir string, size int64) Config {
	d, err := disk.Open(filepath.Join(dir, "dev"), disk.Options{Size: size})
	if err != nil {
		tb.Fatal(err)
	}
	return Config{Log: &LogConfig{Name: "bench", Devices: []disk.Device{d}, Dir: disk.OSDir(dir), NewID: rand.Uint64, StopUsed: 100}}
}

func fileEngine(tb testing.TB, records int) (*Engine, string) {
	dir := tb.TempDir()
	size := int64(records)*256*2 + 128<<20
	e, err := Open(fileConfig(tb, dir, size))
	if err != nil {
		tb.Fatal(err)
	}
	body := make([]byte, 100)
	for k := range records {
		putting(tb, e, k, 1, body)
	}
	work(tb, e)
	return e, dir
}

const loggedRecords = 500_000

func BenchmarkDevicePut100B(b *testing.B) {
	e, _ := fileEngine(b, loggedRecords)
	defer e.Close()
	body := make([]byte, 100)
	b.ReportAllocs()
	n := 1
	for b.Loop() {
		n++
		putting(b, e, n%loggedRecords, n, body)
	}
}

func BenchmarkDeviceGet100B(b *testing.B) {
	e, _ := fileEngine(b, loggedRecords)
	defer e.Close()
	rnd := rand.New(rand.NewPCG(1, 1))
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		d := numbered(rnd.IntN(loggedRecords))
		_, got, ok := e.Get(&d, body[:0])
		if body = got; !ok || len(body) != 100 {
			b.Fatal("record is not there")
		}
	}
}

func BenchmarkRestart(b *testing.B) {
	for _, warm := range []bool{false, true} {
		name := "scan"
		if warm {
			name = "warm"
		}
		b.Run(name, func(b *testing.B) {
			e, dir := fileEngine(b, loggedRecords)
			for b.Loop() {
				b.StopTimer()
				if warm {
					if err := e.Shutdown(); err != nil {
						b.Fatal(err)
					}
				} else {
					e.Close()
				}
				c := fileConfig(b, dir, 0)
				b.StartTimer()
				var err error
				if e, err = Open(c); err != nil {
					b.Fatal(err)
				}
				if e.Recovery().Warm != warm || e.Stats().Records != loggedRecords {
					b.Fatalf("restart: %+v", e.Recovery())
				}
			}
			b.ReportMetric(float64(loggedRecords)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			e.Close()
		})
	}
}
