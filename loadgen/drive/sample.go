package drive

import (
	"math/rand/v2"
	"time"

	"headroom/loadgen/linear"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
)

const (
	// linearKeys are sampled as they are asked for, so that hot keys are among them.
	linearKeys = 64
	// linearWindows is how often in a run a key's history is recorded anew, so
	// that the whole of the run is covered.
	linearWindows = 20
	// linearBudget bounds the judging at the end of a run.
	linearBudget = 5 * time.Second
)

// sampler picks the keys of a run whose histories are judged. Records that
// expire are not a register; without an audit nothing is.
func (d *Driver) sampler() (*linear.Sampler, error) {
	if !d.audit.enabled || d.audit.ttl > 0 {
		return nil, nil
	}
	c, err := d.cfg.Workload.Chooser(d.place(0, 1))
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(d.cfg.Seed, 0x3c6ef372fe94f82b))
	seen := map[uint64]bool{}
	var keys []uint64
	for range 16 * linearKeys {
		if k := c.Next(r, max(1, d.table.population.Load())); !seen[k] && len(keys) < linearKeys {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	return linear.New(keys, max(time.Second, d.cfg.Duration/linearWindows)), nil
}

// look lets the history of a key begin or end before a read is submitted.
func (l *lane) look(key uint64) {
	if s := l.d.audit.linear; s.Sampled(key) {
		s.Look(key, l.d.clock.Now, func() linear.State {
			e := l.d.table.load(key)
			return linear.State{Submitted: e.submitted(), Certain: !e.is(busyBit | doubtBit)}
		})
	}
}

// sawRead adds an answered read to the history of its key.
func (a *audit) sawRead(key uint64, sent, now time.Duration, r *target.Result) {
	if !a.linear.Sampled(key) {
		return
	}
	switch r.Outcome {
	case target.NotFound:
		a.linear.Read(key, sent, now, 0)
	case target.OK:
		if h, ok := parse(r.Value); ok && h.writer == a.writer && h.key == key {
			a.linear.Read(key, sent, now, h.seq)
		}
	}
}

// sawWrite adds a write that was or may have been applied.
func (a *audit) sawWrite(key uint64, sent, now time.Duration, seq uint32, deleted bool, out target.Outcome) {
	if out != target.Failed && a.linear.Sampled(key) {
		a.linear.Write(key, sent, now, seq, deleted, out == target.InDoubt)
	}
}

// judge has the recorded histories judged, once.
func (d *Driver) judge(r *Report) *result.Linearity {
	if d.audit.linear == nil {
		return nil
	}
	v := d.audit.linear.Check(linearBudget)
	d.audit.linear = nil
	for _, j := range v.Judged {
		r.Histories = append(r.Histories, result.History{TSec: (j.From - r.MeasuredFrom).Seconds(), Key: j.Key, Operations: j.Operations,
			Verdict: historyWords[j.Outcome]})
	}
	p, ok := d.cfg.Target.(target.Linearizable)
	for _, key := range v.Violated {
		d.audit.list(d.clock.Now(), findingNotLinear(key))
	}
	return &result.Linearity{Promised: ok && p.Linearizable(), Keys: v.Keys, Windows: v.Windows, Operations: v.Operations,
		Violations: v.Violations, Undecided: v.Undecided}
}

// historyWords are the outcomes of histories as histories.csv has them.
var historyWords = map[linear.Outcome]string{linear.Fits: result.HistoryFits, linear.Violates: result.HistoryViolates,
	linear.Undecided: result.HistoryUndecided}

// costRounds is how often the audit's work is repeated to be timed: 2 ms.
const costRounds = 2000

// auditCost times what the audit does for costRounds reads and as many writes of
// a value of the mean size, on an idle lane's memory.
func (d *Driver) auditCost() (read, write time.Duration) {
	if !d.audit.enabled {
		return 0, 0
	}
	w := d.cfg.Workload
	buf := make([]byte, max(headerSize, int(w.ValueSize.Mean())))
	scratch := audit{enabled: true, writer: d.audit.writer, table: newTable()}
	const key = 7
	h := header{writer: d.audit.writer, key: key}
	scratch.table.load(key) // makes the chunk
	began := time.Now()
	for range costRounds {
		h.seq, _ = scratch.table.begin(key, false)
		stamp(buf, h)
		scratch.wrote(key, h.seq, target.OK, 0)
	}
	write = time.Since(began)
	r := target.Result{Outcome: target.OK, Value: buf}
	began = time.Now()
	for range costRounds {
		before := scratch.table.load(key)
		if scratch.check(key, before, 0, &r) != fine {
			panic("drive: the audit rejects its own value")
		}
	}
	return time.Since(began), write
}

// costs writes into s what auditing its operations took.
func (d *Driver) costs(r *Report, s *result.Summary) {
	if !d.audit.enabled {
		return
	}
	read, write := d.auditCost()
	var reads, writes int64
	for op := range workloads.Ops {
		n := s.Operations[op.String()].Count
		switch op {
		case workloads.BatchGet:
			reads += n * int64(d.cfg.Workload.BatchSize)
		case workloads.BatchPut:
			writes += n * int64(d.cfg.Workload.BatchSize)
		case workloads.Get:
			reads += n
		case workloads.ReadModifyWrite:
			reads, writes = reads+n, writes+n
		case workloads.Put, workloads.Update, workloads.Insert, workloads.Delete:
			writes += n
		}
	}
	a := &s.Audit
	a.CostReadNS, a.CostWriteNS = float64(read)/costRounds, float64(write)/costRounds
	if s.DurationSec > 0 {
		a.CostCPUPct = 100 * (float64(reads)*a.CostReadNS + float64(writes)*a.CostWriteNS) / 1e9 / s.DurationSec
	}
	for name, n := range map[string]int64{result.MeterAuditRead: int64(read), result.MeterAuditReads: costRounds, result.MeterAuditWrite: int64(write),
		result.MeterAuditWrites: costRounds, result.MeterReads: reads, result.MeterWrites: writes} {
		r.Meters = append(r.Meters, result.Meter{Name: name, To: n})
	}
}
