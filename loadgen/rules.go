package main

import (
	"fmt"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// rules adds what the methodology wants said of how a run was set up, apart
// from what it measured (R6 to R12). env is where it ran.
func (t *trial) rules(env *result.Environment) {
	o := t.o
	add := func(rule string, level result.Level, format string, args ...any) {
		t.summary.Verdicts = append(t.summary.Verdicts, result.Verdict{Rule: rule, Level: level, Text: fmt.Sprintf(format, args...)})
	}
	if o.null {
		return
	}
	if data := units.Bytes(float64(o.workload.Records) * o.workload.ValueSize.Mean()); env.MemBytes > 0 {
		level, word := result.Info, ""
		if onDevice(o) && float64(data) < float64(env.MemBytes)/2 {
			level, word = result.Warn, ": a device test wants more data than memory, a full overwrite before it, and then hours"
		}
		add("R6", level, "data set %s in values, one copy; memory of this machine %s%s", data.Human(), units.Bytes(env.MemBytes).Human(), word)
	}
	if o.nodes > 0 {
		rf, commit := o.nodeFlags["replication-factor"], o.nodeFlags["commit"]
		if rf == "" {
			rf = strconv.Itoa(min(2, o.nodes)) + " (default)"
		}
		if commit == "" {
			commit = "all (default)"
		}
		add("R7", result.Info, "durability: replication-factor %s, commit %s, device %s", rf, commit, deviceOf(o))
	} else if t.device == nil {
		add("R7", result.Info, "durability is the target's: nodes/*.json says its replication factor and devices; compare only with the same")
	}
	add("R8", result.Info, "one run: a comparison wants five repeats or more of each side, in mixed order")
	if env.Governor != "" && env.Governor != "performance" {
		add("R9", result.Warn, "CPU governor %s: clock rates change under the load", env.Governor)
	}
	if env.GitDirty {
		add("R9", result.Info, "built from a tree with uncommitted changes")
	}
	if load, err := strconv.ParseFloat(first(env.LoadAvg), 64); err == nil && load > float64(env.Cores)/2 {
		add("R10", result.Warn, "other load on this machine: load average %.1f at the start, on %d cores", load, env.Cores)
	}
	if o.workload.Keys.Distribution == "uniform" && o.workload.ValueSize.Min == o.workload.ValueSize.Max {
		add("R12", result.Info, "uniform keys of one size only: real keys are skewed and sizes differ")
	}
}

func first(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// deviceOf is the storage of local nodes as given.
func deviceOf(o *options) string {
	for i, a := range o.args {
		if v, ok := strings.CutPrefix(a, "--device="); ok {
			return v
		}
		if a == "--device" && i+1 < len(o.args) {
			return o.args[i+1]
		}
	}
	return "dram"
}

func onDevice(o *options) bool {
	return o.nodes > 0 && deviceOf(o) != "dram" || o.spec.Scheme == "device"
}
