package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"headroom/planner/plan"
)

// runPlan answers requirements.
func runPlan(ctx context.Context, o *options, out io.Writer) error {
	r, err := o.requirements(true)
	if err != nil {
		return err
	}
	in, err := o.input(r)
	if err != nil {
		return err
	}
	p, err := plan.Make(ctx, in)
	if err != nil {
		return given(ctx, err)
	}
	if o.output != "" {
		if err := p.Write(o.output); err != nil {
			return err
		}
	}
	if o.json {
		err = printJSON(out, p)
	} else {
		printPlan(out, p, o.all)
		if o.output != "" {
			fmt.Fprintf(out, "plan file: %s\n", o.output)
		}
	}
	if err == nil && p.Answer == nil {
		return errMissed
	}
	return err
}

func printJSON(out io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(text))
	return err
}
