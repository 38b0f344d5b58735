package server

import (
	"testing"
	"time"

	"headroom/node/client"
	"headroom/node/record"
	"headroom/node/wire"
)

// In a bubble only the network takes time, half a millisecond a packet: a get
// spends it on the way to the node and back, a put on the way to the copy too.
func TestAClusterTellsWhereTheTimeOfASampleWent(t *testing.T) {
	inBubble(t, 2, func(b *bubble) {
		b.fill(1)
		key := client.Key{Value: record.Int(0)}
		do := func(kind wire.Kind, body []byte) (client.Stages, time.Duration) {
			t.Helper()
			var st client.Stages
			d, err := key.Digest()
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			call := client.Call{Kind: kind, Digest: d, Body: body, Stages: &st, Done: func(*client.Call) { close(done) }}
			if err := b.c.Submit(&call); err != nil {
				t.Fatal(err)
			}
			<-done
			if call.Err != nil || !st.Known {
				t.Fatalf("%v, stages %+v", call.Err, st)
			}
			return st, call.Completed.Sub(call.Submitted)
		}
		get, whole := do(wire.KindGet, nil)
		if sum := get.Wait + get.Send + get.Network + get.Receive + get.Node.Sum(); sum != whole || get.Network < time.Millisecond || get.Node.Sum() != 0 {
			t.Errorf("get of %v: %+v", whole, get)
		}
		body, err := record.AppendBody(nil, "", record.Value{}, []record.Bin{{Name: "v", Value: record.Int(7)}})
		if err != nil {
			t.Fatal(err)
		}
		put, whole := do(wire.KindPut, body)
		if sum := put.Wait + put.Send + put.Network + put.Receive + put.Node.Sum(); sum != whole || put.Node.Replication < time.Millisecond ||
			put.Node.Sum() != put.Node.Replication {
			t.Errorf("put of %v: %+v", whole, put)
		}
	})
}
