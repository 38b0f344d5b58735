package server

import (
	"testing"

	"headroom/node/cluster"
)

func TestIncarnationsGrowAndDifferBetweenCopiesOfADirectory(t *testing.T) {
	last := cluster.Incarnation(5) // of an earlier release
	for range 100 {
		next := nextIncarnation(last)
		if next <= last {
			t.Fatalf("incarnation %d after %d", next, last)
		}
		last = next
	}
	same := 0
	for range 100 {
		one, other := nextIncarnation(last), nextIncarnation(last)
		if one == other {
			same++
		}
	}
	if same > 2 {
		t.Errorf("two processes with one directory had the same incarnation %d times of 100", same)
	}
}
