package main

import (
	"testing"

	"headroom/loadgen/result"
)

func TestTheLimitIsTheTargetsOwnBusyResource(t *testing.T) {
	use := func(resource string, v float64) result.Use { return result.Use{Resource: resource, Utilisation: v} }
	f := func(want string, list ...result.Use) {
		t.Helper()
		if got := limitOf(list); got.Resource != want || (got.Utilisation == nil) != (want == "unknown") || got.Text == "" && got.Utilisation == nil {
			t.Errorf("limitOf(%v) = %+v, want %s", list, got, want)
		}
	}
	f("device", use("host-cpu", 1), use("device", 0.97), use("node-cpu", 0.3))
	f("host-cpu", use("host-cpu", 0.9), use("device", 0.5))
	f("unknown", use("in-flight", 1), use("host-cpu", 0.6))
	f("network", use("in-flight", 1), use("network", 0.9))
	f("unknown")
}
