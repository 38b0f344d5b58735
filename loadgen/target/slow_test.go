package target

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestSlowOperationsShareFewGoroutines: a goroutine is started when all are
// busy, and none for an operation that finds one idle.
func TestSlowOperationsShareFewGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{}, 1000)
		var ended atomic.Int64
		s := newSlowLane(1000, func(*Result) { ended.Add(1) }, func(op *Op, _ *Result) {
			if op.Key > 0 {
				<-hold
			}
		})
		for range 1000 {
			if err := s.submit(&Op{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if s.started != 1 || ended.Load() != 1000 {
			t.Errorf("%d goroutines for 1000 operations in turn, %d ended; want 1", s.started, ended.Load())
		}
		for i := range slowHelpers {
			if err := s.submit(&Op{Key: 1}); err != nil {
				t.Fatalf("operation %d of %d at once: %v", i, slowHelpers, err)
			}
		}
		if err := s.submit(&Op{Key: 1}); err != ErrFull {
			t.Errorf("one more than there are helpers: %v, want ErrFull: it waits in the lane", err)
		}
		synctest.Wait()
		if s.started != slowHelpers {
			t.Errorf("%d goroutines for %d operations at once", s.started, slowHelpers)
		}
		for range slowHelpers {
			hold <- struct{}{}
		}
		s.close()
		if n := ended.Load(); n != 1000+slowHelpers {
			t.Errorf("%d operations ended", n)
		}
	})
}

// TestAFreePlaceIsThereWhenTheLaneIsTold: the lane submits its next operation
// at once and must not meet ErrFull, after which it would sleep.
func TestAFreePlaceIsThereWhenTheLaneIsTold(t *testing.T) {
	told := make(chan struct{}, 1)
	s := newSlowLane(1, func(*Result) { told <- struct{}{} }, func(*Op, *Result) { runtime.Gosched() })
	for range 10_000 {
		if err := s.submit(&Op{}); err != nil {
			t.Fatal(err)
		}
		<-told
	}
	s.close()
}
