package membership

import (
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

func TestThePrincipalIsAskedForAViewUntilItComes(t *testing.T) {
	cs, _, now := formed(t, 3)
	was := cs[2].View().Key
	cs[0].Want(now)
	lost := 0
	exchange(now, cs, func(_ cluster.NodeID, e Envelope) bool {
		_, asks := e.Msg.(*wire.Want)
		if asks {
			lost++
		}
		return asks
	})
	if lost != 1 || cs[0].Deadline() > now.Add(askGap) {
		t.Fatalf("asked %d times, next look at %v; want once, and again within %v", lost, cs[0].Deadline(), askGap)
	}
	for range 10 { // the wish settles for a moment before it is acted on
		now = now.Add(200 * time.Millisecond)
		for _, c := range cs {
			c.Tick(now)
		}
		exchange(now, cs, nil)
	}
	for _, c := range cs {
		if !was.Less(c.View().Key) || len(c.View().Members) != 3 {
			t.Errorf("%v holds %v, want a later View of the same members", c.self.Node, c.View())
		}
	}
	if at := cs[0].Deadline(); at != cluster.Never {
		t.Errorf("it asks again at %v, though the View has come", at)
	}
}
