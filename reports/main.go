// Command headroom-reports turns run folders into reports that people pass on.
//
// It owns the command line only: package stats reads a run folder and derives
// the numbers, package chart draws, package page writes HTML and text. Exit
// codes: 0 done, 1 failed, 2 wrong usage. Start reading at run.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
)

const usage = `headroom-reports turns the folder of a load test into a report.

Usage:
  headroom-reports html RUN [-o report.html]          one self-contained page
  headroom-reports terminal RUN                       the run at a glance, as text
  headroom-reports summary RUN [--report report.html] the five lines that tell the story

RUN is a folder that headroom-loadgen run wrote (--out DIR).
Exit codes: 0 done, 1 failed, 2 wrong usage.
`

// errUsage marks errors of the command line.
var errUsage = errors.New("wrong usage")

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
	default:
		fmt.Fprintf(errOut, "headroom-reports: %v\n", err)
		return 1
	}
}

func command(args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: give a command", errUsage)
	}
	flags := pflag.NewFlagSet("headroom-reports", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	output := flags.StringP("output", "o", "", "`file` to write the page to; default report.html in RUN")
	report := flags.String("report", "", "`file` the summary names as the report")
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(out, "%s\nFlags:\n%s", usage, flags.FlagUsages())
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	words := flags.Args()
	if len(words) == 0 {
		return fmt.Errorf("%w: give a command", errUsage)
	}
	switch verb := words[0]; verb {
	case "help":
		fmt.Fprintf(out, "%s\nFlags:\n%s", usage, flags.FlagUsages())
		return nil
	case "html", "terminal", "summary":
		if len(words) != 2 {
			return fmt.Errorf("%w: %s takes one run folder, not %d", errUsage, verb, len(words)-1)
		}
		return render(verb, words[1], *output, *report, out)
	default:
		return fmt.Errorf("%w: unknown command %q", errUsage, verb)
	}
}
