package client

import (
	"errors"
	"testing"
	"time"

	"headroom/node/record"
	"headroom/node/wire"
)

func TestBatchIsSplitByNodeAndAnsweredInOrder(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		const n = 300
		puts, keys := make([]KeyBins, n), make([]Key, n)
		for i := range puts {
			keys[i] = Key{Set: "users", Value: record.Int(int64(i))}
			puts[i] = KeyBins{keys[i], bins(int64(i))}
		}
		puts[7].Key.Value = record.Bool(true)
		results, err := c.BatchPut(t.Context(), puts)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if (r.Err != nil) != (i == 7) {
				t.Errorf("put %d: %v", i, r.Err)
			}
		}
		results, err = c.BatchGet(t.Context(), keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			v, _ := r.Record.Get("v")
			if i == 7 {
				if r.Err != ErrNotFound {
					t.Errorf("get 7: %v, want not found", r.Err)
				}
			} else if r.Err != nil || v != record.Int(int64(i)) || r.Record.Key != keys[i].Value {
				t.Errorf("get %d: %v, %v", i, v, r.Err)
			}
		}
		for id := range w.nodes {
			if p, g := w.count(id, wire.KindBatchPut), w.count(id, wire.KindBatchGet); p != 1 || g != 1 {
				t.Errorf("%v got %d puts and %d gets, want one frame each", id, p, g)
			}
		}
	})
}

func TestBatchSurvivesTheLossOfANode(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		puts := make([]KeyBins, 2000)
		for i := range puts {
			puts[i] = KeyBins{Key{Value: record.Int(int64(i))}, bins(int64(i))}
		}
		w.kill(3, true)
		time.AfterFunc(200*time.Millisecond, func() { w.push(w.without(3)) })
		begin := time.Now()
		results, err := c.BatchPut(t.Context(), puts)
		if err != nil || time.Since(begin) != 200*time.Millisecond {
			t.Fatalf("got %v after %v", err, time.Since(begin))
		}
		for i, r := range results {
			if r.Err != nil {
				t.Errorf("put %d: %v", i, r.Err)
			}
		}
		if len(w.store) != len(puts) {
			t.Errorf("%d records stored, want %d", len(w.store), len(puts))
		}
	})
}

func TestBatchOutcomesAtTheDeadline(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
		dead, alive := w.keyOn(t, 2), w.keyOn(t, 1)
		w.kill(2, true)
		results, err := c.BatchPut(t.Context(), []KeyBins{{dead, bins(1)}, {alive, bins(2)}})
		if err != nil || !errors.Is(results[0].Err, ErrInDoubt) || results[1].Err != nil {
			t.Errorf("put: %v, %v", results, err)
		}
		results, err = c.BatchGet(t.Context(), []Key{alive, dead})
		if err != nil || results[0].Err != nil || !errors.Is(results[1].Err, ErrTimeout) {
			t.Errorf("get: %v, %v", results, err)
		}
		if _, err = c.BatchPut(t.Context(), nil, WithGeneration(1)); !errors.Is(err, ErrOption) {
			t.Errorf("with a generation: %v", err)
		}
	})
}

func TestScanVisitsEveryRecordAcrossAMapChange(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world, c *Client) {
		const n = 5000
		for i := range int64(n) {
			k, err := NewKey("users", record.Int(i))
			if err != nil {
				t.Fatal(err)
			}
			body, err := record.AppendBody(nil, "users", record.Int(i), bins(i))
			if err != nil {
				t.Fatal(err)
			}
			w.store[k.digest] = stored{body, 1}
		}
		seen := make(map[int64]int)
		visits := 0
		err := c.Scan(t.Context(), "users", func(r Record) error {
			k, _ := r.Key.Int()
			seen[k]++
			if visits++; visits == 1000 {
				w.kill(3, true)
				time.AfterFunc(200*time.Millisecond, func() { w.push(w.without(3)) })
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != n || visits > n+100 {
			t.Errorf("saw %d records in %d visits, want all %d and few twice", len(seen), visits, n)
		}
	})
}

func TestScanResumesWhereItFailed(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
		for i := range int64(2000) {
			if err := c.Put(t.Context(), Key{Value: record.Int(i)}, bins(i)); err != nil {
				t.Fatal(err)
			}
		}
		seen := make(map[record.Digest]bool)
		stop := errors.New("enough")
		err := c.Scan(t.Context(), "", func(r Record) error {
			if len(seen) == 700 {
				return stop
			}
			seen[r.Digest] = true
			return nil
		})
		var e *ScanError
		if !errors.As(err, &e) || !errors.Is(err, stop) {
			t.Fatal(err)
		}
		err = c.Scan(t.Context(), "", func(r Record) error { seen[r.Digest] = true; return nil }, WithPartitions(e.Partition, 4096-e.Partition))
		if err != nil || len(seen) != 2000 {
			t.Errorf("saw %d records, %v", len(seen), err)
		}
	})
}

func TestALimitedScanFetchesNoMoreThanWanted(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world, c *Client) {
		for i := range int64(20_000) {
			k, err := NewKey("", record.Int(i))
			if err != nil {
				t.Fatal(err)
			}
			body, err := record.AppendBody(nil, "", record.Value{}, bins(i))
			if err != nil {
				t.Fatal(err)
			}
			w.store[k.digest] = stored{body, 1}
		}
		seen := map[record.Digest]bool{}
		err := c.Scan(t.Context(), "", func(r Record) error { seen[r.Digest] = true; return nil }, WithPartitions(100, 200), WithLimit(37))
		if err != nil || len(seen) != 37 {
			t.Errorf("saw %d records, %v, want 37", len(seen), err)
		}
		for d := range seen {
			if p := d.Partition(); p < 100 || p > 130 { // five records a partition
				t.Errorf("a record of partition %d, want the first partitions from 100 on", p)
			}
		}
		if n := w.count(1, wire.KindScan) + w.count(2, wire.KindScan); n > 30 { // the fake answers two or three at a time
			t.Errorf("%d requests for 37 records, want those of about 8 partitions", n)
		}
		if err := c.Scan(t.Context(), "", func(Record) error { return nil }, WithLimit(-1)); !errors.Is(err, ErrOption) {
			t.Errorf("a negative limit: %v", err)
		}
	})
}

func TestBatchShrinksWhenItsConnectionBreaks(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world, c *Client) {
		var keys []Key
		for i := range int64(200) {
			keys = append(keys, Key{Value: record.Int(i)})
			if err := c.Put(t.Context(), keys[i], bins(i)); err != nil {
				t.Fatal(err)
			}
		}
		w.take(1, func(l *fakeLink, h wire.Header, p []byte) bool {
			var q wire.Batch
			if h.Kind == wire.KindBatchGet && q.Parse(p, false) == nil && len(q.Items) > 40 {
				l.Close(wire.ErrFrame) // as the transport does with an oversized reply
				return true
			}
			return false
		})
		results, err := c.BatchGet(t.Context(), keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Errorf("get %d: %v", i, r.Err)
			}
		}
	})
}
