package sim

import (
	"slices"
	"testing"
	"time"

	"headroom/node/wire"
)

// frameKinds names the messages that a script can wait for.
var frameKinds = map[string][]wire.Kind{
	"prepare": {wire.KindPrepare}, "promise": {wire.KindPromise}, "accept": {wire.KindAccept}, "accepted": {wire.KindAccepted},
	"commit": {wire.KindCommit, wire.KindCommitPart}, "migrate": {wire.KindMigrate},
}

// await runs until a message of that kind has been handled by somebody:
// a crash of its sender then falls into that phase.
func await(t *testing.T, w *World, kind string) {
	t.Helper()
	kinds := frameKinds[kind]
	if kinds == nil {
		t.Fatalf("await %q: no such message", kind)
	}
	seen := false
	w.OnFrame = func(k wire.Kind) { seen = seen || slices.Contains(kinds, k) }
	defer func() { w.OnFrame = nil }()
	if !w.RunUntil(w.Now().Add(10*time.Second), func() bool { return seen }) {
		t.Errorf("no %s within 10 s: %s", kind, w.describe())
	}
}
