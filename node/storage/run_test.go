package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"headroom/node/disk"
	"headroom/node/record"
)

const (
	runBlock   = 16 << 10
	runDevice  = volumeHeader + 64*runBlock
	runKeys    = 300 // of each writer, some 100 KiB
	runWriters = 2
	runCrashes = 20
)

func runConfig(mem *disk.Memory, dir disk.Dir) Config {
	return Config{Log: &LogConfig{Name: "run", Node: 1, Devices: []disk.Device{mem}, Dir: dir, WriteBlock: runBlock, NewID: rand.Uint64}}
}

func runKey(w, k int) (d record.Digest) {
	binary.LittleEndian.PutUint16(d[:], uint16(k%7))
	binary.LittleEndian.PutUint64(d[4:], uint64(w*runKeys+k+1)*0x9e3779b97f4a7c15)
	return d
}

// runBody tells key and stamp, in a length of its own.
func runBody(w, k int, stamp uint64) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%d %d %d;", w, k, stamp)), int(20+stamp*7%20))
}

// runWriter overwrites keys of its own, notes which versions are durable, and
// now and then looks what a crash at that moment leaves.
type runWriter struct {
	n       int
	e       *Engine
	mem     *disk.Memory
	dir     *disk.MemoryDir
	rnd     *rand.Rand
	waiting []runPut
	durable [runKeys]uint64
}

// runPut is a version that is durable once the engine's mark reaches its.
type runPut struct {
	mark, stamp uint64
	k           int
}

func (w *runWriter) run(ctx context.Context) error {
	known := 0
	for stamp := uint64(1); known < runCrashes*2*runKeys; stamp++ {
		k := w.rnd.IntN(runKeys)
		if err := w.put(ctx, k, stamp); err != nil {
			return err
		}
		w.waiting = append(w.waiting, runPut{w.e.Mark(), stamp, k})
		was := known
		for reached := w.e.DurableMark(); len(w.waiting) > 0 && w.waiting[0].mark <= reached; w.waiting = w.waiting[1:] {
			w.durable[w.waiting[0].k] = w.waiting[0].stamp
			known++
		}
		if was/(2*runKeys) < known/(2*runKeys) {
			if err := w.crash(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *runWriter) put(ctx context.Context, k int, stamp uint64) error {
	d := runKey(w.n, k)
	for {
		err := w.e.Put(&d, record.Meta{Version: version(stamp), Generation: 1}, runBody(w.n, k, stamp))
		if !errors.Is(err, ErrOverload) || ctx.Err() != nil {
			return err
		}
		runtime.Gosched()
	}
}

func (w *runWriter) crash() error {
	mem := w.mem.Crashed(func() bool { return w.rnd.IntN(2) == 0 })
	e, err := Open(runConfig(mem, w.dir.Crashed(nil)))
	if err != nil {
		return err
	}
	return errors.Join(w.check(e), e.Close())
}

// check compares what came back after a crash with what was durable before.
func (w *runWriter) check(e *Engine) error {
	for k, least := range w.durable {
		d := runKey(w.n, k)
		m, body, ok := e.Get(&d, nil)
		switch {
		case !ok && least == 0:
		case !ok || m.Unreadable || uint64(m.Version.Stamp) < least:
			return fmt.Errorf("key %d of writer %d: there %v, %+v, want version %d or later", k, w.n, ok, m, least)
		case !bytes.Equal(body, runBody(w.n, k, uint64(m.Version.Stamp))):
			return fmt.Errorf("key %d of writer %d: another body than that of version %d", k, w.n, m.Version.Stamp)
		}
	}
	return nil
}

// The engine's own goroutines write, sync and defragment here, at once.
func TestWhatARunningEngineCallsDurableOutlivesACrash(t *testing.T) {
	for _, commit := range []bool{false, true} {
		t.Run(fmt.Sprintf("commit %v", commit), func(t *testing.T) { runAndCrash(t, commit) })
	}
}

func runAndCrash(t *testing.T, commit bool) {
	mem, dir := disk.NewMemory("dev", runDevice, 512), disk.NewMemoryDir()
	e, err := Open(runConfig(mem, dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var engine, writers sync.WaitGroup
	engine.Go(func() { e.Run(ctx, commit) })
	for n := range runWriters {
		w := &runWriter{n: n, e: e, mem: mem, dir: dir, rnd: rand.New(rand.NewPCG(uint64(n), 7))}
		writers.Go(func() {
			if err := w.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	cancel()
	engine.Wait()
	if s := e.Devices()[0]; s.MovedBytes == 0 || s.Err != nil {
		t.Errorf("nothing was defragmented, or %v: %+v", s.Err, s)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
