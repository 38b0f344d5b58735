package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// host reports how often it froze; grants maps a node to the end of its lease.
type host struct {
	froze  int
	pad    int // bytes added to a report
	grants map[cluster.NodeID]cluster.Instant
}

func (h *host) Freeze(k cluster.ViewKey, _ []cluster.Member) []byte {
	h.froze++
	return append([]byte(k.String()), make([]byte, h.pad)...)
}

func (h *host) GrantedUntil(n cluster.NodeID, _ cluster.Incarnation) cluster.Instant {
	return h.grants[n]
}

func member(n cluster.NodeID) cluster.Member {
	return cluster.Member{Node: n, Inc: 1, Addr: fmt.Sprintf("a%d", n)}
}

func newCore(n cluster.NodeID) (*Core, *host) {
	h := &host{grants: map[cluster.NodeID]cluster.Instant{}}
	return New(0, Config{Self: member(n), Host: h, Rand: rand.New(rand.NewPCG(uint64(n), 1))}), h
}

// mesh is what n observes when all of ids hear each other.
func mesh(n cluster.NodeID, ids ...cluster.NodeID) (ps []Peer) {
	for _, i := range ids {
		if i != n {
			ps = append(ps, Peer{Member: member(i), Hears: without(ids, i)})
		}
	}
	return ps
}

func without(ids []cluster.NodeID, i cluster.NodeID) []cluster.NodeID {
	return slices.DeleteFunc(slices.Clone(ids), func(x cluster.NodeID) bool { return x == i })
}

const second = cluster.Instant(time.Second)

// formed returns the cores of nodes 1..n under one View, and the instant.
func formed(t *testing.T, n int) ([]*Core, []*host, cluster.Instant) {
	t.Helper()
	var cs []*Core
	var hs []*host
	var ids []cluster.NodeID
	for i := range n {
		c, h := newCore(cluster.NodeID(i + 1))
		cs, hs, ids = append(cs, c), append(hs, h), append(ids, cluster.NodeID(i+1))
	}
	for _, c := range cs {
		c.Observe(second, mesh(c.self.Node, ids...))
	}
	now := second.Add(maxQuiet)
	exchange(now, cs, nil)
	for _, c := range cs {
		if c.View() == nil || len(c.View().Members) != n || c.Frozen() {
			t.Fatalf("node%d holds %v", c.self.Node, c.View())
		}
	}
	return cs, hs, now
}

// exchange ticks the cores and carries messages until none are left. drop
// says which get lost.
func exchange(now cluster.Instant, cs []*Core, drop func(from cluster.NodeID, e Envelope) bool) {
	for _, c := range cs {
		c.Tick(now)
	}
	for moved := true; moved; {
		moved = false
		for _, c := range cs {
			for _, e := range c.Take().Send {
				if drop != nil && drop(c.self.Node, e) {
					continue
				}
				moved = true
				for _, d := range cs {
					if d.self.Node == e.To {
						d.Receive(now, c.self.Node, e.Msg)
					}
				}
			}
		}
	}
}

func TestPersistComesWithThePromise(t *testing.T) {
	c, _ := newCore(1)
	c.Observe(second, mesh(1, 1, 2))
	k := cluster.ViewKey{Counter: 5, Proposer: 2, Inc: 1}
	c.Receive(second, 2, &wire.Prepare{Ballot: k, Members: []cluster.Member{member(2), member(1)}})
	e := c.Take()
	if e.Persist == nil || e.Persist.Promised != k {
		t.Fatalf("promise without persisting it: %+v", e)
	}
	again := New(0, Config{Self: member(1), State: *e.Persist, Host: &host{}, Rand: rand.New(rand.NewPCG(1, 1))})
	again.Observe(second, mesh(1, 1, 2))
	again.Receive(second, 2, &wire.Prepare{Ballot: k, Members: []cluster.Member{member(2), member(1)}})
	if m, ok := again.Take().Send[0].Msg.(*wire.Nack); !ok || m.Promised != k {
		t.Errorf("after a restart the same ballot is answered by %+v, want Nack", m)
	}
}

func TestAcceptOfABallotBelowThePromiseIsRefused(t *testing.T) {
	c, h := newCore(1)
	c.Observe(second, mesh(1, 1, 2, 3))
	ms := []cluster.Member{member(3), member(2), member(1)}
	low, high := cluster.ViewKey{Counter: 5, Proposer: 2, Inc: 1}, cluster.ViewKey{Counter: 5, Proposer: 3, Inc: 1}
	c.Receive(second, 2, &wire.Prepare{Ballot: low, Members: ms})
	c.Receive(second, 3, &wire.Prepare{Ballot: high, Members: ms})
	c.Take()
	c.Receive(second, 2, &wire.Accept{Ballot: low, Members: ms})
	if m, ok := c.Take().Send[0].Msg.(*wire.Nack); !ok || m.Promised != high || h.froze != 0 {
		t.Errorf("answer %+v after freezing %d times, want Nack and none", m, h.froze)
	}
}

func TestProposalWithoutThisIncarnationIsInert(t *testing.T) {
	c, _ := newCore(1)
	c.Observe(second, mesh(1, 1, 2))
	old := member(1)
	old.Inc = 9
	k := cluster.ViewKey{Counter: 5, Proposer: 2, Inc: 1}
	c.Receive(second, 2, &wire.Prepare{Ballot: k, Members: []cluster.Member{member(2), old}})
	c.Receive(second, 3, &wire.Prepare{Ballot: k, Members: []cluster.Member{member(3), member(1)}}) // not by its proposer
	if e := c.Take(); len(e.Send) != 0 || e.Persist != nil || c.Stats().Inert != 2 {
		t.Errorf("effects %+v, want none", e)
	}
}

func TestMemberStaysFrozenUntilTheCommitOfThatBallot(t *testing.T) {
	cs, _, now := formed(t, 3)
	for _, c := range cs[:2] {
		c.Observe(now, mesh(c.self.Node, 1, 2))
	}
	now = now.Add(quietGone)
	exchange(now, cs[:2], func(_ cluster.NodeID, e Envelope) bool {
		_, lost := e.Msg.(*wire.Commit)
		return lost
	})
	if !cs[0].Frozen() || cs[1].Frozen() {
		t.Fatalf("frozen: node1 %v, node2 %v; want true, false", cs[0].Frozen(), cs[1].Frozen())
	}
	old := *cs[2].commit[0].(*wire.Commit)
	cs[0].Receive(now, 3, &old)
	if !cs[0].Frozen() {
		t.Error("the commit of the old View ends the freeze")
	}
	// Node 2 sees it show an older View, and sends the commit again.
	ps := mesh(2, 1, 2)
	ps[0].View, ps[0].Frozen = old.View.Key, true
	cs[1].Observe(now, ps)
	exchange(now.Add(resendGap), cs[:2], nil)
	if cs[0].Frozen() || cs[0].View().Key != cs[1].View().Key {
		t.Errorf("not healed: frozen %v under %v", cs[0].Frozen(), cs[0].View())
	}
}

func TestCommitWaitsForLeasesOfThoseLeftOut(t *testing.T) {
	cs, hs, now := formed(t, 4)
	end := now.Add(300 * time.Millisecond)
	for i := range 3 { // node 1 is evicted for a broken link: nodes 2 and 3 heard it just now, node 4 some time ago
		hs[i].grants[1] = end
	}
	hs[3].grants[1] = end.Add(-100 * time.Millisecond)
	rest := cs[1:]
	for _, c := range rest {
		c.Observe(now, mesh(c.self.Node, 2, 3, 4))
	}
	exchange(now.Add(quietGone), rest, nil)
	if len(cs[3].View().Members) != 4 || cs[3].Frozen() || cs[1].Frozen() {
		t.Fatal("committed while node 1 may hold a lease, or frozen for it")
	}
	exchange(end.Add(-101*time.Millisecond), rest, nil)
	if len(cs[3].View().Members) != 4 || cs[3].Frozen() {
		t.Fatal("frozen before the fence of node 4 passed")
	}
	// Until they are frozen they may grant another lease, which counts as well.
	for i := range hs {
		hs[i].grants[1] = end
	}
	exchange(end.Add(-100*time.Millisecond+fenceMargin), rest, nil)
	if len(cs[3].View().Members) != 4 || !cs[3].Frozen() {
		t.Fatal("committed while node 1 may hold a lease granted after the promise")
	}
	exchange(end.Add(fenceMargin), rest, nil)
	for _, c := range rest {
		if len(c.View().Members) != 3 || c.Frozen() {
			t.Errorf("node%d holds %v, frozen %v", c.self.Node, c.View(), c.Frozen())
		}
	}
}

func TestACommitTooLargeForAFrameComesInPieces(t *testing.T) {
	cs, hs, now := formed(t, 3)
	for _, h := range hs {
		h.pad = 700 << 10
	}
	pieces := 0
	lost := func(from cluster.NodeID, e Envelope) bool {
		p, ok := e.Msg.(*wire.CommitPart)
		if ok {
			pieces++
		}
		if n := len(e.Msg.Append(nil)); n > wire.MaxPayload {
			t.Fatalf("a %T of %d bytes does not fit a frame", e.Msg, n)
		}
		return ok && e.To == 1 && p.Index == 1 && pieces < 10 // its connection breaks
	}
	before := cs[0].View().Key
	cs[2].SetSelf(now, cluster.Member{Quiesced: true, Addr: "a3"})
	now = now.Add(maxQuiet)
	exchange(now, cs, lost)
	if v := cs[1].View(); !before.Less(v.Key) || pieces < 6 {
		t.Fatalf("node2 holds %v after %d pieces", v, pieces)
	}
	if v := cs[0].View(); v.Key != before || cs[0].Stats().Inert == 0 {
		t.Errorf("node1 holds %v although a piece was lost", v)
	}
	peers := mesh(3, 1, 2, 3)
	for i := range peers { // node 1 shows the old View: it gets the commit again
		peers[i].View = cs[2].View().Key
	}
	peers[0].View, peers[0].Frozen = before, true
	cs[2].Observe(now, peers)
	exchange(now.Add(resendGap), cs, lost)
	if v := cs[0].View(); v.Key != cs[2].View().Key {
		t.Errorf("node1 holds %v after the commit was sent again, want %v", v, cs[2].View())
	}
}

func TestDepartureOfANodeThatIsNotProposedDoesNotAbort(t *testing.T) {
	cs, _, now := formed(t, 3)
	p := cs[2]
	p.Observe(now, mesh(3, 1, 3))
	p.Tick(now.Add(quietGone))
	p.Take()
	p.Observe(now.Add(quietGone), append(mesh(3, 1, 3), Peer{Member: member(9)}))
	p.Observe(now.Add(quietGone), mesh(3, 1, 3))
	if p.round == nil || p.Stats().Aborted != 0 {
		t.Error("the round was given up")
	}
	p.Observe(now.Add(quietGone), mesh(3, 3))
	if p.Stats().Aborted != 1 {
		t.Error("the round goes on although a proposed member is gone")
	}
}

func TestLargestMutualKeepsTheMostAndThenTheHigher(t *testing.T) {
	f := func(want []cluster.NodeID, n cluster.NodeID, broken ...[2]cluster.NodeID) {
		t.Helper()
		var ids []cluster.NodeID
		for i := range n {
			ids = append(ids, i+1)
		}
		ps := mesh(0, ids...)
		for _, l := range broken { // one way: from does not hear to
			ps[l[0]-1].Hears = without(ps[l[0]-1].Hears, l[1])
		}
		var in []*Peer
		for i := range ps {
			in = append(in, &ps[i])
		}
		var got []cluster.NodeID
		for _, p := range largestMutual(in) {
			got = append(got, p.Member.Node)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d nodes, broken %v: kept %v, want %v", n, broken, got, want)
		}
	}
	type l = [2]cluster.NodeID
	f([]cluster.NodeID{1, 2, 3}, 3)
	f([]cluster.NodeID{2, 3}, 3, l{1, 3})
	f([]cluster.NodeID{2, 3}, 3, l{3, 1}, l{1, 3})
	f([]cluster.NodeID{1, 2, 4}, 4, l{3, 1}, l{3, 2})
	f([]cluster.NodeID{3, 4}, 4, l{1, 3}, l{1, 4}, l{2, 3}, l{2, 4})
	f([]cluster.NodeID{2, 3, 4, 5}, 5, l{1, 5})
}

func TestCommitOfABallotBelowTheNewestAcceptedIsInert(t *testing.T) {
	c, _ := newCore(1)
	c.Observe(second, mesh(1, 1, 2, 3))
	ms := []cluster.Member{member(3), member(2), member(1)}
	low, high := cluster.ViewKey{Counter: 5, Proposer: 2, Inc: 1}, cluster.ViewKey{Counter: 6, Proposer: 3, Inc: 1}
	for _, k := range []cluster.ViewKey{low, high} {
		c.Receive(second, k.Proposer, &wire.Prepare{Ballot: k, Members: ms})
		c.Receive(second, k.Proposer, &wire.Accept{Ballot: k, Members: ms})
	}
	c.Receive(second, 2, &wire.Commit{View: cluster.View{Key: low, Members: ms}, Payloads: make([][]byte, 3)})
	if c.View() != nil {
		t.Errorf("adopts %v although it reported for %v since", c.View(), high)
	}
	c.Receive(second, 3, &wire.Commit{View: cluster.View{Key: high, Members: ms}, Payloads: make([][]byte, 3)})
	if c.View() == nil || c.View().Key != high || c.Frozen() {
		t.Errorf("holds %v, want %v", c.View(), high)
	}
}

func TestAProcessWhoseIDIsTakenTakesPartInNothing(t *testing.T) {
	c, _ := newCore(3)
	c.Observe(second, []Peer{{Member: member(1), Rival: true}})
	c.Tick(2 * second)
	if d, e := c.Deadline(), c.Take(); d != cluster.Never || len(e.Send) > 0 || c.View() != nil {
		t.Errorf("deadline %v, effects %+v; want nothing", d, e)
	}
	k := cluster.ViewKey{Counter: 5, Proposer: 4, Inc: 1}
	c.Observe(2*second, []Peer{{Member: member(1), Rival: true}, {Member: member(4), Hears: []cluster.NodeID{3}}})
	c.Receive(2*second, 4, &wire.Prepare{Ballot: k, Members: []cluster.Member{member(4), member(3)}})
	if e := c.Take(); len(e.Send) != 1 || e.Send[0].Msg.Kind() != wire.KindNack {
		t.Errorf("a proposal is answered by %+v, want a nack", e.Send)
	}
	c.Observe(3*second, []Peer{{Member: member(1)}})
	c.Tick(4 * second)
	if v := c.View(); v == nil || len(v.Members) != 1 {
		t.Errorf("the other process is gone: View %v, want one of this node alone", v)
	}
}

func TestANodeThatIsCalledByAMemberDoesNotFormAClusterBeforeItIsHeard(t *testing.T) {
	c, _ := newCore(3)
	v := cluster.ViewKey{Counter: 1, Proposer: 4, Inc: 1}
	c.Observe(1, []Peer{{Member: member(4), View: v}}) // it called a seed, and has not been answered
	c.Tick(cluster.Instant(grace) - 1)
	if c.View() != nil {
		t.Errorf("after %v: %v", grace-1, c.View())
	}
	c.Tick(cluster.Instant(grace))
	if c.View() == nil {
		t.Error("no View when the time to listen is over")
	}
}
