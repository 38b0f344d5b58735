package parts

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPartsRunInTheOrderOfTheirNamesUpToTheFirstThatFails(t *testing.T) {
	var ran string
	add := func(name string, err error) Part[int] {
		return Part[int]{Name: name, Run: func(context.Context, *int) error { ran += name; return err }}
	}
	s := Set[int]{add("a", nil), add("b", errors.New("broken")), add("c", nil)}
	chosen, err := s.Choose([]string{"c", "b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := chosen.Run(t.Context(), new(int)); err == nil || err.Error() != "b: broken" || ran != "cb" {
		t.Errorf("ran %q, %v; want c, then b, which is broken", ran, err)
	}
	if every, err := s.Choose([]string{"all"}); err != nil || len(every) != 3 {
		t.Errorf("all: %d parts, %v", len(every), err)
	}
	for _, names := range [][]string{nil, {"a", "d"}} {
		if _, err := s.Choose(names); err == nil || !strings.Contains(err.Error(), "a, b, c or all") {
			t.Errorf("%v: %v, want the known names", names, err)
		}
	}
}
