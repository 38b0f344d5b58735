package main

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"headroom/loadgen/drive"
	"headroom/workloads/units"
)

const (
	// The calibration of --rate auto: long enough for a rate within a tenth,
	// short enough for a demo; as many clients as keep two cores busy.
	calibrateFor     = 3 * time.Second
	calibrateClients = 64
	calibrateShare   = 0.25 // room for a lost node and for a migration beside the load
	// couldFor is how long the generator proves itself before a run.
	couldFor = 200 * time.Millisecond
	// couldAgain is how long it does once more before a rate is refused.
	couldAgain = 2 * time.Second
	// beyondCould is how many times that a rate may be: on a machine that was busy
	// for a moment the proof falls short.
	beyondCould = 2
	dialTimeout = 10 * time.Second
	// settleFor is how long a run with faults waits after its measured phase
	// for redundancy to be restored.
	settleFor = 60 * time.Second
)

// session is the run command, from the first node to the last line.
type session struct {
	*trial
	stdout io.Writer
}

// runCommandLine carries out `run`. The folder is written however it ends,
// once it exists.
func runCommandLine(ctx context.Context, o *options, stdout io.Writer, out *progress) error {
	b := &bed{o: o, out: out}
	t, err := newTrial(b, o.out)
	if err != nil {
		return err
	}
	defer b.close()
	out.say("workload %s, %d records of %v; run folder %s", o.workload.Name, o.workload.Records, o.workload.ValueSize, o.out)
	s := &session{trial: t, stdout: stdout}
	report, runErr := s.phases(ctx)
	if report == nil && ctx.Err() != nil {
		runErr = errNothing
	}
	if err := s.finish(report); err != nil {
		runErr = errors.Join(runErr, err)
	}
	if report == nil {
		return runErr
	}
	out.stop() // before anything goes to stdout, which may be the same terminal
	if err := s.print(); err != nil {
		return errors.Join(runErr, err)
	}
	if runErr != nil {
		return runErr
	}
	return missed(s.summary.Verdicts)
}

// phases runs the phases in order. A nil report means nothing was measured.
func (s *session) phases(ctx context.Context) (*drive.Report, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.choose(ctx); err != nil {
		return nil, err
	}
	if err := s.awaitStart(ctx); err != nil {
		return nil, err
	}
	report, err := s.measure(ctx, scheduled(s.o), nil)
	if err != nil {
		return nil, err
	}
	s.settle(ctx, settleFor)
	if err := s.readBack(ctx); err != nil {
		return report, err
	}
	return report, nil
}

// choose finds the rate of --rate auto.
func (s *session) choose(ctx context.Context) error {
	if !s.o.auto {
		return nil
	}
	if err := s.calibrate(ctx); err != nil {
		return err
	}
	share := twoDigits(calibrateShare * float64(s.calibrated))
	s.driver.SetProfile(drive.StagesProfile(s.o.workload, share, s.o.duration))
	s.out.say("calibration: %v with %d clients; the load is %v", units.Rate(twoDigits(float64(s.calibrated))), calibrateClients, share)
	return nil
}

// twoDigits rounds down to two significant digits, at least 1.
func twoDigits(v float64) units.Rate {
	unit := math.Pow(10, math.Floor(math.Log10(max(v, 1)))-1)
	return units.Rate(max(1, math.Floor(v/unit)*unit))
}
