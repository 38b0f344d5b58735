// Command headroom-loadgen runs load tests against a Headroom cluster, one
// that runs or one it starts itself, and writes each as a run folder. It owns
// the command line and the course of a run; lanes and the audit are package
// drive's, node processes package local's, files package result's.
//
// The invariant to know: whatever ends a run, an error, Ctrl-C or its
// duration, the folder is written with what was measured.
//
// Start reading at runCommandLine in run.go, then bed and trial.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"headroom/workloads"
)

// Exit codes of all Headroom programs.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitMissed = 3
)

// usageError is an error in how the program was called.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// errMissed ends a run that was done and whose figures must not be used.
var errMissed = errors.New("the run has a verdict of level fail")

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

const usage = `usage: headroom-loadgen COMMAND [WORKLOAD] (--local-nodes N | --target quic://HOST:PORT,…) [flags]

commands ('COMMAND --help' lists the flags):
  run        run a load test and write a run folder
  knee       find the highest rate that holds an SLO, healthy or under a fault
  overload   run over the limit for a while and see whether the target recovers
  matrix     one run or knee for each of workload x device x nodes x copies x value size
  merge      join the run folders of the shards of one load, exactly
  calibrate  what this generator can do on this machine
  workloads  list the shipped workloads, or print one with the skew of its keys
  convert    make a workload of a file of YCSB or asbench
  device     PATH: qualify a device, or import what fio or ACT measured

workloads: a file, or one of `

func main() {
	// The first signal ends the run in order; the second ends the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(command(ctx, os.Args, os.Stdout, os.Stderr))
}

// command runs the program and returns its exit code.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout, stderr)
	var u usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, pflag.ErrHelp):
		return exitDone
	case errors.As(err, &u):
		fmt.Fprintf(stderr, "headroom-loadgen: %v\n", err)
		return exitUsage
	case errors.Is(err, errMissed), errors.Is(err, errLimits):
		fmt.Fprintf(stderr, "headroom-loadgen: %v\n", err)
		return exitMissed
	}
	fmt.Fprintf(stderr, "headroom-loadgen: %v\n", err)
	return exitFailed
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	help := usage + strings.Join(workloads.Names(), ", ")
	if len(args) < 2 {
		return usagef("no command\n%s", help)
	}
	if c, ok := commands[args[1]]; ok {
		return c(ctx, args, stdout, stderr)
	}
	if slices.Contains([]string{"help", "-h", "--help"}, args[1]) {
		fmt.Fprintln(stdout, help)
		return nil
	}
	return usagef("unknown command %q\n%s", args[1], help)
}
