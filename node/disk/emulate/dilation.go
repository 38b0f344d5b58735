package emulate

import (
	"slices"
	"time"

	"headroom/node/disk/profile"
)

const (
	// Calibrate waits as often and as long: 64 ms in all.
	calibrations  = 64
	calibrateWait = time.Millisecond
	// A median service time must be as many times the lateness of the host's
	// timers, so that lateness hides in the tolerance, and at least shortest:
	// below 2 ms the scheduler of a loaded host shows in the tail.
	lateShare = 10
	shortest  = 2 * time.Millisecond
	// The requests that a log-structured engine makes: small reads, large
	// writes.
	smallRead  = 4 << 10
	largeWrite = 128 << 10
)

// ladder holds the dilations that are chosen: few, so that runs on hosts that
// differ little are of the same dilation and can be compared.
var ladder = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, profile.MaxDilation}

// Calibrate measures how late this host's timers wake a goroutine, at the
// ninetieth percentile. It blocks for about 70 ms.
func Calibrate() (time.Duration, error) {
	t, err := newKernelTimer()
	if err != nil {
		return 0, err
	}
	defer t.Close()
	late := make([]time.Duration, calibrations)
	for i := range late {
		began := time.Now()
		if err := t.Arm(calibrateWait); err != nil {
			return 0, err
		}
		if err := t.Wait(); err != nil {
			return 0, err
		}
		late[i] = time.Since(began) - calibrateWait
	}
	slices.Sort(late)
	return late[len(late)*9/10], nil
}

// Choose returns the least dilation at which timers that are late by so much
// can follow the profile; 1 when it needs none.
func Choose(p *profile.Profile, late time.Duration) float64 {
	quickest := min(p.Quantile(profile.Read, smallRead, 0.5), p.Quantile(profile.Write, largeWrite, 0.5))
	need := max(shortest, lateShare*late)
	for _, f := range ladder {
		if float64(quickest)*f >= float64(need) {
			return f
		}
	}
	return ladder[len(ladder)-1]
}
