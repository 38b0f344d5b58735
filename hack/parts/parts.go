// Package parts is the frame of the programs that measure figures in groups: a
// command line that names some of them, and each run with what it measures
// above and how long it took below.
//
// The invariant to know: nothing runs before all names are known to be right.
//
// Start reading at Set.
package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Part is one group of figures; O is what the flags become.
type Part[O any] struct {
	Name, What string
	Run        func(context.Context, *O) error
}

// Set is what a program can measure, in the order of its help.
type Set[O any] []Part[O]

// Main runs a program named name until it ends or is interrupted, and exits
// with 1 if it fails.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Help writes the parts' names and what they measure.
func (s Set[O]) Help(w io.Writer) {
	for _, p := range s {
		fmt.Fprintf(w, "  %-10s %s\n", p.Name, p.What)
	}
}

// Choose returns the parts of these names, or all of them for "all". An unknown
// name is an error that lists the known ones, and so is none at all.
func (s Set[O]) Choose(names []string) (Set[O], error) {
	var known []string
	for _, p := range s {
		known = append(known, p.Name)
	}
	var out Set[O]
	for _, name := range names {
		if name == "all" {
			return s, nil
		}
		i := slices.Index(known, name)
		if i < 0 {
			return nil, fmt.Errorf("no part %q: want %s or all", name, strings.Join(known, ", "))
		}
		out = append(out, s[i])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("name a part: %s or all", strings.Join(known, ", "))
	}
	return out, nil
}

// Run runs the parts one after the other, up to the first that fails.
func (s Set[O]) Run(ctx context.Context, o *O) error {
	for _, p := range s {
		fmt.Printf("\n%s: %s\n", p.Name, p.What)
		began := time.Now()
		if err := p.Run(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		fmt.Printf("  (took %v)\n", time.Since(began).Round(time.Second))
	}
	return nil
}
