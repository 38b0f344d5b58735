// Command nullsink measures what two other load generators of this ecosystem
// make of a target that takes no time, as `make bench` does with ours: vegeta
// (an attack whose HTTP transport answers at once) and fortio (its periodic
// runner around an empty function). It is a module of its own, so that nothing
// of theirs gets into this project. Start reading at main.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"fortio.org/fortio/periodic"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// answer is a transport that completes every request at once.
type answer struct{}

// RoundTrip implements http.RoundTripper.
func (answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// nothing is a fortio runnable that takes no time.
type nothing struct{}

// Run implements periodic.Runnable.
func (nothing) Run(context.Context, periodic.ThreadID) (bool, string) { return true, "" }

// cost runs f and prints what one of its n operations took and allocated.
func cost(name string, f func() (n uint64)) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	n := f()
	d := time.Since(began)
	runtime.ReadMemStats(&after)
	if n == 0 {
		n = 1
	}
	fmt.Printf("%-34s %10.0f operations/s %8.1f allocations each\n", name, float64(n)/d.Seconds(), float64(after.Mallocs-before.Mallocs)/float64(n))
}

func attack(rate int, length time.Duration) uint64 {
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: "http://127.0.0.1:9/"})
	a := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: answer{}}), vegeta.Workers(uint64(runtime.GOMAXPROCS(0))), vegeta.MaxWorkers(64))
	n := uint64(0)
	for range a.Attack(target, vegeta.Rate{Freq: rate, Per: time.Second}, length, "null") {
		n++
	}
	return n
}

func fortio(qps float64, length time.Duration) uint64 {
	o := periodic.RunnerOptions{QPS: qps, Duration: length, NumThreads: runtime.GOMAXPROCS(0), Out: io.Discard}
	r := periodic.NewPeriodicRunner(&o)
	r.Options().MakeRunners(nothing{})
	out := r.Run()
	return uint64(out.DurationHistogram.Count)
}

func main() {
	length := flag.Duration("duration", 3*time.Second, "of each measurement")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "nullsink: unknown arguments", strings.Join(flag.Args(), " "))
		os.Exit(2)
	}
	cost("vegeta, open loop at 2M/s offered", func() uint64 { return attack(2_000_000, *length) })
	cost("fortio periodic, as fast as it goes", func() uint64 { return fortio(-1, *length) })
	cost("fortio periodic at 2M/s offered", func() uint64 { return fortio(2_000_000, *length) })
}
