package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"headroom/node/disk/emulate"
	"headroom/node/server"
	"headroom/node/transport"
)

func TestStatusSaysWhatIsWrong(t *testing.T) {
	s := &server.Status{Node: "node1", State: "waiting", ClusterKey: "3.node4.1",
		Members: []server.StatusMember{{Node: "node4", Up: false}, {Node: "node1", Up: true, Quiesced: true}},
		Devices: []server.StatusDevice{{Path: "orders.dev", Class: "nvme", ClassWhy: "reads take 52µs", State: "stop-writes", UsedBytes: 3e6, SizeBytes: 4e6, Corrupt: 2},
			{Path: "emulated:hdd:x", Class: "hdd", State: "failed", Error: "input/output error", Emulation: &emulate.Report{Dilation: 20}}},
		BrokenLinks: []string{"node1 does not hear node4"},
		Namespaces: []server.StatusNamespace{{Name: "orders", Unavailable: 7, ConflictsDiscarded: 5, Conflicts: server.StatusConflicts{Merge: 3, Access: 2},
			Balance: server.StatusBalance{Note: "2 racks for 3 copies: copies share a rack"}}}}
	var out bytes.Buffer
	printStatus(&out, s)
	for _, want := range []string{"have not confirmed this node", "broken link: node1 does not hear node4", "not heard", "up, quiesced",
		"balance: 2 racks for 3 copies", "revive --namespace orders", "device orders.dev: class nvme (reads take 52µs), stop-writes, 3.0 MB of 4.0 MB used", "CORRUPT: 2 ",
		"device emulated:hdd:x: class hdd, 20 times slower than the real one, failed", "input/output error",
		"5 acknowledged versions here (3 while copies were merged, 2 when"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("status lacks %q:\n%s", want, out.String())
		}
	}
}

func TestANodeOfAnotherClusterIsToldFromASilentOne(t *testing.T) {
	refused := fmt.Errorf("dial: %w", transport.ErrPeer)
	for want, c := range map[string]struct {
		a   askFlags
		err error
	}{
		"is a node running there?": {askFlags{}, &quic.IdleTimeoutError{}},
		"do not fit":               {askFlags{credentials: "ada"}, refused},
		"leave --insecure out":     {askFlags{insecure: true}, refused},
	} {
		if err := c.a.unreached(context.Background(), c.err); !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", c.err, err, want)
		}
	}
}
