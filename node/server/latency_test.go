package server

import (
	"testing"
	"time"

	"headroom/node/cluster"
)

func TestLatencyTellsOfTheLastWindows(t *testing.T) {
	var l latency
	at := func(s float64) cluster.Instant { return cluster.Instant(s * float64(time.Second)) }
	for i := range 1000 {
		l.record(at(1+float64(i)/1000), time.Duration(i)*time.Microsecond) // 0 to 999 us
	}
	within := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || *got < want || *got > 1.07*want {
			t.Errorf("%s is %v us, want %v and at most a bucket more", what, got, want)
		}
	}
	s := l.status(at(3))
	within("p50", s.P50US, 499)
	within("p99", s.P99US, 989)
	if s.Samples != 1000 || s.WindowS != 3 {
		t.Errorf("%d samples in %v s, want 1000 in 3", s.Samples, s.WindowS)
	}
	l.record(at(16), time.Second) // a new window: the last one still counts
	if s := l.status(at(17)); s.Samples != 1001 || s.P99US == nil {
		t.Errorf("in the next window: %+v", s)
	}
	if s := l.status(at(32)); s.Samples != 1 || s.P50US != nil || s.P99US != nil {
		t.Errorf("two windows later: %+v, want the one of them, which bounds nothing", s)
	}
	if s := l.status(at(500)); s.Samples != 0 {
		t.Errorf("long after: %+v", s)
	}
}

func TestLatencyBucketsHoldWhatIsPutIn(t *testing.T) {
	last := 0
	for d := time.Duration(0); d < 3*time.Minute; d += d/20 + time.Microsecond {
		i := latencyBucket(d)
		if i < last || i >= latencyBuckets {
			t.Fatalf("%v is in bucket %d, after %d", d, i, last)
		}
		if top := latencyTop(i); i < latencyBuckets-1 && (float64(d.Microseconds()) >= top || top > 1.07*float64(d.Microseconds())+2) {
			t.Fatalf("%v is in a bucket up to %v us", d, top)
		}
		last = i
	}
}
