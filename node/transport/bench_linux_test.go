package transport

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headroom/node/wire"
)

// BenchmarkEcho has 64 requests of 64 B in flight on one connection, replies
// of 100 B, client and server in one process.
func BenchmarkEcho(b *testing.B) {
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("inflight=", n), func(b *testing.B) { benchEcho(b, n) })
	}
}

func benchEcho(b *testing.B, inFlight int) {
	dir := devDir(b, 1)
	value := make([]byte, 100)
	e := listen(b, nodeConfig(b, dir, 1, handler{frames: func(c *Conn, h wire.Header, _ []byte) {
		c.Put(func(b []byte) []byte { return appendFrame(b, h.ID, flagReply, value) })
	}}))
	slots := make([]chan struct{}, inFlight)
	for i := range slots {
		slots[i] = make(chan struct{}, 1)
	}
	c, err := newDialer(b, dir).Dial(testContext(b), e.Addr().String(), handler{frames: func(_ *Conn, h wire.Header, _ []byte) {
		slots[h.ID] <- struct{}{}
	}})
	if err != nil {
		b.Fatal(err)
	}
	request := make([]byte, 48)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	var wg sync.WaitGroup
	for i := range slots {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				c.Append(func(b []byte) []byte { return appendFrame(b, uint64(i), 0, request) })
				<-slots[i]
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/float64(c.Stats().Writes), "frames/write")
}

// BenchmarkBulk sends frames of 64 KiB one way.
func BenchmarkBulk(b *testing.B) {
	dir := devDir(b, 1, 2)
	got := make(chan struct{}, 1)
	left := int64(b.N)
	e := listen(b, nodeConfig(b, dir, 1, handler{frames: func(*Conn, wire.Header, []byte) {
		if left--; left == 0 {
			got <- struct{}{}
		}
	}}))
	two := listen(b, nodeConfig(b, dir, 2, handler{}))
	c, err := two.Dial(testContext(b), e.Addr().String(), ClassBulk, 1)
	if err != nil {
		b.Fatal(err)
	}
	frame := appendFrame(nil, 1, 0, make([]byte, 64<<10))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := c.SendWait(b.Context(), frame); err != nil {
			b.Fatal(err)
		}
	}
	<-got
}

// cpuTime is the CPU time of this process, client and server together.
func cpuTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
