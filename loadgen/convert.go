package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"headroom/workloads/convert"
)

// convertMain is `convert FILE [-o workload.yaml]`: the workload goes to
// the file or to stdout, what could not be converted exactly is listed.
func convertMain(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := pflag.NewFlagSet("convert", pflag.ContinueOnError)
	out := f.StringP("out", "o", "", "workload `FILE` to write (default stdout)")
	f.SetOutput(stdout)
	f.Usage = func() {
		fmt.Fprintf(stdout, "usage: headroom-loadgen convert FILE [-o workload.yaml]\n\n"+
			"FILE is a .properties file of YCSB or a .yaml of asbench's --workload-stages.\n%s", f.FlagUsages())
	}
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil
		}
		return usageError{fmt.Errorf("%w; 'headroom-loadgen convert --help' lists the flags", err)}
	}
	if f.NArg() != 1 {
		return usagef("convert wants one file, got %d: a .properties of YCSB or a .yaml of asbench's stages", f.NArg())
	}
	from := f.Arg(0)
	text, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("there is no file %s: give a .properties of YCSB or a .yaml of asbench's stages", from)
	} else if err != nil {
		return usageError{err}
	}
	w, notes, err := convert.File(from, text)
	for _, n := range notes {
		fmt.Fprintln(stderr, n)
	}
	if err != nil {
		return usageError{err}
	}
	yaml := convert.YAML(from, w, notes)
	if *out == "" {
		_, err = stdout.Write(yaml)
		return err
	}
	// Not over an existing file: it may be a workload that was edited since.
	file, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err = file.Write(yaml); err == nil {
		fmt.Fprintf(stdout, "%s: %d lines of %s are not converted exactly\n", *out, len(notes), from)
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}
