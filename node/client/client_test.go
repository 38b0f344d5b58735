package client

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headroom/node/record"
	"headroom/node/wire"
)

func TestEveryMemberIsConnectedAndEachRequestGoesToItsMaster(t *testing.T) {
	inWorld(t, 4, func(t *testing.T, w *world, c *Client) {
		for _, m := range c.Members() {
			if !m.Connected {
				t.Errorf("%v is not connected", m.Node)
			}
		}
		for i := range int64(100) {
			k := Key{Set: "users", Value: record.Int(i)}
			if err := c.Put(t.Context(), k, bins(i)); err != nil {
				t.Fatal(err)
			}
			r, err := c.Get(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := r.Get("v"); v != record.Int(i) || r.Generation != 1 {
				t.Errorf("key %d: got %v, generation %d", i, v, r.Generation)
			}
		}
		st := c.Stats()
		var sent uint64
		for _, n := range st.Nodes {
			sent += n.Sent
			if n.Retries != 0 || n.Sent != n.Answered {
				t.Errorf("%+v: want no retries and every request answered", n)
			}
		}
		if sent != 200 || st.InFlight != 0 {
			t.Errorf("sent %d requests, %d in flight, want 200 and 0", sent, st.InFlight)
		}
	})
}

func TestEverySingleRecordOperationWorks(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
		ctx, k := t.Context(), Key{Value: record.String("ada")}
		check := func(what string, got, want error) {
			t.Helper()
			if !errors.Is(got, want) {
				t.Errorf("%s: got %v, want %v", what, got, want)
			}
		}
		_, err := c.Get(ctx, k)
		check("get of nothing", err, ErrNotFound)
		check("delete of nothing", c.Delete(ctx, k), ErrNotFound)
		ok, err := c.Exists(ctx, k)
		if ok || err != nil {
			t.Errorf("exists = %v, %v", ok, err)
		}
		check("put", c.Put(ctx, k, bins(1), WithTTL(time.Hour), WithStoredKey()), nil)
		check("put at generation 7", c.Put(ctx, k, bins(2), WithGeneration(7)), ErrGeneration)
		check("touch", c.Touch(ctx, k, time.Minute), nil)
		rec, err := c.Operate(ctx, k, []record.Op{{Kind: record.OpAdd, Bin: "v", Value: record.Int(4)}, {Kind: record.OpRead, Bin: "v"}})
		if err != nil || len(rec.Results) != 1 || rec.Results[0].Value != record.Int(5) {
			t.Errorf("operate = %+v, %v, want one result, 5", rec.Results, err)
		}
		_, err = c.Operate(ctx, k, []record.Op{{Kind: record.OpAppend, Bin: "v", Value: record.String("x")}})
		check("append to an int", err, ErrBinType)
		check("delete", c.Delete(ctx, k), nil)
		check("unknown namespace", c.Put(ctx, k, bins(1), WithNamespace("nope")), ErrNoNamespace)
		check("too big", c.Put(ctx, k, []record.Bin{{Name: "b", Value: record.Bytes(make([]byte, record.MaxSize))}}), ErrTooBig)
		check("bad key", c.Put(ctx, Key{Value: record.Bool(true)}, bins(1)), record.ErrKey)
	})
}

func TestReadsFollowAPushedMapAtOnce(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		if err := c.Put(t.Context(), k, bins(1)); err != nil {
			t.Fatal(err)
		}
		w.kill(3, true)
		begin := time.Now()
		time.AfterFunc(200*time.Millisecond, func() { w.push(w.without(3)) })
		if _, err := c.Get(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 200*time.Millisecond {
			t.Errorf("read took %v, want 200ms: the moment of the new map", took)
		}
	})
}

func TestPutFailsOverWhenItsNodeLeavesTheView(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		w.kill(3, true)
		begin := time.Now()
		time.AfterFunc(200*time.Millisecond, func() { w.push(w.without(3)) })
		if err := c.Put(t.Context(), k, bins(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 200*time.Millisecond {
			t.Errorf("put took %v, want 200ms", took)
		}
		if n := c.Stats().Nodes[2]; n.Failovers != 1 {
			t.Errorf("%+v: want one failover", n)
		}
	})
}

func TestPutWaitsForItsNodeWhileThatIsAMember(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		w.take(3, func(l *fakeLink, h wire.Header, p []byte) bool {
			time.AfterFunc(300*time.Millisecond, func() { l.reply(h.ID, wire.Reply{Generation: 9}) }) // forwarded
			return true
		})
		time.AfterFunc(100*time.Millisecond, func() { w.push(w.moved(1)) })
		begin := time.Now()
		if err := c.Put(t.Context(), k, bins(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 300*time.Millisecond {
			t.Errorf("put took %v, want 300ms: the old master's answer", took)
		}
		if n := w.count(1, wire.KindPut); n != 0 {
			t.Errorf("the put was sent %d times to the new master, want none", n)
		}
	})
}

func TestNotMasterAndUnavailableAreRetried(t *testing.T) {
	for _, st := range []wire.Status{wire.StatusNotMaster, wire.StatusUnavailable, wire.StatusBusy, wire.StatusShuttingDown} {
		inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
			k := w.keyOn(t, 2)
			var left atomic.Int32
			left.Store(3)
			w.take(2, func(l *fakeLink, h wire.Header, p []byte) bool {
				if left.Add(-1) >= 0 {
					l.reply(h.ID, wire.Reply{Status: st})
					return true
				}
				return false
			})
			begin := time.Now()
			ops := []record.Op{{Kind: record.OpAdd, Bin: "v", Value: record.Int(1)}}
			if _, err := c.Operate(t.Context(), k, ops); err != nil {
				t.Errorf("%v: %v", st, err)
			}
			if took := time.Since(begin); took < 5*time.Millisecond || took > 20*time.Millisecond {
				t.Errorf("%v: three retries took %v, want about 2+4+8 ms less jitter", st, took)
			}
		})
	}
}

func TestOutcomeWhenTheConnectionDiesAfterSending(t *testing.T) {
	ops := []record.Op{{Kind: record.OpAdd, Bin: "v", Value: record.Int(1)}}
	cases := map[string]struct {
		call func(*Client, context.Context, Key) error
		want error
	}{
		"get":         {func(c *Client, ctx context.Context, k Key) error { _, err := c.Get(ctx, k); return err }, nil},
		"put":         {func(c *Client, ctx context.Context, k Key) error { return c.Put(ctx, k, bins(2)) }, nil},
		"delete":      {func(c *Client, ctx context.Context, k Key) error { return c.Delete(ctx, k) }, nil},
		"checked put": {func(c *Client, ctx context.Context, k Key) error { return c.Put(ctx, k, bins(2), WithGeneration(1)) }, ErrInDoubt},
		"operate":     {func(c *Client, ctx context.Context, k Key) error { _, err := c.Operate(ctx, k, ops); return err }, ErrInDoubt},
		"read operate": {func(c *Client, ctx context.Context, k Key) error {
			_, err := c.Operate(ctx, k, []record.Op{{Kind: record.OpRead, Bin: "v"}})
			return err
		}, nil},
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
				k := w.keyOn(t, 3)
				if err := c.Put(t.Context(), k, bins(1)); err != nil {
					t.Fatal(err)
				}
				w.take(3, func(l *fakeLink, h wire.Header, p []byte) bool { l.Close(nil); w.kill(3, false); return true })
				time.AfterFunc(100*time.Millisecond, func() { w.push(w.without(3)) })
				if err := x.call(c, t.Context(), k); !errors.Is(err, x.want) {
					t.Errorf("got %v, want %v", err, x.want)
				}
			})
		})
	}
}

func TestARepeatedWriteThatIsRefusedIsInDoubt(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		w.kill(3, true)
		w.take(1, func(l *fakeLink, h wire.Header, p []byte) bool {
			l.reply(h.ID, wire.Reply{Status: wire.StatusStopWrites})
			return true
		})
		w.take(2, func(l *fakeLink, h wire.Header, p []byte) bool {
			l.reply(h.ID, wire.Reply{Status: wire.StatusStopWrites})
			return true
		})
		time.AfterFunc(100*time.Millisecond, func() { w.push(w.without(3)) })
		err := c.Put(t.Context(), k, bins(1))
		if !errors.Is(err, ErrInDoubt) {
			t.Fatalf("got %v, want in doubt: the first attempt may have been applied", err)
		}
		var e *OpError
		if !errors.As(err, &e) || e.Last != wire.StatusStopWrites || e.Attempts != 2 {
			t.Errorf("got %+v, want two attempts, the last answered with stop writes", e)
		}
		if err := c.Put(t.Context(), k, bins(1)); !errors.Is(err, ErrStopWrites) || errors.Is(err, ErrInDoubt) {
			t.Errorf("a first attempt: got %v, want stop writes", err)
		}
	})
}

func TestDeadline(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		w.kill(3, true)
		f := func(what string, want error, call func(ctx context.Context) error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			begin := time.Now()
			err := call(ctx)
			if took := time.Since(begin); took < 300*time.Millisecond || took > 300*time.Millisecond+tick {
				t.Errorf("%s took %v, want 300 ms", what, took)
			}
			if !errors.Is(err, want) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want %v and the deadline", what, err, want)
			}
		}
		get := func(ctx context.Context) error { _, err := c.Get(ctx, k); return err }
		put := func(ctx context.Context) error { return c.Put(ctx, k, bins(1)) }
		f("sent read", ErrTimeout, get)
		f("sent write", ErrInDoubt, put)
		w.kill(3, false)
		synctest.Wait()
		f("unsent read", ErrTimeout, get)
		f("unsent write", ErrTimeout, put)
		m := w.moved(1)
		for p := range m.Namespaces[0].Masters {
			m.Namespaces[0].Masters[p] = wire.NoMaster
		}
		w.push(m)
		f("write nobody serves", ErrUnavailable, put)
		f("write nobody serves", ErrTimeout, put)
	})
}

func TestACancelledCallReturnsAtOnce(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		w.kill(3, true)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		begin := time.Now()
		err := c.Put(ctx, k, bins(1))
		if time.Since(begin) != 50*time.Millisecond || !errors.Is(err, context.Canceled) || !errors.Is(err, ErrInDoubt) {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		if err := c.Put(ctx, k, bins(1)); !errors.Is(err, context.Canceled) || errors.Is(err, ErrInDoubt) {
			t.Errorf("with a context that has ended: got %v", err)
		}
	})
}

func TestALateReplyIsIgnored(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 1)
		if err := c.Put(t.Context(), k, bins(7)); err != nil {
			t.Fatal(err)
		}
		var first atomic.Bool
		w.take(1, func(l *fakeLink, h wire.Header, p []byte) bool {
			if first.Swap(true) {
				return false
			}
			time.AfterFunc(150*time.Millisecond, func() { l.reply(h.ID, wire.Reply{Status: wire.StatusNotFound}) })
			return true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := c.Get(ctx, k); !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
		// The next call takes the same slot and must not get the late reply.
		w.take(1, func(l *fakeLink, h wire.Header, p []byte) bool {
			time.AfterFunc(150*time.Millisecond, func() { w.answer(l, h, p) })
			return true
		})
		r, err := c.Get(t.Context(), k)
		if v, _ := r.Get("v"); err != nil || v != record.Int(7) {
			t.Errorf("got %v, %v", v, err)
		}
		if n := c.Stats().LateReplies; n != 1 {
			t.Errorf("%d late replies, want 1", n)
		}
	})
}

func TestARestartedNodeIsFoundAgain(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 2)
		w.kill(2, false)
		time.AfterFunc(500*time.Millisecond, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.nodes[2].down, w.nodes[2].hook = false, nil
		})
		begin := time.Now()
		if err := c.Put(t.Context(), k, bins(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("took %v, want little more than the 500 ms the node was down", took)
		}
	})
}

func TestANewMemberIsReachedThroughOthersUntilItIsConnected(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 3)
		full := *w.m
		w.kill(3, false)
		w.push(w.without(3))
		synctest.Wait()
		full.View.Counter += 2
		w.push(&full) // it is a member again, but cannot be dialed from here yet
		synctest.Wait()
		forward := func(l *fakeLink, h wire.Header, p []byte) bool {
			if h.Kind == wire.KindPut {
				l.reply(h.ID, wire.Reply{Generation: 1})
				return true
			}
			return false
		}
		w.take(1, forward)
		w.take(2, forward)
		begin := time.Now()
		if err := c.Put(t.Context(), k, bins(1)); err != nil || time.Since(begin) > 0 {
			t.Errorf("got %v after %v, want an immediate answer", err, time.Since(begin))
		}
	})
}

func TestCloseCompletesEveryCall(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
		w.kill(1, true)
		w.kill(2, false)
		synctest.Wait()
		k1, k2 := w.keyOn(t, 1), w.keyOn(t, 2)
		errs := make(chan error, 3)
		go func() { _, err := c.Get(t.Context(), k1); errs <- err }()
		go func() { errs <- c.Put(t.Context(), k2, bins(1)) }()
		synctest.Wait()
		c.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("got %v, want closed", err)
			}
		}
		if _, err := c.Get(t.Context(), k1); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
	})
}

func TestDialGivesUpWithTheSeedsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.kill(1, false)
		_, err := dialWith(t.Context(), Config{Seeds: []string{addrOf(1)}, DialTimeout: time.Second}, w)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDialWaitsForAClusterThatStartsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.nodes[1].down = true
		time.AfterFunc(3*time.Second, func() { w.mu.Lock(); w.nodes[1].down = false; w.mu.Unlock() })
		c, err := dialWith(t.Context(), Config{Seeds: []string{addrOf(1), "10.9.9.9:1"}}, w)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestAnInDoubtAnswerIsRepeatedOnlyIfThatIsSafe(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world, c *Client) {
		k := w.keyOn(t, 1)
		doubt := func() {
			var once atomic.Bool
			w.take(1, func(l *fakeLink, h wire.Header, p []byte) bool {
				if once.Swap(true) {
					return false
				}
				l.reply(h.ID, wire.Reply{Status: wire.StatusInDoubt})
				return true
			})
		}
		doubt()
		if err := c.Put(t.Context(), k, bins(1)); err != nil {
			t.Errorf("put: %v, want success at the second attempt", err)
		}
		doubt()
		if err := c.Put(t.Context(), k, bins(1), WithGeneration(1)); !errors.Is(err, ErrInDoubt) {
			t.Errorf("checked put: %v, want in doubt", err)
		}
	})
}
