package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"headroom/planner/plan"
	"headroom/planner/verify"
	"headroom/workloads/units"
)

// cardFile is the calibration card in the folder of a verification.
const cardFile = "verification.json"

// runVerify runs a plan's cluster here, with the planned nodes and with fewer.
func runVerify(ctx context.Context, o *options, out io.Writer) error {
	if len(o.args) != 1 {
		return usagef("give one plan file (headroom-planner plan … -o plan.json), not %d", len(o.args))
	}
	p, err := readPlan(o.args[0])
	if err != nil {
		return err
	}
	cfg, err := o.verification(p)
	if err != nil {
		return err
	}
	if !o.json {
		cfg.Say = func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	}
	card, err := verify.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if err := o.keep(p, card, cfg.Dir); err != nil {
		return err
	}
	if o.json {
		err = printJSON(out, card)
	} else {
		printCard(out, card)
		fmt.Fprintf(out, "card: %s; the plan file %s holds it too\n", filepath.Join(cfg.Dir, cardFile), o.args[0])
	}
	if err == nil && card.Verdict == plan.Refuted {
		return errRefuted
	}
	return err
}

// verification reads the flags.
func (o *options) verification(p *plan.Plan) (verify.Config, error) {
	host, _ := os.Hostname()
	cfg := verify.Config{Plan: p, Dir: o.dir, Phase: o.phase, Profile: o.profile, Now: time.Now(), Host: fmt.Sprintf("%s, %d cores", host, runtime.NumCPU())}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join("runs", "verify-"+strings.TrimSuffix(filepath.Base(o.args[0]), ".json"))
	}
	if o.model != "" { // it is written at the end: not found out only then
		if _, err := readModel(o.model); err != nil {
			return cfg, err
		}
	}
	if o.phase < 3*time.Second || o.phase > time.Hour {
		return cfg, usagef("--phase %v: want 3s to 1h", o.phase)
	}
	if o.rate != "" {
		r, err := units.ParseRate(o.rate)
		if err != nil {
			return cfg, usagef("--rate: %w", err)
		}
		cfg.OpsPerSec = float64(r)
	}
	if err := verify.Check(cfg); err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// keep writes the card, the plan with it, and the model's wider errors.
func (o *options) keep(p *plan.Plan, card *plan.Verification, dir string) error {
	text, err := json.MarshalIndent(card, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, cardFile), append(text, '\n'), 0o644); err != nil {
		return err
	}
	p.Verification = card
	if err := p.Write(o.args[0]); err != nil {
		return err
	}
	if o.model == "" {
		return nil
	}
	m, err := readModel(o.model)
	if err != nil {
		return err
	}
	verify.Widen(m, card)
	return m.Save(o.model)
}

// printCard prints predicted beside measured, and the verdict.
func printCard(out io.Writer, c *plan.Verification) {
	m := c.Miniature
	fmt.Fprintf(out, "\n%d nodes, %.0f operations/s (the plan's divided by %.3g), %d records of %s (divided by %.3g); emulated: %s\n\n", m.Nodes, m.OpsPerSec, m.Rates,
		m.Records, m.ValueSize, m.Bytes, m.Emulates)
	t := plainTable()
	t.AppendHeader(table.Row{"figure", "predicted", "measured", "error"})
	for _, r := range c.Compared {
		t.AppendRow(table.Row{r.Name, valued(r.Predicted, r.Unit), valued(r.Measured, r.Unit), signed(r.Error)})
	}
	fmt.Fprintln(out, t.Render())
	t = plainTable()
	t.AppendHeader(table.Row{"nodes", "killed", "", "run folder"})
	for _, r := range c.Trials {
		t.AppendRow(table.Row{r.Nodes, r.Killed, r.Why, r.Run})
	}
	fmt.Fprintf(out, "\n%s\n\n%s: %s\n", t.Render(), strings.ToUpper(string(c.Verdict)), c.Text)
}

func valued(v *float64, unit string) string {
	switch {
	case v == nil:
		return "unknown"
	case unit == "bytes":
		return fmt.Sprintf("%.0fB", *v)
	}
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", *v, unit))
}

func signed(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%+.1f %%", *v*100)
}
