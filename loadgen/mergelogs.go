package main

import (
	"errors"
	"maps"
	"math"
	"os"
	"slices"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/result"
)

// logCursor walks one shard's interval log.
type logCursor struct {
	next func() (result.Interval, bool, error)
	from int64 // ms of the shard's t_s = 0
	sec  int   // of held
	held result.Interval
	ok   bool
}

func (c *logCursor) advance() (err error) {
	if c.held, c.ok, err = c.next(); c.ok {
		c.sec = int(math.Round(float64(c.held.From.UnixMilli()-c.from) / 1000))
	}
	return err
}

// mergeLogs calls each with the sum of every second of an operation's logs, in
// order. Seconds count from each shard's own start, so that clocks that differ
// move nothing. The histogram is each's only during the call.
func mergeLogs(runs []*result.Run, op string, kind result.Kind, each func(sec int, h *hdr.Histogram)) error {
	var list []*logCursor
	for _, r := range runs {
		next, done, err := r.Walk(op, kind)
		if errors.Is(err, os.ErrNotExist) {
			continue // this shard never drew the operation
		}
		if err != nil {
			return err
		}
		defer done()
		c := &logCursor{next: next, from: r.Summary.MeasuredFrom.UnixMilli()}
		if err := c.advance(); err != nil {
			return err
		}
		list = append(list, c)
	}
	sum := result.NewHistogram()
	for {
		sec, any := 0, false
		for _, c := range list {
			if c.ok && (!any || c.sec < sec) {
				sec, any = c.sec, true
			}
		}
		if !any {
			return nil
		}
		sum.Reset()
		for _, c := range list {
			for c.ok && c.sec == sec {
				sum.Merge(c.held.Hist)
				if err := c.advance(); err != nil {
					return err
				}
			}
		}
		each(sec, sum)
	}
}

// stages joins the shards' sampled operations. A shard that kept only a part of
// what was answered has the less weight for it, and its summary says so.
func (m *merging) stages() error {
	kept, sums := map[string][]result.StageSample{}, map[string]result.StageSummary{}
	for _, r := range m.runs {
		if r.Summary.Stages == nil {
			continue
		}
		list, err := r.Stages()
		if err != nil {
			return err
		}
		for op, s := range r.Summary.Stages.Operations {
			sum := sums[op]
			sum.Every, sum.Asked, sum.Answered = max(sum.Every, s.Every), sum.Asked+s.Asked, sum.Answered+s.Answered
			sums[op] = sum
			kept[op] = append(kept[op], list[op]...)
		}
	}
	if len(sums) == 0 {
		return nil
	}
	var all []result.StageSample
	for _, op := range slices.Sorted(maps.Keys(sums)) {
		sum := result.SummarizeStages(kept[op])
		sum.Every, sum.Asked, sum.Answered = sums[op].Every, sums[op].Asked, sums[op].Answered
		sums[op] = sum
		all = append(all, kept[op]...)
	}
	m.sum.Stages = &result.Stages{Operations: sums}
	m.w.Stages(all)
	return nil
}
