package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
)

const (
	// shardsMax bounds a load: names of sets and merges grow with it.
	shardsMax = 10_000
	// shardLate is how far off its planned start a shard may begin before it is
	// told of: the seconds of the shards then no longer fit.
	shardLate = 50 * time.Millisecond
	// clockPatience is how long a shard tries to compare its clock with a node's.
	clockPatience = 5 * time.Second
)

// parseShard reads "2/8" and the instant at which all shards start measuring,
// and takes this shard's part of the load: its share of the arrivals or
// clients, and records of its own, because only the process that writes a key
// can audit it.
func (o *options) parseShard(shard, startAt string) error {
	if shard == "" {
		if startAt != "" {
			return errors.New("--start-at is for --shard")
		}
		return nil
	}
	left, right, ok := strings.Cut(shard, "/")
	i, err1 := strconv.Atoi(left)
	n, err2 := strconv.Atoi(right)
	if !ok || err1 != nil || err2 != nil || n < 1 || n > shardsMax || i < 0 || i >= n {
		return fmt.Errorf("--shard %q: want I/N with I from 0 to N-1, such as 0/8", shard)
	}
	if startAt == "" {
		return errors.New("--shard wants --start-at TIME, the same for all shards, late enough for all to have loaded their records")
	}
	at, err := parseInstant(startAt)
	if err != nil {
		return err
	}
	switch {
	case o.nodes > 0:
		return errors.New("--shard: local nodes belong to one process; start them apart and give --target")
	case o.auto:
		return errors.New("--shard: give --rate (of all shards together), the same to every shard; auto would differ")
	case o.closed > 0 && o.closed < n:
		return fmt.Errorf("--shard: %d clients are fewer than %d shards", o.closed, n)
	case o.spec.Scheme != "quic" && !o.null && o.audit:
		return errors.New("--shard: shards of this kind of target write the same keys, so that none can audit them: add --audit=false")
	}
	o.shard = &result.Shard{Index: i, Of: n, StartAt: at, ClockSource: "unknown"}
	if offset, within, ok := local.ClockEstimate(); ok {
		o.shard.ClockOffsetMS, o.shard.ClockErrorMS, o.shard.ClockSource = &offset, &within, "kernel"
	}
	o.take(i, n)
	return nil
}

// parseInstant reads RFC 3339 or whole seconds since 1970.
func parseInstant(s string) (time.Time, error) {
	if sec, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(sec, 0).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return at, fmt.Errorf("--start-at %q: want a time such as 2026-11-22T22:00:00Z, or seconds since 1970", s)
	}
	return at.UTC(), nil
}

// take leaves part i of n of the load.
func (o *options) take(i, n int) {
	o.workload.Records = (o.workload.Records + int64(n) - 1) / int64(n) // the same for all: their hash must be
	if o.profile != nil {
		o.profile = o.profile.Part(n)
	}
	if o.closed > 0 {
		part := o.closed / n
		if i < o.closed%n {
			part++
		}
		o.closed = part
	}
	if o.trace != nil {
		var mine []time.Duration
		for j := i; j < len(o.trace); j += n {
			mine = append(mine, o.trace[j])
		}
		o.trace = mine
	}
}

// set of a shard's records.
func (o *options) recordSet() string {
	if o.shard == nil {
		return ""
	}
	return fmt.Sprintf("shard%d", o.shard.Index)
}

// awaitStart waits until the warm-up of a shard must begin.
func (t *trial) awaitStart(ctx context.Context) error {
	s := t.o.shard
	if s == nil {
		return nil
	}
	// Its own arrivals, whatever the others have.
	t.driver.SetSeed(t.o.seed + uint64(s.Index+1)<<32)
	wait := time.Until(s.StartAt) - t.o.warmup
	if wait < 0 {
		return fmt.Errorf("shard %d/%d: its warm-up should have begun %v ago: choose a later --start-at, all shards must have loaded their records by then",
			s.Index, s.Of, -wait.Round(time.Millisecond))
	}
	t.compareClock(ctx)
	t.out.say("shard %d of %d, warm-up starts in %v%s", s.Index, s.Of, wait.Round(time.Millisecond), clockText(s))
	t.phase("waiting for the common start")
	if !sleep(ctx, time.Until(s.StartAt)-t.o.warmup) {
		return ctx.Err()
	}
	return nil
}

// compareClock measures this machine's wall clock against that of the node with
// the lowest id, which is the same one for all shards of a load. Where that is
// not possible the kernel's own estimate stays.
func (t *trial) compareClock(ctx context.Context) {
	if t.asker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	c, err := t.askClock(ctx)
	if err != nil {
		t.out.say("this machine's clock could not be compared with a node's: %v", err)
		return
	}
	s := t.o.shard
	s.ClockOffsetMS, s.ClockErrorMS = number(millis(c.Offset)), number(millis(c.Error))
	s.ClockSource, s.ClockReference = "target", c.Node
}

func (t *trial) askClock(ctx context.Context) (c target.ClockOffset, err error) {
	text, err := t.asker.Ask(ctx, t.o.spec.Addrs[0])
	if err != nil {
		return c, err
	}
	var status struct {
		Members []struct {
			Node string `json:"node"`
			Addr string `json:"addr"`
		} `json:"members"`
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return c, fmt.Errorf("status of %s: %w", t.o.spec.Addrs[0], err)
	}
	node, addr := "", ""
	for _, m := range status.Members {
		if node == "" || len(m.Node) < len(node) || len(m.Node) == len(node) && m.Node < node { // node2 before node10
			node, addr = m.Node, m.Addr
		}
	}
	if addr == "" {
		return c, errors.New("the cluster has no members yet")
	}
	return t.asker.Clock(ctx, addr)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// clockText is what is known of a shard's clock, for the line of its start.
func clockText(s *result.Shard) string {
	if s.ClockOffsetMS == nil {
		return "; nothing is known of this machine's clock"
	}
	against := "true time, says the kernel"
	if s.ClockReference != "" {
		against = s.ClockReference + "'s"
	}
	return fmt.Sprintf("; its clock is %+.2f ms from %s, within %.2f ms", *s.ClockOffsetMS, against, *s.ClockErrorMS)
}

// noteShard completes the shard's part of the summary.
func (t *trial) noteShard() {
	if t.o.shard == nil {
		return
	}
	s := *t.o.shard
	s.ID = t.summary.ID
	t.summary.Shard = &s
	if late := t.summary.MeasuredFrom.Sub(s.StartAt); late > shardLate || late < -shardLate {
		t.summary.Verdicts = append(t.summary.Verdicts, result.Verdict{Rule: "SHARD", Level: result.Warn,
			Text: fmt.Sprintf("the measured phase began %v after the common start", late.Round(time.Millisecond))})
	}
}
