package main

import (
	"context"
	"io"
)

// commands are the program's commands; each parses its own flags.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"run":       runMain,
	"knee":      kneeMain,
	"overload":  overloadMain,
	"matrix":    matrixMain,
	"merge":     mergeMain,
	"calibrate": calibrateMain,
	"convert":   convertMain,
	"workloads": workloadsMain,
	"device":    deviceMain,
}

func runMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := runCommand.parse(args, stdout)
	if err != nil {
		return err
	}
	out := newProgress(stderr).panel()
	defer out.stop()
	return runCommandLine(ctx, o, stdout, out)
}

func kneeMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	k := &kneeOptions{}
	o, err := kneeCommand(k).parse(args, stdout)
	if err != nil {
		return err
	}
	return kneeCommandLine(ctx, o, k, stdout, newProgress(stderr))
}

func overloadMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	v := &overloadOptions{}
	o, err := overloadCommand(v).parse(args, stdout)
	if err != nil {
		return err
	}
	return overloadCommandLine(ctx, o, v, stdout, newProgress(stderr))
}

func matrixMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	m, err := parseMatrix(args, stdout)
	if err != nil {
		return err
	}
	return m.run(ctx, stdout, newProgress(stderr))
}

func calibrateMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseCalibrate(args, stdout)
	if err != nil {
		return err
	}
	return calibrateCommandLine(ctx, o, stdout, newProgress(stderr))
}

func mergeMain(_ context.Context, args []string, stdout, _ io.Writer) error {
	o, err := parseMerge(args, stdout)
	if err != nil {
		return err
	}
	return mergeCommandLine(o, stdout)
}
