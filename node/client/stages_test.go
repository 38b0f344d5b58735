package client

import (
	"testing"
	"time"

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
