package drive

import (
	"slices"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/loadgen/target"
)

// summary runs cfg and summarises it.
func summary(t *testing.T, cfg Config) *result.Summary {
	t.Helper()
	d := start(t, cfg)
	r, err := d.Run(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var s result.Summary
	d.Summarize(r, &s)
	s.Verdicts = Verdicts(&s, d.Errors())
	return &s
}

func TestAHealthyTargetIsLinearizable(t *testing.T) {
	w := mixOf(t, "get:50,put:20,read-modify-write:10,delete:5,insert:5,batch-get:5,batch-put:5")
	w.Records = 100
	s := summary(t, Config{Workload: w, Target: target.NewFake(), Rate: 20_000, Duration: 500 * time.Millisecond, Seed: 1})
	l := s.Audit.Linear
	if l == nil || l.Violations+l.Undecided != 0 || l.Keys != linearKeys || l.Operations < 4000 || !l.Promised {
		t.Errorf("%+v, want %d keys, thousands of operations and no violation", l, linearKeys)
	}
	if a := s.Audit; a.CostReadNS <= 0 || a.CostWriteNS <= 0 || a.CostCPUPct <= 0 || a.CostCPUPct > 50 {
		t.Errorf("cost of the audit: %+v", a)
	}
}

// TestAnAnswerThatGoesBackIsFound plants what comparing reads with acknowledged
// writes cannot see: a write in doubt shows, and then does not.
func TestAnAnswerThatGoesBackIsFound(t *testing.T) {
	fake, reads := target.NewFake(), map[uint64]int{}
	fake.Judge = func(op *target.Op) target.Fate {
		if op.Kind == target.Write {
			if op.Key == 3 && len(reads) == 0 {
				reads[3] = 0
				return target.DoubtIt
			}
			delete(reads, op.Key) // a further write ends the game
			return target.Good
		}
		if n, ok := reads[op.Key]; ok {
			if reads[op.Key]++; n%2 == 1 {
				return target.StaleRead
			}
		}
		return target.Good
	}
	w := mixOf(t, "get:98,put:2")
	w.Records = 50
	d := start(t, Config{Workload: w, Target: fake, Rate: 5000, Duration: time.Second, Seed: 1})
	clear(reads)
	r, err := d.Run(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var s result.Summary
	d.Summarize(r, &s)
	if s.Audit.StaleReads != 0 || s.Audit.Linear.Violations == 0 {
		t.Errorf("%d stale reads, %+v, want none and a violation", s.Audit.StaleReads, s.Audit.Linear)
	}
	failed := slices.ContainsFunc(Verdicts(&s, nil), func(v result.Verdict) bool { return v.Rule == "LINEARIZABLE" && v.Level == result.Fail })
	if !failed {
		t.Errorf("the run does not fail: %+v", s.Verdicts)
	}
}

func TestRecordsThatExpireAreAuditedUntilTheyMay(t *testing.T) {
	f := func(ttl time.Duration, fate target.Fate, found func(result.Audit) int64, want bool) {
		t.Helper()
		w := mixOf(t, "get:90,put:10")
		w.TTL = ttl
		fake := target.NewFake()
		fake.Judge = func(op *target.Op) target.Fate {
			if op.Kind == target.Read && op.Key%10 == 0 {
				return fate
			}
			return target.Good
		}
		a := summary(t, Config{Workload: w, Target: fake, Rate: 5000, Duration: 200 * time.Millisecond, Seed: 1}).Audit
		if !a.Enabled || (found(a) > 0) != want || a.Linear != nil {
			t.Errorf("ttl %v: %+v, found %d, want any: %v", ttl, a, found(a), want)
		}
	}
	hidden := func(a result.Audit) int64 { return a.FalseNotFound }
	f(time.Hour, target.HideRecord, hidden, true)
	f(time.Second, target.HideRecord, hidden, false)
	f(time.Second, target.FlipByte, func(a result.Audit) int64 { return a.Corrupt }, true)
	f(time.Second, target.StaleRead, func(a result.Audit) int64 { return a.StaleReads }, true)
}
