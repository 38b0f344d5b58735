package disk

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkRead reads 4 KiB at random from a file past the page cache, so many
// goroutines at a time, through an io_uring and in threads.
func BenchmarkRead(b *testing.B) {
	const size, chunk = 256 << 20, 1 << 20
	path := filepath.Join(b.TempDir(), "dev")
	for _, depth := range []int{1, 4, 32} {
		for _, threads := range []bool{false, true} {
			name := map[bool]string{false: "ring", true: "threads"}[threads]
			b.Run(fmt.Sprintf("%s/%d", name, depth), func(b *testing.B) {
				d, err := Open(path, Options{Size: size, Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				for off := int64(0); off < size; off += chunk { // what was never written is not read either
					if err := d.WriteAt(Aligned(chunk), off); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				readAll(b, d, depth)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
			})
		}
	}
}

// BenchmarkStream is BenchmarkRead by one goroutine.
func BenchmarkStream(b *testing.B) {
	const size, chunk = 256 << 20, 1 << 20
	d, err := Open(filepath.Join(b.TempDir(), "dev"), Options{Size: size})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for off := int64(0); off < size; off += chunk {
		if err := d.WriteAt(Aligned(chunk), off); err != nil {
			b.Fatal(err)
		}
	}
	s := d.(Streamer).Stream()
	if s == nil {
		b.Skip("no streams here")
	}
	defer s.Close()
	for _, depth := range []int{1, 4, 32} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			b.ReportAllocs()
			ended := func(_ int, _ []byte, err error) {
				if err != nil {
					b.Error(err)
				}
			}
			for n := 0; n < b.N || s.Busy(); {
				for ; n < b.N && s.Room() > StreamDepth-depth; n++ {
					s.Begin(minBlock, rand.Int64N(size/minBlock)*minBlock)
				}
				s.Wait(nil, ended)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
		})
	}
}

func readAll(b *testing.B, d Device, depth int) {
	var wg sync.WaitGroup
	var done atomic.Int64
	for range depth {
		wg.Go(func() {
			p := Aligned(minBlock)
			for done.Add(1) <= int64(b.N) {
				if err := d.ReadAt(p, rand.Int64N(d.Size()/minBlock)*minBlock); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
