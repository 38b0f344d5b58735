package main

import (
	"context"
	"io"
)

// commands are the program's commands; each parses its own flags.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"run": func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		o, err := runCommand.parse(args, stdout)
		if err != nil {
			return err
		}
		return runCommandLine(ctx, o, stdout, newProgress(stderr))
	},
	"knee": func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		k := &kneeOptions{}
		o, err := kneeCommand(k).parse(args, stdout)
		if err != nil {
			return err
		}
		return kneeCommandLine(ctx, o, k, stdout, newProgress(stderr))
	},
	"overload": func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		v := &overloadOptions{}
		o, err := overloadCommand(v).parse(args, stdout)
		if err != nil {
			return err
		}
		return overloadCommandLine(ctx, o, v, stdout, newProgress(stderr))
	},
	"calibrate": func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		o, err := parseCalibrate(args, stdout)
		if err != nil {
			return err
		}
		return calibrateCommandLine(ctx, o, stdout, newProgress(stderr))
	},
}
