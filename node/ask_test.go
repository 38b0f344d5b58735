package main

import (
	"bytes"
	"strings"
	"testing"

	"headroom/node/server"
)

func TestStatusSaysWhatIsWrong(t *testing.T) {
	s := &server.Status{Node: "node1", State: "waiting", ClusterKey: "3.node4.1",
		Members:     []server.StatusMember{{Node: "node4", Up: false}, {Node: "node1", Up: true, Quiesced: true}},
		BrokenLinks: []string{"node1 does not hear node4"},
		Namespaces: []server.StatusNamespace{{Name: "orders", Unavailable: 7, ConflictsDiscarded: 5, Conflicts: server.StatusConflicts{Merge: 3, Access: 2},
			Balance: server.StatusBalance{Note: "2 racks for 3 copies: copies share a rack"}}}}
	var out bytes.Buffer
	printStatus(&out, s)
	for _, want := range []string{"have not confirmed this node", "broken link: node1 does not hear node4", "not heard", "up, quiesced",
		"balance: 2 racks for 3 copies", "revive --namespace orders", "5 acknowledged versions here (3 while copies were merged, 2 when"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("status lacks %q:\n%s", want, out.String())
		}
	}
}
