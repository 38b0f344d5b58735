package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/pflag"
)

// options are the flags of all verbs; each verb names those it takes.
type options struct {
	output, report       string
	narrow, dark         bool
	force, pairs, gate   bool
	markdown, json, all  bool
	threshold, undecided string
	listen               string
	plot, table          string
}

func (o *options) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("headroom-reports", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVarP(&o.output, "output", "o", "", "`file` to write to, or directory for several plots; default beside the input")
	f.StringVar(&o.report, "report", "", "`file` that summary and terminal name as the report")
	f.BoolVar(&o.narrow, "narrow", false, "plots as drawn for phones")
	f.BoolVar(&o.dark, "dark", false, "plots on a dark ground")
	f.BoolVar(&o.force, "force", false, "compare runs of different workloads, with a stamp on everything")
	f.BoolVar(&o.pairs, "pairs", false, "the runs are interleaved pairs: A B A B …")
	f.BoolVar(&o.gate, "gate", false, "exit 3 unless no gated figure is shown to be worse by more than --threshold")
	f.StringVar(&o.threshold, "threshold", "5%", "worsening that the gate allows, a `share`")
	f.StringVar(&o.undecided, "undecided", "fail", "what the gate says when the runs cannot tell: fail or pass")
	f.BoolVar(&o.markdown, "markdown", false, "print Markdown, for a pull request")
	f.StringVar(&o.plot, "plot", "", "write only the plot of this `name`, to the --output that ends in .png, .svg or .pdf")
	f.StringVar(&o.table, "table", "", "print only the table of this `name`: CSV, or with --markdown Markdown")
	f.BoolVar(&o.json, "json", false, "print JSON, for machines")
	f.BoolVar(&o.all, "all", false, "list every number, not only those that differ")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8321", "loopback `address` of serve; port 0 takes a free one")
	return f
}

// verb is one command.
type verb struct {
	name, args, what string
	least, most      int // words after the name; most 0: no limit
	paths            int // of these, from the left, are folders or files; 0: all
	noun             string
	flags            []string
	run              func(words []string, o options, out io.Writer) error
}

// verbs are the commands in the order of the help.
var verbs = []verb{
	{name: "html", args: "RUN [-o FILE]", what: "one self-contained page", least: 1, most: 1, noun: "one run folder or plan", flags: []string{"output"},
		run: func(w []string, o options, out io.Writer) error { return html(w[0], o.output, out) }},
	{name: "terminal", args: "RUN", what: "the run at a glance, as text", least: 1, most: 1, noun: "one run folder", flags: []string{"report"},
		run: func(w []string, o options, out io.Writer) error { return terminal(w[0], o.report, out) }},
	{name: "summary", args: "RUN", what: "the five lines that tell the story", least: 1, most: 1, noun: "one run folder", flags: []string{"report"},
		run: func(w []string, o options, out io.Writer) error { return summary(w[0], o.report, out) }},
	plotVerb("png"), plotVerb("svg"), plotVerb("pdf"),
	{name: "compare", args: "A B [C…]", what: "each run against the first: differences with intervals", least: 2, noun: "at least two run folders",
		flags: []string{"output", "force", "pairs", "gate", "threshold", "undecided", "markdown", "json", "plot", "table", "narrow", "dark"}, run: compare},
	{name: "trend", args: "DIR|RUN…", what: "runs over time, with change points", least: 1, noun: "run folders, or a folder with some below",
		flags: []string{"output", "markdown", "plot", "table", "narrow", "dark"}, run: trend},
	{name: "verify", args: "RUN", what: "recompute every number of run.json; exit 3 where one differs", least: 1, most: 1, noun: "one run folder", flags: []string{"all", "json"},
		run: func(w []string, o options, out io.Writer) error { return verify(w[0], o, out) }},
	{name: "serve", args: "DIR", what: "a page on loopback that lists the runs below DIR", least: 1, most: 1, noun: "one directory", flags: []string{"listen"},
		run: func(w []string, o options, out io.Writer) error { return serveDir(w[0], o, out) }},
	{name: "md", paths: 1, args: "RUN [TABLE…]", what: "the report, or tables of it, as Markdown", least: 1, noun: "a run folder and names of tables",
		run: func(w []string, _ options, out io.Writer) error { return tables(w[0], w[1:], "md", out) }},
	{name: "csv", paths: 1, args: "RUN [TABLE…]", what: "tables as CSV; without a name it lists the names", least: 1, noun: "a run folder and names of tables",
		run: func(w []string, _ options, out io.Writer) error { return tables(w[0], w[1:], "csv", out) }},
}

func plotVerb(format string) verb {
	return verb{name: format, paths: 1, args: "RUN [PLOT…] [-o FILE|DIR]", what: "plots by name, all without one", least: 1, noun: "a run folder and names of plots",
		flags: []string{"output", "narrow", "dark"},
		run: func(w []string, o options, out io.Writer) error {
			return plots(w[0], w[1:], picture{format: format, output: o.output, narrow: o.narrow, dark: o.dark}, out)
		}}
}

// check refuses a wrong number of words, flags of other verbs, and paths that
// lead nowhere.
func (v verb) check(words []string, flags *pflag.FlagSet) error {
	if len(words) < v.least || v.most > 0 && len(words) > v.most {
		return fmt.Errorf("%w: %s takes %s, not %d", errUsage, v.name, v.noun, len(words))
	}
	for i, w := range words {
		if v.paths > 0 && i >= v.paths {
			break
		}
		if _, err := os.Stat(w); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: there is no %s; %s takes %s (headroom-loadgen run --out DIR makes a run folder, headroom-planner plan -o FILE a plan)",
				errUsage, w, v.name, v.noun)
		}
	}
	var err error
	flags.Visit(func(f *pflag.Flag) {
		if err == nil && !slices.Contains(v.flags, f.Name) {
			err = fmt.Errorf("%w: %s has no flag --%s", errUsage, v.name, f.Name)
		}
	})
	return err
}

func help(out io.Writer, flags *pflag.FlagSet) {
	fmt.Fprint(out, "headroom-reports turns load tests and plans into reports.\n\nUsage:\n")
	for _, v := range verbs {
		fmt.Fprintf(out, "  %-44s %s\n", "headroom-reports "+v.name+" "+v.args, v.what)
	}
	fmt.Fprintf(out, "\nRUN is a folder that headroom-loadgen wrote (--out DIR).\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 a stated target was not met.\n\nFlags:\n%s", flags.FlagUsages())
}
