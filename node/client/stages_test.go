package client

import (
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

func TestASampledCallKnowsItsStages(t *testing.T) {
	c, cn, l := bare(t, 0)
	var st Stages
	call := &Call{Kind: wire.KindGet, Stages: &st, Done: func(*Call) {}}
	ask := func() wire.Header {
		t.Helper()
		if err := c.Submit(call); err != nil {
			t.Fatal(err)
		}
		h, err := wire.ParseHeader(l.frame)
		if err != nil {
			t.Fatal(err)
		}
		if h.Flags != wire.FlagStages {
			t.Fatalf("flags %d, want the one that asks for stages", h.Flags)
		}
		return h
	}
	node := wire.Stages{Queue: 3, Storage: 5, Reply: 7}
	c.epoch = c.epoch.Add(-time.Second) // so that the clock is past zero
	h := ask()
	cn.frame(wire.Header{Kind: wire.KindReply, Flags: wire.FlagStages, ID: h.ID}, (&wire.StagedReply{Stages: node, Reply: wire.Reply{Generation: 3}}).Append(nil))
	whole := call.Completed.Sub(call.Submitted)
	sum := st.Wait + st.Send + st.Node.Sum() + st.Network + st.Receive
	if !st.Known || st.Node != node || call.Gen != 3 || sum != whole {
		t.Errorf("stages %+v of %v, call %+v", st, whole, call)
	}

	// A node that is older answers as always.
	h = ask()
	cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, (&wire.Reply{Generation: 4}).Append(nil))
	if st.Known || call.Gen != 4 || call.Err != nil {
		t.Errorf("an answer without stages: %+v, call %+v", st, call)
	}

	// What a refused attempt took is forgotten.
	h = ask()
	cn.frame(wire.Header{Kind: wire.KindReply, Flags: wire.FlagStages, ID: h.ID}, (&wire.StagedReply{Stages: node, Reply: wire.Reply{Status: wire.StatusBusy}}).Append(nil))
	if st.Known {
		t.Errorf("stages of a refusal: %+v", st)
	}
}

func TestStagesThatNobodyAskedForEndTheConnection(t *testing.T) {
	c, cn, l := bare(t, 0)
	call := &Call{Kind: wire.KindGet, Done: func(*Call) {}}
	if err := c.Submit(call); err != nil {
		t.Fatal(err)
	}
	h, _ := wire.ParseHeader(l.frame)
	if h.Flags != 0 {
		t.Errorf("flags %d of a call that is not sampled", h.Flags)
	}
	cn.frame(wire.Header{Kind: wire.KindReply, Flags: wire.FlagStages, ID: h.ID}, (&wire.StagedReply{}).Append(nil))
	if l.closed == 0 {
		t.Error("the connection goes on")
	}
}

// tells makes a node answer batches and scans with stages, after a delay.
func (w *world) tells(id cluster.NodeID, after, storage time.Duration) {
	w.take(id, func(l *fakeLink, h wire.Header, p []byte) bool {
		if h.Flags != wire.FlagStages {
			return false
		}
		to := &fakeLink{node: l.node, back: make(chan []byte, 1), done: l.done}
		w.answer(to, h, p)
		plain := <-to.back
		h, _ = wire.ParseHeader(plain)
		staged := wire.AppendHeader(nil, wire.Header{Kind: h.Kind, Flags: wire.FlagStages, ID: h.ID})
		staged = (&wire.Stages{Storage: storage}).Append(staged)
		staged = append(staged, plain[wire.HeaderSize:]...)
		wire.PutLength(staged, 0)
		time.AfterFunc(after, func() { l.back <- staged })
		return true
	})
}

func TestABatchTellsOfTheRequestThatWasAnsweredLast(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		keys := []Key{w.keyOn(t, 1), w.keyOn(t, 2), w.keyOn(t, 3)}
		for _, k := range keys {
			if err := c.Put(t.Context(), k, bins(1)); err != nil {
				t.Fatal(err)
			}
		}
		for id := range w.nodes {
			w.tells(id, time.Duration(id)*time.Millisecond, time.Duration(id)*time.Microsecond)
		}
		var st Stages
		begin := c.Now()
		results, err := c.BatchGet(t.Context(), keys, WithStages(&st))
		whole := c.Now().Sub(begin)
		for _, r := range results {
			if r.Err != nil || err != nil {
				t.Fatal(r.Err, err)
			}
		}
		sum := st.Wait + st.Send + st.Node.Sum() + st.Network + st.Receive
		if !st.Known || st.From != 3 || st.Node.Storage != 3*time.Microsecond || sum != whole || whole != 3*time.Millisecond {
			t.Errorf("stages %+v, whole %v", st, whole)
		}
		w.take(3, nil) // as a node that is older
		if _, err := c.BatchPut(t.Context(), []KeyBins{{keys[2], bins(2)}}, WithStages(&st)); err != nil || st.Known {
			t.Errorf("%v, stages of a node that does not tell: %+v", err, st)
		}
	})
}

func TestAScanAddsUpItsPages(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world, c *Client) {
		for i := range int64(2000) {
			if err := c.Put(t.Context(), Key{Value: record.Int(i)}, bins(i)); err != nil {
				t.Fatal(err)
			}
		}
		w.tells(1, time.Millisecond, time.Microsecond)
		before := w.count(1, wire.KindScan)
		var st Stages
		begin := c.Now()
		err := c.Scan(t.Context(), "", func(Record) error { return nil }, WithLimit(20), WithStages(&st))
		whole, asked := c.Now().Sub(begin), time.Duration(w.count(1, wire.KindScan)-before)
		if sum := st.Wait + st.Send + st.Node.Sum() + st.Network + st.Receive; err != nil || asked < 10 || !st.Known ||
			st.Node.Storage != asked*time.Microsecond || sum != whole || whole != asked*time.Millisecond {
			t.Errorf("%v, %d pages took %v: %+v", err, asked, whole, st)
		}
	})
}

func TestStagesInFrontOfABatchMustBeAskedForAndWhole(t *testing.T) {
	f := func(want *Stages, payload []byte) {
		t.Helper()
		c, cn, l := bare(t, 0)
		ended := false
		call := &Call{Kind: wire.KindBatchGet, raw: []byte{1}, Stages: want, Done: func(*Call) { ended = true }}
		c.begin(call)
		if err := cn.send(call, c.Now()); err != nil {
			t.Fatal(err)
		}
		h, err := wire.ParseHeader(l.frame)
		if err != nil {
			t.Fatal(err)
		}
		cn.frame(wire.Header{Kind: wire.KindBatchReply, Flags: wire.FlagStages, ID: h.ID}, payload)
		if l.closed == 0 || !ended || call.Err == nil {
			t.Errorf("asked %v, %d bytes: connection closed %d times, call ended %v with %v", want != nil, len(payload), l.closed, ended, call.Err)
		}
	}
	whole := (&wire.Stages{Storage: 5}).Append(nil)
	f(nil, whole)
	f(&Stages{}, whole[:wire.StagesSize-1])
}
