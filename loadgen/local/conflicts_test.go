package local

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headroom/loadgen/result"
)

func TestConflictsOfAllNodesAndTheirEarlierProcessesAddUp(t *testing.T) {
	var c conflicts
	see := func(node string, pid, merge, access int) string {
		t.Helper()
		text := `{"namespaces":[{"name":"orders","conflicts":{"merge":` + itoa(merge) + `,"access":` + itoa(access) + `}}]}`
		var s Status
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		s.Process.PID = pid
		return c.saw(node, &s)
	}
	if news := see("node1", 7, 0, 0); news != "" {
		t.Errorf("nothing discarded: %q", news)
	}
	if news := see("node1", 7, 3, 1); !strings.Contains(news, "3 acknowledged versions of namespace orders") || !strings.Contains(news, "(access)") {
		t.Errorf("news %q", news)
	}
	if news := see("node1", 7, 3, 1); news != "" {
		t.Errorf("the same again: %q", news)
	}
	see("node1", 8, 2, 0) // another process
	see("node2", 9, 6, 0)
	if news := see("node2", 9, 5, 0); news != "" { // one was taken back
		t.Errorf("fewer than before: %q", news)
	}
	want := []result.Conflict{{Namespace: "orders", Cause: "access", Discarded: 1}, {Namespace: "orders", Cause: "merge", Discarded: 10}}
	if d := cmp.Diff(want, c.sum()); d != "" {
		t.Errorf("sum (-want +got):\n%s", d)
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }
