package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"headroom/planner/examples"
)

// verb is one command.
type verb struct {
	name, args, help string
	run              func(ctx context.Context, o *options, out io.Writer) error
}

var verbs = []verb{
	{"plan", "REQUIREMENTS", "the fewest servers, and why not one fewer", runPlan},
	{"fit", "RUN...", "a model of run folders and device profiles, and how well it explains them", runFit},
	{"verify", "PLAN", "run the planned cluster in small, and one with fewer nodes, and kill nodes", runVerify},
	{"whatif", "REQUIREMENTS --set KEY=VALUE…", "the plan before and after a change", runWhatIf},
	{"reverse", "REQUIREMENTS --nodes N --type T", "how much of the load such a cluster takes", runReverse},
	{"fleet", "REQUIREMENTS --type T [--nodes 3,100,1000]", "what clusters of many sizes take, on paper", runFleet},
	{"diff", "PLAN PLAN", "what differs between two plan files", runDiff},
	{"drift", "PLAN --metrics URL…", "a plan against the living cluster", runDrift},
	{"catalog", "", "the machine types, where they come from and how far they can be trusted", runCatalog},
	{"example", "[NAME]", "list or print requirements to start from", runExample},
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
	b.WriteString(`
exit codes:
  0  done
  1  failed, or a file that another command wrote is damaged
  2  wrong usage: also a name that is not there, or a fault in a file written by hand
  3  nothing meets the requirements, the plan is refuted, or the cluster is beyond its plan
`)
	return b.String()
}
