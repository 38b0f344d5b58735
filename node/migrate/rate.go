package migrate

import (
	"time"

	"headroom/node/cluster"
)

// Rate limits the records that a Core moves as hub. Zero fields are unlimited.
type Rate struct {
	BytesPerSecond   float64 // record bodies with 51 bytes each for digest and metadata
	RecordsPerSecond float64
}

// burst is how much of a rate may be saved up while nothing moves: short, so
// that the foreground never meets a train longer than this.
const burst = 5 * time.Millisecond

// limiter is two token buckets that may go into debt: a batch is sent whole
// when both are not in debt, so a record larger than the burst still passes.
type limiter struct{ bytes, records bucket }

type bucket struct {
	rate, tokens float64
	at           cluster.Instant
}

func (l *limiter) set(r Rate) {
	l.bytes.set(r.BytesPerSecond)
	l.records.set(r.RecordsPerSecond)
}

func (l *limiter) open(now cluster.Instant) bool {
	l.bytes.fill(now)
	l.records.fill(now)
	return l.bytes.open() && l.records.open()
}

func (l *limiter) take(bytes, records int) {
	l.bytes.take(float64(bytes))
	l.records.take(float64(records))
}

// opens is when both buckets will be out of debt.
func (l *limiter) opens(now cluster.Instant) cluster.Instant {
	return max(l.bytes.opens(now), l.records.opens(now))
}

func (b *bucket) set(rate float64) {
	b.rate = max(rate, 0)
	b.tokens = min(b.tokens, b.most())
	if b.rate > 0 {
		b.tokens = max(b.tokens, -b.rate) // a debt made at a higher rate: at most one second of this one
	}
}

func (b *bucket) most() float64 { return b.rate * burst.Seconds() }

func (b *bucket) fill(now cluster.Instant) {
	if now > b.at {
		b.tokens = min(b.tokens+b.rate*now.Sub(b.at).Seconds(), b.most())
		b.at = now
	}
}

func (b *bucket) open() bool { return b.rate == 0 || b.tokens >= 0 }

func (b *bucket) take(n float64) {
	if b.rate > 0 {
		b.tokens -= n
	}
}

func (b *bucket) opens(now cluster.Instant) cluster.Instant {
	if b.open() {
		return now
	}
	// One nanosecond more than computed, so that rounding never leaves it shut.
	return now.Add(time.Duration(-b.tokens/b.rate*1e9) + 1)
}
