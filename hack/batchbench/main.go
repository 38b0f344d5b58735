// Command batchbench loads a cluster, or a memcached, as fast as a fixed
// number of requests in flight allows, and prints one line with the rate and
// the CPU that the servers used per record. It owns the measured loop of
// hack/bench-peers.sh and nothing else: no histograms, no audit, no open loop;
// for those there is headroom-loadgen. The invariant: a run in which any
// operation failed prints no rate. Start reading at measure.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
)

// config is what the flags say.
type config struct {
	mode        string
	target      string
	credentials string
	nodes       int
	inFlight    int
	batch       int
	records     int
	valueSize   int
	warmup      time.Duration
	duration    time.Duration
	pids        []int
	cpuProfile  string
}

// load is one way to keep requests in flight.
type load interface {
	// prepare writes all records.
	prepare(ctx context.Context) error
	// run keeps requests in flight until ctx ends, adding to done for each
	// record answered, and returns when none is left.
	run(ctx context.Context, done *atomic.Uint64) error
	close() error
}

func main() {
	c := &config{}
	fs := pflag.CommandLine
	fs.StringVar(&c.mode, "mode", "get", "get, put, batch-get, batch-put or memcached-get")
	fs.StringVar(&c.target, "target", "127.0.0.1:4300", "HOST:PORT,… of some members, or of memcached")
	fs.StringVar(&c.credentials, "credentials", "headroom-data/certs/client", "DIR of a client's certificates")
	fs.IntVar(&c.nodes, "nodes", 1, "wait until the cluster has so many members")
	fs.IntVar(&c.inFlight, "in-flight", 64, "requests in flight; goroutines for batches")
	fs.IntVar(&c.batch, "batch", 64, "records of a batch")
	fs.IntVar(&c.records, "records", 100_000, "records that are written first and then used")
	fs.IntVar(&c.valueSize, "value-size", 100, "bytes of the one bin of a record")
	fs.DurationVar(&c.warmup, "warmup", time.Second/2, "time that is driven and not measured")
	fs.DurationVar(&c.duration, "duration", 3*time.Second, "measured time")
	fs.IntSliceVar(&c.pids, "pid", nil, "processes of the servers, for the CPU per record")
	fs.StringVar(&c.cpuProfile, "cpu-profile", "", "FILE for a profile of this program")
	pflag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "batchbench:", err)
		os.Exit(1)
	}
}

func run(c *config) error {
	if c.inFlight < 1 || c.batch < 1 || c.records < 1 || c.valueSize < 1 || c.duration <= 0 {
		return errors.New("every number must be positive")
	}
	l, err := open(c)
	if err != nil {
		return err
	}
	defer l.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a stuck server ends the run
	defer cancel()
	if err := l.prepare(ctx); err != nil {
		return fmt.Errorf("write the records: %w", err)
	}
	return measure(ctx, c, l)
}

func open(c *config) (load, error) {
	switch c.mode {
	case "memcached-get":
		return openMemcached(c)
	case "get", "put", "batch-get", "batch-put":
		return openHeadroom(c)
	}
	return nil, fmt.Errorf("unknown --mode %s, want get, put, batch-get, batch-put or memcached-get", c.mode)
}

// measure runs the load and prints its rate between the end of the warm-up
// and the end of the measured time.
func measure(ctx context.Context, c *config, l load) error {
	ctx, stop := context.WithCancel(ctx)
	var done atomic.Uint64
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx, &done) }()
	time.Sleep(c.warmup)
	end := profile(c.cpuProfile)
	n, cpu, at := done.Load(), cpuTime(c.pids), time.Now()
	time.Sleep(c.duration)
	n, cpu = done.Load()-n, cpuTime(c.pids)-cpu
	took := time.Since(at)
	end()
	stop()
	if err := <-ended; err != nil {
		return err
	}
	if n == 0 {
		return errors.New("nothing was answered in the measured time")
	}
	fmt.Printf("%.0f %.2f\n", float64(n)/took.Seconds(), float64(cpu.Microseconds())/float64(n))
	return nil
}

// profile starts a CPU profile and returns what ends it.
func profile(path string) func() {
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "batchbench: no profile:", err)
		return func() {}
	}
	return func() { pprof.StopCPUProfile(); f.Close() }
}

// tick is the unit of /proc/PID/stat: Linux shows 100 per second on every
// architecture that Go knows (proc(5), USER_HZ).
const tick = 10 * time.Millisecond

// cpuTime adds up user and system time of processes; one that is gone counts
// nothing.
func cpuTime(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(b), ") ") // the name before may hold anything
		var user, system int64
		if f := strings.Fields(after); len(f) > 12 {
			fmt.Sscan(f[11], &user)
			fmt.Sscan(f[12], &system)
		}
		sum += time.Duration(user+system) * tick
	}
	return sum
}
