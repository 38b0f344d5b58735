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
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"headroom/planner/examples"
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

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// verb is one command.
type verb struct {
	name, args, help string
	run              func(ctx context.Context, o *options, out io.Writer) error
}

var verbs = []verb{
	{"plan", "REQUIREMENTS", "the fewest servers, and why not one fewer", runPlan},
	{"fit", "RUN...", "a model of run folders and device profiles, and how well it explains them", runFit},
	{"whatif", "REQUIREMENTS --set KEY=VALUE…", "the plan before and after a change", runWhatIf},
	{"reverse", "REQUIREMENTS --nodes N --type T", "how much of the load such a cluster takes", runReverse},
	{"fleet", "REQUIREMENTS --type T [--nodes 3,100,1000]", "what clusters of many sizes take, on paper", runFleet},
	{"diff", "PLAN PLAN", "what differs between two plan files", runDiff},
	{"catalog", "", "the machine types, where they come from and how far they can be trusted", runCatalog},
	{"example", "[NAME]", "list or print requirements to start from", runExample},
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
	case errors.Is(err, errMissed):
		fmt.Fprintf(stderr, "headroom-planner: %v\n", err)
		return exitMissed
	}
	fmt.Fprintf(stderr, "headroom-planner: %v\n", err)
	return exitFailed
}

func dispatch(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return usagef("no command\n%s", usage())
	}
	if slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		fmt.Fprint(stdout, usage())
		return nil
	}
	for _, v := range verbs {
		if v.name == args[0] {
			o, err := parseOptions(v, args[1:], stdout)
			if err != nil {
				return err
			}
			return v.run(ctx, o, stdout)
		}
	}
	return usagef("unknown command %q\n%s", args[0], usage())
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: headroom-planner COMMAND [flags]\n\ncommands:\n")
	for _, v := range verbs {
		fmt.Fprintf(&b, "  %-8s %-44s %s\n", v.name, v.args, v.help)
	}
	fmt.Fprintf(&b, "\nREQUIREMENTS is a file, or one of %s. COMMAND --help lists the flags.\n", strings.Join(examples.Names(), ", "))
	return b.String()
}
