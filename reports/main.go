// Command headroom-reports turns run folders and plans into reports that
// people pass on.
//
// It owns the command line only: package stats reads a run folder and derives
// the numbers, packages runs, studies, diff and capacity word the documents,
// package chart draws, package page gives them a form. Exit codes: 0 done,
// 1 failed, 2 wrong usage, 3 a stated target was not met. Start reading at
// command.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
)

// errUsage marks errors of the command line, errTarget a target that was not
// met.
var (
	errUsage  = errors.New("wrong usage")
	errTarget = errors.New("target not met")
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run carries out one command and returns its exit code.
func run(args []string, out, errOut io.Writer) int {
	err := command(args, out)
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(errOut, "headroom-reports: %v\nheadroom-reports --help lists the commands\n", err)
		return 2
	case errors.Is(err, errTarget):
		fmt.Fprintf(errOut, "headroom-reports: %v\n", err)
		return 3
	default:
		fmt.Fprintf(errOut, "headroom-reports: %v\n", err)
		return 1
	}
}

func command(args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: give a command", errUsage)
	}
	var o options
	flags := o.flags()
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		help(out, flags)
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	words := flags.Args()
	if len(words) == 0 {
		return fmt.Errorf("%w: give a command", errUsage)
	}
	if words[0] == "help" {
		help(out, flags)
		return nil
	}
	for _, v := range verbs {
		if v.name != words[0] {
			continue
		}
		if err := v.check(words[1:], flags); err != nil {
			return err
		}
		return v.run(words[1:], o, out)
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, words[0])
}
