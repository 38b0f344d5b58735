package runs

import (
	"bytes"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/page"
)

func TestThePageTellsWhereTheTimeGoes(t *testing.T) {
	f := facts(t, nil, nil)
	d := Document(f)
	for _, name := range []string{"stages-get-p50", "stages-get-p99", "stages-put-p50"} {
		if _, err := d.Figure(name); err != nil {
			t.Error(err)
		}
	}
	table, err := d.Table("stages-put")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := table.CSV(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 1+len(result.StageNames)-3+3 { // all but wait, durable and forward
		t.Errorf("%d lines, want a head, a line for each stage, their sum, the rest and the whole:\n%s", n, b.String())
	}
	fig, _ := d.Figure("stages-put-p50")
	if !strings.Contains(fig.Caption, "replication (until every copy has it)") || !strings.Contains(fig.Caption, "no stage accounts for 0.9") {
		t.Errorf("caption %q", fig.Caption)
	}
	if _, err := d.Figure("stages-put-p99"); err == nil {
		t.Error("60 samples give a row of p99")
	}
}

func TestAWaterfallThatCannotBeDrawnSaysWhy(t *testing.T) {
	says := func(want string, change func(*result.Summary)) {
		t.Helper()
		var b bytes.Buffer
		if err := page.Markdown(&b, Document(facts(t, change, nil))); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	says("No operation was asked where its time went", func(s *result.Summary) { s.Stages = nil })
	says("Too few samples for a row of p99", nil)
	says("Too few samples for a row of the median or of p99", func(s *result.Summary) {
		s.Stages.Operations = map[string]result.StageSummary{"get": {Every: 1000, Asked: 9, Answered: 0}}
	})
	says("of a version that does not tell", func(s *result.Summary) {
		x := s.Stages.Operations["get"]
		x.Asked += 5
		s.Stages.Operations["get"] = x
	})
}

func TestThePageTellsHowDevicesWereUsed(t *testing.T) {
	f := facts(t, func(s *result.Summary) { s.Device = &result.Device{Profile: "nvme", Dilation: 20} }, nil)
	var b bytes.Buffer
	d := Document(f)
	if err := page.Markdown(&b, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 devices held records", "times here are 20 times those of the real device", "| node1 (/var/lib/headroom/node1.dev) | 6 % | 0.07 | 700/s |"} {
		if !strings.Contains(b.String(), want) {
			i := max(0, strings.Index(b.String(), "| node1"))
			t.Errorf("the page does not say %q but %.80q", want, b.String()[i:])
		}
	}
	if _, err := d.Figure("device-read-latency"); err != nil {
		t.Error(err)
	}
	f.Run.Devices = nil
	if _, err := Document(f).Figure("device-busy"); err == nil {
		t.Error("a figure of devices without any")
	}
}
