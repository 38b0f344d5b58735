package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"headroom/node/client"
)

func TestMissingDataIsUnavailableUntilAnOperatorGivesItUp(t *testing.T) {
	inBubble(t, 4, func(b *bubble) {
		b.fill(200)
		for _, id := range []byte{1, 2} {
			b.nodes[id].Close()
			delete(b.nodes, id)
		}
		b.await("View of two", func() bool { return b.agreed(2) })
		lost := b.nodes[4].Status().Namespaces[0].Unavailable
		if lost == 0 {
			t.Fatal("nothing is unavailable after two of four nodes died with two copies")
		}
		if o := b.nodes[3].Revive("default"); o.Ask != b.nodes[4].Addr() || !strings.Contains(o.Error, "only the principal") {
			t.Errorf("revive at another node than the principal: %+v", o)
		}
		if o := b.nodes[4].Revive("orders"); !strings.Contains(o.Error, `"orders" is unknown here; there is default`) {
			t.Errorf("revive of an unknown namespace: %+v", o)
		}
		if o := b.nodes[4].Revive("default"); o.Error != "" || !strings.Contains(o.Done, "revives") {
			t.Fatalf("revive: %+v", o)
		}
		b.await("service", func() bool { return b.agreed(2) && b.settled() })
		found, absent := 0, 0
		for k := range 200 {
			switch v, err := b.get(k); {
			case err == nil && v == k:
				found++
			case errors.Is(err, client.ErrNotFound):
				absent++
			default:
				t.Errorf("get %d = %d, %v", k, v, err)
			}
		}
		t.Logf("%d partitions given up: %d of 200 records left", lost, found)
		if found < 100 || absent == 0 {
			t.Errorf("%d records found and %d absent; want most found and some absent", found, absent)
		}
		if o := b.nodes[4].Revive("default"); !strings.Contains(o.Done, "nothing to revive") {
			t.Errorf("a second time: %+v", o)
		}
		time.Sleep(2 * reviveFor) // the word does not stand for ever: of the bubble
		for _, ns := range b.nodes[4].namespaces {
			if ns.reviving(b.nodes[4].mono()) {
				t.Error("the operator's word still stands")
			}
		}
	})
}
