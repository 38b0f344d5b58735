package target

import (
	"context"
	"testing"
	"time"

	"headroom/node/record"
	"headroom/node/server"
	"headroom/node/wire"
)

func TestACompletionAllocatesNothing(t *testing.T) {
	bins, err := record.AppendBins(nil, []record.Bin{{Name: valueBin, Value: record.Bytes([]byte("value"))}})
	if err != nil {
		t.Fatal(err)
	}
	values := 0
	l := &headroomLane{h: &Headroom{}, limit: 4, complete: func(r *Result) { values += len(r.Value) }}
	if n := testing.AllocsPerRun(1000, func() {
		c := l.take()
		c.Kind, c.Bins, c.Node = wire.KindGet, bins, 1
		c.done(nil)
	}); n != 0 {
		t.Errorf("%v allocations per operation, want none", n)
	}
	if values != 1001*len("value") {
		t.Errorf("%d bytes read", values)
	}
}

// one starts a node in this process, on loopback.
func one(t *testing.T) *Headroom {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := server.Start(ctx, server.Config{Node: 1, Listen: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	h, err := DialHeadroom(ctx, HeadroomConfig{Seeds: []string{n.Addr()}, Credentials: dir + "/certs"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestEveryKindWorksOnANode(t *testing.T) {
	h := one(t)
	everyKind(t, h)
	d := newDoor(t, h, 16)
	for i := range uint64(400) {
		if r := d.do(t, Op{Kind: Write, Key: 1000 + i, Value: []byte("v"), Token: i}); r.Outcome != OK {
			t.Fatal(r.Err)
		}
	}
	if r := d.do(t, Op{Kind: Scan, Key: 1000, ScanLen: 20, Token: 5000}); r.Outcome != OK {
		t.Errorf("scan: %d %v", r.Outcome, r.Err)
	}
	// A counter that outlives its record's value is no value.
	if r := d.do(t, Op{Kind: Operate, Key: 9999, Token: 5001}); r.Outcome != OK {
		t.Errorf("operate on a missing record: %d %v", r.Outcome, r.Err)
	}
	if r := d.do(t, Op{Kind: Read, Key: 9999, Token: 5002}); r.Outcome != NotFound {
		t.Errorf("a record with a counter only reads as %d %q", r.Outcome, r.Value)
	}
	if r := d.do(t, Op{Kind: Read, Key: 1000, Token: 5003, Sample: true}); r.Stages == nil || r.Stages.Node != "node1" ||
		r.Stages.D[StageStorage] <= 0 || r.Stages.D[StageNetwork] <= 0 || r.Stages.D[StageReplication] != 0 {
		t.Errorf("a sampled read tells %+v", r.Stages)
	}
	for i, op := range []Op{{Kind: Scan, Key: 1000, ScanLen: 20}, {Kind: BatchRead, Keys: []uint64{1000, 1001}},
		{Kind: BatchWrite, Keys: []uint64{1000, 1001}, Values: [][]byte{{'a'}, {'b'}}}} {
		op.Token, op.Sample = 6000+uint64(i), true
		if r := d.do(t, op); r.Stages == nil || r.Stages.Node != "node1" || r.Stages.D[StageStorage] <= 0 || r.Stages.D[StageNetwork] <= 0 {
			t.Errorf("a sampled operation of kind %d tells %+v", op.Kind, r.Stages)
		}
		if op.Token, op.Sample = op.Token+100, false; d.do(t, op).Stages != nil {
			t.Errorf("an operation of kind %d tells stages that nobody asked for", op.Kind)
		}
	}
	view, nodes := h.NodeStates()
	if view == "" || len(nodes) != 1 || nodes[0].Name != "node1" || nodes[0].Answers < 400 || nodes[0].Masters != h.Partitions() {
		t.Errorf("node states %q %+v", view, nodes)
	}
	if p := h.Partition(17); p < 0 || p >= h.Partitions() || h.Nodes() != 1 || h.Node(17) != 0 {
		t.Errorf("key 17 lies in partition %d on node %d of %d", p, h.Node(17), h.Nodes())
	}
}

// TestANodesClockIsComparedWithinItsBound: the node here has the very clock that
// is compared with it, so the offset is at most the stated error.
func TestANodesClockIsComparedWithinItsBound(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := server.Start(ctx, server.Config{Node: 1, Listen: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a, err := NewStatusAsker(HeadroomConfig{Credentials: dir + "/certs"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c, err := a.Clock(ctx, n.Addr())
	if err != nil || c.Node != "node1" || c.Error <= 0 || c.Offset.Abs() > c.Error {
		t.Errorf("offset %v within %v of %q, %v", c.Offset, c.Error, c.Node, err)
	}
}

func TestAnOffsetIsTheClockAgainstTheMiddleOfTheQuestion(t *testing.T) {
	sent := time.Unix(1000, 0)
	c := offset(sent, sent.Add(10*time.Millisecond), sent.Add(-2*time.Second))
	if c.Offset != 2*time.Second+5*time.Millisecond || c.Error != 5*time.Millisecond {
		t.Errorf("offset %v within %v, want 2.005s within 5ms", c.Offset, c.Error)
	}
}
