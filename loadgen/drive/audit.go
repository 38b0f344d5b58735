package drive

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headroom/loadgen/linear"
	"headroom/loadgen/pace"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
)

// findingsMax bounds the findings kept for events.csv: the counters are
// complete, the list is for the first look.
const findingsMax = 1000

// audit counts findings over all lanes and phases. Safe for concurrent use.
type audit struct {
	enabled bool
	why     string // why not
	writer  uint32
	clock   pace.Clock
	deletes bool
	table   *table
	ttl     time.Duration   // of records, zero: they do not expire
	linear  *linear.Sampler // of the run under way, may be nil

	acked, inDoubt                        atomic.Int64
	lost, stale, corrupt, falseNotFound   atomic.Int64
	keysWritten, readBack, readBackFailed atomic.Int64
	staleAgeMaxMS                         atomic.Int64
	mu                                    sync.Mutex // guards listed and fresh
	listed                                int
	fresh                                 []Finding
}

// Finding is one violation that the audit saw.
type Finding struct {
	At   time.Duration // on the driver's clock
	Text string
}

// expiryMargin is how much earlier than its time a record may be gone: times
// to live are whole seconds, and clocks differ.
const expiryMargin = 2 * time.Second

// mayBeGone reports whether a record acknowledged at ackedMS may have expired.
func (a *audit) mayBeGone(ackedMS uint32, now time.Duration) bool {
	return a.ttl > 0 && now-time.Duration(ackedMS)*time.Millisecond > a.ttl-expiryMargin
}

// check judges one completed read of key; before is the key's entry when the
// read was submitted, beforeMS when its last write was acknowledged.
func (a *audit) check(key uint64, before entry, beforeMS uint32, r *target.Result) finding {
	if !a.enabled || r.Outcome != target.OK && r.Outcome != target.NotFound {
		return fine
	}
	after := a.table.load(key)
	found := r.Outcome == target.OK
	if !found && a.ttl > 0 && a.mayBeGone(beforeMS, a.clock.Now()) {
		return fine
	}
	var h header
	if found {
		var ok bool
		if h, ok = parse(r.Value); !ok || h.key != key {
			return corrupt
		}
		if h.writer != a.writer { // left by an earlier run: older than all of ours
			h.seq = 0
		}
	}
	return judge(before, after, found, h.seq, a.deletes)
}

// count counts and lists a finding of a read in the run.
func (a *audit) count(f finding, key uint64, before entry, beforeMS uint32, r *target.Result, now time.Duration) {
	switch f {
	case stale:
		a.stale.Add(1)
		age := now.Milliseconds() - int64(beforeMS)
		for old := a.staleAgeMaxMS.Load(); age > old && !a.staleAgeMaxMS.CompareAndSwap(old, age); {
			old = a.staleAgeMaxMS.Load()
		}
		h, _ := parse(r.Value)
		a.list(now, fmt.Sprintf("stale read: key %d has write %d, intended %d ms before; write %d was acknowledged %d ms before", key,
			h.seq, time.Since(time.Unix(0, h.intended)).Milliseconds(), before.acked(), age))
	case corrupt:
		a.corrupt.Add(1)
		a.list(now, fmt.Sprintf("corrupt value: key %d, %d bytes", key, len(r.Value)))
	case falseNotFound:
		a.falseNotFound.Add(1)
		a.list(now, fmt.Sprintf("false not found: key %d, write %d was acknowledged %d ms before", key, before.acked(),
			now.Milliseconds()-int64(beforeMS)))
	}
}

// countBack counts and lists what the final read-back found: an older value or
// none means that the last acknowledged write is lost.
func (a *audit) countBack(f finding, key uint64, before entry, now time.Duration) {
	switch f {
	case stale, falseNotFound:
		a.lost.Add(1)
		a.list(now, fmt.Sprintf("lost write: key %d, acknowledged write %d is gone", key, before.acked()))
	case corrupt:
		a.corrupt.Add(1)
		a.list(now, fmt.Sprintf("corrupt value: key %d at the final read-back", key))
	}
}

// findingNotLinear names a key whose history has no possible order.
func findingNotLinear(key uint64) string {
	return fmt.Sprintf("not linearizable: the answers about key %d fit no order of its operations", key)
}

func (a *audit) list(now time.Duration, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listed < findingsMax {
		a.listed++
		a.fresh = append(a.fresh, Finding{At: now, Text: text})
	}
}

// takeFindings returns the findings since the last call.
func (a *audit) takeFindings() []Finding {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.fresh
	a.fresh = nil
	return out
}

// wrote counts the end of a write or delete and tells the table.
func (a *audit) wrote(key uint64, seq uint32, out target.Outcome, now time.Duration) {
	switch out {
	case target.OK, target.NotFound:
		a.acked.Add(1)
	case target.InDoubt:
		a.inDoubt.Add(1)
	}
	a.table.end(key, seq, out, uint32(now.Milliseconds()))
}

// summary returns the counts so far.
func (a *audit) summary() result.Audit {
	return result.Audit{Enabled: a.enabled, Why: a.why, AcknowledgedWrites: a.acked.Load(), Lost: a.lost.Load(),
		StaleReads: a.stale.Load(), Corrupt: a.corrupt.Load(), FalseNotFound: a.falseNotFound.Load(),
		InDoubtWrites: a.inDoubt.Load(), KeysWritten: a.keysWritten.Load(), ReadBack: a.readBack.Load(),
		ReadBackFailed: a.readBackFailed.Load(), StaleAgeMaxMS: float64(a.staleAgeMaxMS.Load())}
}
