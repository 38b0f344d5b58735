package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"headroom/loadgen/drive"
	"headroom/loadgen/pace"
	"headroom/loadgen/result"
	"headroom/workloads/units"
)

const (
	// recoverStable is how many seconds in a row must be good again.
	recoverStable = 3
	// recoverTimes and recoverFloor make a threshold of the baseline where no SLO
	// is given: twice the median p99 of before, not within the timer's own error,
	// and not below what a second of the baseline itself came to.
	recoverTimes = 2.0
	recoverFloor = 1000.0 // us more than the baseline
)

// overloadOptions is what the overload command adds to the options.
type overloadOptions struct {
	rate                units.Rate // 100 %; zero: what a closed loop reaches
	over, under         float64
	before, long, after time.Duration
}

func overloadCommand(v *overloadOptions) *loadCommand {
	var rate, over, under, before, long, after string
	return &loadCommand{name: "overload", form: "overload WORKLOAD --rate 20k/s (--local-nodes N | --target quic://HOST:PORT,…)",
		add: func(f *pflag.FlagSet, o *options, r *raw) {
			f.StringVar(&rate, "rate", "", "100 %, such as the answer of knee (default what a 3 s closed loop reaches)")
			f.StringVar(&over, "over", "120%", "of the rate, for --over-for")
			f.StringVar(&under, "under", "80%", "of the rate, before and after")
			f.StringVar(&before, "before", "15s", "length of the baseline")
			f.StringVar(&long, "over-for", "30s", "length of the overload")
			f.StringVar(&after, "after", "60s", "how long a recovery is waited for")
			f.StringArrayVar(&r.slo, "slo", nil, "`p99=2ms`: the p99 of a second that counts as recovered (default twice the baseline's)")
			r.warmup = "3s"
		},
		finish: func(o *options, _ *raw) (err error) {
			if rate != "" {
				if v.rate, err = units.ParseRate(rate); err != nil {
					return fmt.Errorf("--rate: %w", err)
				}
			}
			for _, x := range []struct {
				name, text string
				to         *float64
				low, high  float64
			}{{"over", over, &v.over, 100, 1000}, {"under", under, &v.under, 1, 100}} {
				pct, err := strconv.ParseFloat(strings.TrimSuffix(x.text, "%"), 64)
				if err != nil || !strings.HasSuffix(x.text, "%") || pct < x.low || pct > x.high {
					return fmt.Errorf("--%s %s: want %g%% to %g%%", x.name, x.text, x.low, x.high)
				}
				*x.to = pct / 100
			}
			for _, x := range []struct {
				name, text string
				to         *time.Duration
			}{{"before", before, &v.before}, {"over-for", long, &v.long}, {"after", after, &v.after}} {
				if *x.to, err = units.ParseDuration(x.text); err != nil {
					return fmt.Errorf("--%s: %w", x.name, err)
				}
				if *x.to = x.to.Truncate(time.Second); *x.to < 5*time.Second {
					return fmt.Errorf("--%s %s: want at least 5s", x.name, x.text)
				}
			}
			for _, l := range o.slo {
				if l.Op != "" || l.Percentile != "p99" {
					return fmt.Errorf("--slo: overload looks at p99 of all operations in each second, give p99=TIME")
				}
			}
			if len(o.slo) > 1 {
				return errors.New("--slo: give one limit")
			}
			return nil
		}}
}

// overloadCommandLine carries out `overload`: one run of three levels.
func overloadCommandLine(ctx context.Context, o *options, v *overloadOptions, stdout io.Writer, out *progress) error {
	b := &bed{o: o, out: out}
	defer b.close()
	began := time.Now()
	doc := result.Overload{Study: newStudy(o, result.OverloadFormat, "overload-"+o.workload.Name), SLO: o.slo, OverShare: v.over, UnderShare: v.under,
		BeforeSec: v.before.Seconds(), OverSec: v.long.Seconds(), AfterSec: v.after.Seconds(), StableSec: recoverStable, Dir: "run"}
	if err := result.WriteStudy(o.out, result.OverloadFile, &doc); err != nil {
		return err
	}
	limits := o.slo
	o.slo, o.auto = nil, true // the run as a whole is meant to miss it
	t, err := newTrial(b, filepath.Join(o.out, doc.Dir))
	if err != nil {
		return err
	}
	report, runErr := overload(ctx, t, v, &doc)
	if err := t.finish(report); err != nil {
		runErr = errors.Join(runErr, err)
	}
	if report != nil {
		doc.SLO = limits
		recovery(report, v, &doc)
		doc.Interrupted = report.Interrupted
	}
	doc.SpentSec = time.Since(began).Seconds()
	if err := result.WriteStudy(o.out, result.OverloadFile, &doc); err != nil || runErr != nil {
		return errors.Join(runErr, err)
	}
	if o.json {
		err = printJSON(stdout, &doc)
	} else {
		err = printOverload(stdout, o.out, &doc)
	}
	if err != nil {
		return err
	}
	return missed(doc.Verdicts)
}

// overload runs the three levels.
func overload(ctx context.Context, t *trial, v *overloadOptions, doc *result.Overload) (*drive.Report, error) {
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	rate := float64(v.rate)
	if rate == 0 {
		if err := t.calibrate(ctx); err != nil {
			return nil, err
		}
		rate = float64(twoDigits(float64(t.calibrated)))
	}
	doc.RateOpsPerSec = rate
	under, over := v.under*rate, v.over*rate
	if err := t.sends(units.Rate(over)); err != nil {
		return nil, err
	}
	t.out.say("%v for %v, %v for %v, then %v again for %v", units.Rate(under), v.before, units.Rate(over), v.long, units.Rate(under), v.after)
	t.driver.SetProfile(pace.Lines(fmt.Sprintf("overload: %v for %v, %v for %v, %v for %v", units.Rate(under), v.before, units.Rate(over), v.long,
		units.Rate(under), v.after), []pace.Piece{{Length: v.before, From: under, To: under}, {Length: v.long, From: over, To: over},
		{Length: v.after, From: under, To: under}}))
	t.driver.SetPhases(t.o.warmup, v.before+v.long+v.after, nil)
	report, err := t.measure(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	return report, t.readBack(ctx)
}

// recovery reads the seconds of the run: how bad it got and when it was good
// again.
func recovery(r *drive.Report, v *overloadOptions, doc *result.Overload) {
	before, long := int(v.before/time.Second), int(v.long/time.Second)
	var p99 []float64
	for _, s := range r.Seconds {
		p99 = append(p99, s.P99US)
	}
	baseline := median(p99[:min(before, len(p99))])
	doc.BaselineP99US, doc.InFlightPeak = finite(baseline), r.InFlightPeak
	doc.OverP99US = finite(median(p99[min(before, len(p99)):min(before+long, len(p99))]))
	doc.ThresholdUS = max(recoverTimes*baseline, baseline+recoverFloor)
	for _, v := range p99[:min(before, len(p99))] {
		if finite(v) != nil {
			doc.ThresholdUS = max(doc.ThresholdUS, v)
		}
	}
	if len(doc.SLO) == 1 {
		doc.ThresholdUS = doc.SLO[0].LatencyUS
	}
	if math.IsNaN(doc.ThresholdUS) || math.IsInf(doc.ThresholdUS, 0) {
		doc.ThresholdUS = 0
	}
	achieved, beyond := 0.0, 0
	for i, s := range r.Seconds {
		if i >= before && i < before+long {
			achieved += s.Rate / float64(long)
			if s.P99US > doc.ThresholdUS {
				beyond++ // one may be the machine's
			}
		}
	}
	doc.OverloadReached = beyond >= min(recoverStable, long) || achieved < 0.98*doc.OverShare*doc.RateOpsPerSec
	good := 0
	for i := before + long; i < len(p99); i++ {
		if good++; !(p99[i] <= doc.ThresholdUS) {
			good = 0
		}
		if good == recoverStable {
			doc.RecoverSec = number(float64(i + 1 - recoverStable - before - long))
			break
		}
	}
	doc.Verdicts = overloadVerdicts(doc, len(p99) >= before+long+recoverStable)
}

func overloadVerdicts(doc *result.Overload, complete bool) []result.Verdict {
	list := []result.Verdict{}
	add := func(rule string, level result.Level, format string, args ...any) {
		list = append(list, result.Verdict{Rule: rule, Level: level, Text: fmt.Sprintf(format, args...)})
	}
	threshold := micros(doc.ThresholdUS)
	switch {
	case doc.BaselineP99US == nil || *doc.BaselineP99US > doc.ThresholdUS:
		add("BASELINE", result.Fail, "already before the overload p99 was above %s: choose a lower --rate", threshold)
	case !complete:
		add("INTERRUPTED", result.Warn, "stopped before a recovery could be seen")
	case !doc.OverloadReached:
		add("NO-OVERLOAD", result.Warn, "%.0f %% of %v overloaded nothing: give the rate of the knee", 100*doc.OverShare, units.Rate(doc.RateOpsPerSec))
	case doc.RecoverSec == nil:
		add("METASTABLE", result.Fail, "p99 did not come back to %s for %d s within %.0f s of the overload's end", threshold, recoverStable, doc.AfterSec)
	default:
		add("RECOVERY", result.Info, "p99 was back at %s %.0f s after the overload's end and stayed there for %d s", threshold, *doc.RecoverSec, recoverStable)
	}
	return list
}

// median of the values that are numbers; NaN without any.
func median(list []float64) float64 {
	var v []float64
	for _, x := range list {
		if !math.IsNaN(x) {
			v = append(v, x)
		}
	}
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// finite is nil for infinity and NaN.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func printOverload(w io.Writer, dir string, doc *result.Overload) error {
	fmt.Fprintf(w, "\nbefore    %9v  p99 %s\noverload  %9v  p99 %s, at most %d in flight\n", units.Rate(doc.UnderShare*doc.RateOpsPerSec),
		infOr(doc.BaselineP99US), units.Rate(doc.OverShare*doc.RateOpsPerSec), infOr(doc.OverP99US), doc.InFlightPeak)
	after := "not recovered"
	if doc.RecoverSec != nil {
		after = fmt.Sprintf("recovered after %.0f s", *doc.RecoverSec)
	}
	fmt.Fprintf(w, "after     %9v  %s\n", units.Rate(doc.UnderShare*doc.RateOpsPerSec), after)
	for _, v := range doc.Verdicts {
		fmt.Fprintf(w, "%-4s  %s: %s\n", v.Level, v.Rule, v.Text)
	}
	_, err := fmt.Fprintf(w, "study folder: %s\n", dir)
	return err
}

func infOr(v *float64) string {
	if v == nil {
		return "inf"
	}
	return micros(*v)
}
