package rig

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// PID finds the process of a node that this process started.
func (r *Rig) PID(node string) (int, error) {
	return pidOf(filepath.Join(r.dir, node))
}

// pidOf finds the child of this process that runs with --data-dir dir.
func pidOf(dir string) (int, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		stat, err := p.Stat()
		if err != nil || stat.PPID != os.Getpid() {
			continue
		}
		args, err := p.CmdLine()
		if err != nil {
			continue
		}
		for i := range args {
			if args[i] == "--data-dir" && i+1 < len(args) && args[i+1] == dir {
				return p.PID, nil
			}
		}
	}
	return 0, fmt.Errorf("no process of a node with data in %s", dir)
}

// Usage is what a process has used so far.
type Usage struct {
	CPU      time.Duration // user and system
	Resident int64         // bytes, now
}

// UsageOf reads the usage of a process.
func UsageOf(pid int) (Usage, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}, err
	}
	stat, err := p.Stat()
	if err != nil {
		return Usage{}, err
	}
	return Usage{CPU: time.Duration(stat.CPUTime() * float64(time.Second)), Resident: int64(stat.ResidentMemory())}, nil
}

// Usage sums the usage of all living nodes.
func (r *Rig) Usage() (Usage, error) {
	var sum Usage
	for _, name := range r.Cluster.Names() {
		pid, err := r.PID(name)
		if err != nil {
			continue // it is down
		}
		u, err := UsageOf(pid)
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.Resident += u.Resident
	}
	return sum, nil
}

// gcLine matches the CPU part of a line of GODEBUG=gctrace=1: sweep
// termination + assist/dedicated/idle + mark termination.
var gcLine = regexp.MustCompile(`^gc \d+ @.* ([0-9.]+)\+([0-9.]+)/([0-9.]+)/([0-9.]+)\+([0-9.]+) ms cpu`)

// GCTime sums the CPU time that garbage collection took in a node that was
// started with GODEBUG=gctrace=1, idle workers apart, from its log.
func (r *Rig) GCTime(node string) (cycles int, cpu time.Duration, err error) {
	f, err := os.Open(filepath.Join(r.dir, node+".log"))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		m := gcLine.FindStringSubmatch(in.Text())
		if m == nil || strings.Contains(in.Text(), "(forced)") {
			continue
		}
		cycles++
		for _, i := range []int{1, 2, 3, 5} {
			ms, err := strconv.ParseFloat(m[i], 64)
			if err != nil {
				return cycles, cpu, fmt.Errorf("gctrace %q: %w", in.Text(), err)
			}
			cpu += time.Duration(ms * float64(time.Millisecond))
		}
	}
	return cycles, cpu, in.Err()
}
