package proof

import (
	"fmt"
	"math"

	"headroom/loadgen/result"
)

const (
	// steadyMin is the least seconds that are judged: with fewer, a drift and
	// noise look alike.
	steadyMin = 10
	// driftT is the t value from which a slope is no accident (about 0.3 % of
	// runs without drift), and the two drifts how much of one, over the part, is
	// worth a word.
	driftT    = 3.0
	driftRate = 0.05
	driftTail = 0.25
)

// SteadyRule says in words what Steady does.
const SteadyRule = "MSER on each second's rate and log p99: the cut is where the error of the rest's mean is least, at most half; " +
	"then no slope with |t| > 3 that moves the rate by 5 % or p99 by 25 % over the rest, and no second in which 1 % of the operations failed unless all are such"

// Second is one second of a run, all operations together.
type Second struct {
	Rate  float64 // operations that succeeded
	P99US float64 // NaN when nothing completed, +Inf when failed operations reach it
}

// Steady finds the steady part of the seconds of a run; to ends it before the
// first fault. It fills From, To, Reached and Why.
func Steady(list []Second, to int) result.Steady {
	list = list[:min(max(to, 0), len(list))]
	s := result.Steady{Rule: SteadyRule, ToSec: float64(len(list))}
	if len(list) < steadyMin {
		s.Why = fmt.Sprintf("%d s without faults are too few to judge, at least %d", len(list), steadyMin)
		return s
	}
	rate, tail := make([]float64, len(list)), logTail(list)
	for i, x := range list {
		rate[i] = x.Rate
	}
	cut := max(mser(rate), mser(tail))
	s.FromSec = float64(cut)
	if 2*cut >= len(list) {
		s.Why = fmt.Sprintf("it still settled after %d of %d s", cut, len(list))
		return s
	}
	if n := failing(list[cut:]); n > 0 && n < len(list)-cut {
		s.Why = fmt.Sprintf("nothing succeeded, or 1 %% of the operations failed, in %d of the last %d s", n, len(list)-cut)
		return s
	}
	if d, t := drift(rate[cut:]); math.Abs(t) > driftT && math.Abs(d) > driftRate*mean(rate[cut:]) {
		s.Why = fmt.Sprintf("the rate drifts by %+.0f %% over the last %d s", 100*d/mean(rate[cut:]), len(list)-cut)
		return s
	}
	if d, t := drift(tail[cut:]); math.Abs(t) > driftT && math.Abs(d) > math.Log1p(driftTail) {
		s.Why = fmt.Sprintf("p99 drifts by %+.0f %% over the last %d s", 100*(math.Exp(d)-1), len(list)-cut)
		return s
	}
	s.Reached = true
	return s
}

// failing counts the seconds whose p99 is infinite, or in which nothing
// succeeded although ten operations or more do in the mean.
func failing(list []Second) (n int) {
	all := 0.0
	for _, x := range list {
		all += x.Rate
	}
	for _, x := range list {
		if math.IsInf(x.P99US, 1) || x.Rate == 0 && all >= 10*float64(len(list)) {
			n++
		}
	}
	return n
}

// logTail is the logarithm of each second's p99; a second with an infinite one
// counts as twice the worst finite, one without any as the median of the run.
func logTail(list []Second) []float64 {
	worst, sum, n := 1.0, 0.0, 0.0
	for _, x := range list {
		if v := x.P99US; !math.IsInf(v, 0) && !math.IsNaN(v) && v > 0 {
			worst, sum, n = max(worst, v), sum+math.Log(v), n+1
		}
	}
	out := make([]float64, len(list))
	for i, x := range list {
		switch {
		case math.IsInf(x.P99US, 1):
			out[i] = math.Log(2 * worst)
		case math.IsNaN(x.P99US) || x.P99US <= 0:
			out[i] = sum / max(n, 1)
		default:
			out[i] = math.Log(x.P99US)
		}
	}
	return out
}

// mser returns how many leading values to cut so that the squared error of the
// rest's mean, var/(n-d), is least (White 1997), looking at the first half. The
// cut must gain a tenth, so that noise alone cuts nothing.
func mser(y []float64) int {
	best, cut := math.Inf(1), 0
	for d := 0; d <= len(y)/2; d++ {
		rest := y[d:]
		m, ss := mean(rest), 0.0
		for _, v := range rest {
			ss += (v - m) * (v - m)
		}
		e := ss / float64(len(rest)*len(rest))
		if d == 0 {
			best = e * 0.9
		}
		if e < best {
			best, cut = e, d
		}
	}
	return cut
}

// drift fits a line and returns how far it moves over y, and the t value of its
// slope.
func drift(y []float64) (over, t float64) {
	n := float64(len(y))
	if n < 5 {
		return 0, 0
	}
	m, mid := mean(y), (n-1)/2
	sxy, sxx := 0.0, 0.0
	for i, v := range y {
		x := float64(i) - mid
		sxy += x * (v - m)
		sxx += x * x
	}
	slope, sse := sxy/sxx, 0.0
	for i, v := range y {
		e := v - m - slope*(float64(i)-mid)
		sse += e * e
	}
	if sse == 0 {
		if slope == 0 {
			return 0, 0
		}
		return slope * (n - 1), math.Inf(1)
	}
	return slope * (n - 1), slope / math.Sqrt(sse/(n-2)/sxx)
}

func mean(y []float64) float64 {
	sum := 0.0
	for _, v := range y {
		sum += v
	}
	return sum / max(1, float64(len(y)))
}
