// Command headroom-planner answers how few servers carry a load with the
// redundancy that is asked for, and why one fewer does not.
//
// It owns the command line and the tables it prints. Package plan computes,
// package model knows how fast nodes are, package catalog which machines there
// are, package examples holds requirements to start from. Exit codes: 0 done,
// 1 failed, 2 wrong usage, 3 nothing meets the requirements. Start reading at
// dispatch.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"headroom/planner/model"
	"headroom/planner/plan"
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

// errMissed ends a command whose target nothing meets.
var errMissed = errors.New("nothing meets the requirements")

// errRefuted ends a verification that the plan did not stand.
var errRefuted = errors.New("the plan is refuted")

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// given makes the errors of a computation wrong usage: it reads nothing but what
// the command line names, so that what is wrong with it was given.
func given(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return usageError{err}
}

// readPlan reads a plan file that the command line names.
func readPlan(path string) (*plan.Plan, error) {
	p, err := plan.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no plan file %s: headroom-planner plan REQUIREMENTS -o %s writes one", path, path)
	}
	return p, err
}

// readModel reads a model file that the command line names.
func readModel(path string) (*model.Model, error) {
	m, err := model.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no model file %s: headroom-planner fit RUN… -o %s writes one", path, path)
	}
	return m, err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command runs the program and returns its exit code.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout)
	var u usageError
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return exitDone
	case errors.As(err, &u):
		fmt.Fprintf(stderr, "headroom-planner: %v\n", err)
		return exitUsage
	case errors.Is(err, errMissed), errors.Is(err, errDrift), errors.Is(err, errRefuted):
		fmt.Fprintf(stderr, "headroom-planner: %v\n", err)
		return exitMissed
	}
	fmt.Fprintf(stderr, "headroom-planner: %v\n", err)
	return exitFailed
}
