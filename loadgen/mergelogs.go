package main

import (
	"errors"
	"math"
	"os"

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
