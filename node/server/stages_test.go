package server

import (
	"context"
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

// A batch of gets and puts spans both nodes: the answer that came last has
// waited for the network, and a put of it for the copy.
func TestBatchesAndScansTellWhereTheirTimeWent(t *testing.T) {
	inBubble(t, 2, func(b *bubble) {
		b.fill(64)
		keys, puts := make([]client.Key, 64), make([]client.KeyBins, 64)
		for i := range keys {
			keys[i] = client.Key{Value: record.Int(int64(i))}
			puts[i] = client.KeyBins{Key: keys[i], Bins: []record.Bin{{Name: "v", Value: record.Int(7)}}}
		}
		f := func(what string, copied bool, do func(client.Option) error) {
			t.Helper()
			var st client.Stages
			begin := b.c.Now()
			err := do(client.WithStages(&st))
			whole := b.c.Now().Sub(begin)
			sum := st.Wait + st.Send + st.Network + st.Receive + st.Node.Sum()
			if err != nil || !st.Known || st.From == 0 || sum != whole || st.Network < time.Millisecond || (st.Node.Replication >= time.Millisecond) != copied {
				t.Errorf("%s of %v: %v, %+v", what, whole, err, st)
			}
		}
		f("batch get", false, func(o client.Option) error { _, err := b.c.BatchGet(context.Background(), keys, o); return err })
		f("batch put", true, func(o client.Option) error { _, err := b.c.BatchPut(context.Background(), puts, o); return err })
		f("scan", false, func(o client.Option) error {
			return b.c.Scan(context.Background(), "", func(client.Record) error { return nil }, o, client.WithLimit(20))
		})
	})
}
