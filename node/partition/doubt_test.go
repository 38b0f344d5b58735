package partition

import (
	"testing"

	"headroom/node/record"
)

func TestWhatAMergeThatDidNotEndMayHaveBroughtIsInDoubt(t *testing.T) {
	merge := view(7, 3, 2, 1)
	ours := LineOf(view(3, 3, 2, 1), view(5, 3, 1))
	if ours.Doubt() != nil {
		t.Error("a descent without a merge has doubts")
	}
	began := lineOf(append(append(ours.passes(), passIn(merge.Key, merge.Members, all)), LineOf(view(6, 2)).glimpsed(merge.Key)...))
	d := began.Doubt()
	for _, c := range []struct {
		what string
		v    record.Version
		want bool
	}{
		{"the other side's", version(6, 10, 2), true},
		{"our own", version(5, 10, 1), false},
		{"one from before the split", version(3, 10, 3), false},
		{"one of the View that merges", version(7, 20, 3), false},
	} {
		if got := d.Covers(c.v); got != c.want {
			t.Errorf("%s is in doubt: %v, want %v", c.what, got, c.want)
		}
	}
	if ended := began.Absorb(LineOf(view(6, 2)), merge.Key); ended.Doubt() != nil {
		t.Error("a merge that has ended leaves doubts")
	}
	if (*Doubt)(nil).Covers(version(6, 10, 2)) {
		t.Error("no doubt covers a version")
	}
}
