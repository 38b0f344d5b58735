package main

import (
	"strings"
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

func TestAClosedLoopThatFillsNothingIsLimitedByItsClients(t *testing.T) {
	s := &result.Summary{Loop: "closed", Use: []result.Use{{Resource: "host-cpu", Utilisation: 0.82, Text: "the host was 82 % busy"}}}
	s.Generator.InFlightMax = 16
	if got := limitOfLoop(s); got.Resource != "clients" || !strings.Contains(got.Text, "16 clients") || !strings.Contains(got.Text, "82 % busy") {
		t.Errorf("limit %+v, want 16 clients and what was busiest", got)
	}
	s.Use[0].Utilisation = 0.9
	if got := limitOfLoop(s); got.Resource != "host-cpu" {
		t.Errorf("limit %+v, want the busy host", got)
	}
	s.Loop, s.Use[0].Utilisation = "open", 0.5
	if got := limitOfLoop(s); got.Resource != "unknown" {
		t.Errorf("limit %+v, want unknown: an open loop asks for a rate", got)
	}
}
