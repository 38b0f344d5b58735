package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"headroom/planner/plan"
)

// Limits on what is asked of a cluster.
const (
	maxMetrics  = 16 << 20 // bytes of one answer
	maxURLs     = 1000
	scrapeLimit = 10 * time.Second
)

// runDrift reads every node's metrics twice and compares with the plan.
func runDrift(ctx context.Context, o *options, out io.Writer) error {
	if len(o.args) != 1 || len(o.metrics) == 0 || len(o.metrics) > maxURLs {
		return usagef("drift wants one plan file and --metrics URL, at most %d of them", maxURLs)
	}
	if o.interval < time.Second || o.interval > time.Hour {
		return usagef("--interval %v: want 1s to 1h", o.interval)
	}
	p, err := readPlan(o.args[0])
	if err != nil {
		return err
	}
	if p.Answer == nil {
		return usagef("%s has no answer: there is nothing to compare a cluster with", o.args[0])
	}
	for _, u := range o.metrics {
		if at, err := url.Parse(u); err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
			return usagef("--metrics %s: want a URL such as http://127.0.0.1:9310/metrics", u)
		}
	}
	first, err := scrapeAll(ctx, o.metrics)
	if err != nil {
		return err
	}
	begin := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(o.interval):
	}
	second, err := scrapeAll(ctx, o.metrics)
	if err != nil {
		return err
	}
	seen := observe(first, second, time.Since(begin).Seconds())
	if seen.Nodes < seen.Members {
		return usagef("the View has %d members, %d gave metrics: name all with --metrics, else records and rates come out too small", seen.Members, seen.Nodes)
	}
	lines, err := p.Drift(seen)
	if err != nil {
		return err
	}
	return printDrift(o, out, lines)
}

// errDrift ends a comparison in which the cluster is beyond the plan.
var errDrift = errors.New("the cluster is beyond its plan")

func printDrift(o *options, out io.Writer, lines []plan.DriftLine) error {
	over := false
	t := plainTable()
	for _, l := range lines {
		mark := ""
		if l.Over {
			mark, over = "beyond the plan", true
		}
		t.AppendRow(table.Row{l.What, l.Text, mark})
	}
	var err error
	if o.json {
		err = printJSON(out, struct {
			Format string           `json:"format"`
			Lines  []plan.DriftLine `json:"lines"`
		}{"headroom-drift/1", lines})
	} else {
		_, err = fmt.Fprintln(out, t.Render())
	}
	if err == nil && over {
		return errDrift
	}
	return err
}

// families are the metrics of one node by name.
type families map[string]*dto.MetricFamily

func scrapeAll(ctx context.Context, urls []string) ([]families, error) {
	var list []families
	for _, u := range urls {
		f, err := scrape(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", u, err)
		}
		list = append(list, f)
	}
	return list, nil
}

func scrape(ctx context.Context, from string) (families, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	f, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, maxMetrics))
	if err != nil {
		return nil, fmt.Errorf("not metrics in Prometheus text: %w", err)
	}
	if f["headroom_view_members"] == nil {
		return nil, errors.New("not the metrics of a Headroom node: no headroom_view_members")
	}
	return f, nil
}

// observe adds the nodes up; rates are between the two readings.
func observe(first, second []families, seconds float64) plan.Observed {
	o := plan.Observed{Nodes: len(second), Namespaces: map[string]plan.Seen{}}
	for i, f := range second {
		o.Members = max(o.Members, int(f.value("headroom_view_members", "", "")))
		o.DeviceBytes = max(o.DeviceBytes, f.onDevices())
		for _, m := range f["headroom_partitions_mastered"].GetMetric() {
			name := label(m, "namespace")
			s := o.Namespaces[name]
			s.Records += f.value("headroom_records", name, "live") + f.value("headroom_records", name, "tombstone")
			rate := func(kind string) float64 {
				return max(f.value("headroom_operations_total", name, kind)-first[i].value("headroom_operations_total", name, kind), 0) / seconds
			}
			s.ReadsPerSec += rate("read")
			s.WritesPerS += rate("write")
			s.MostBytes = max(s.MostBytes, f.value("headroom_memory_used_bytes", name, ""))
			s.Unavailable = max(s.Unavailable, f.value("headroom_partitions_unavailable", name, ""))
			s.Migrating += f.value("headroom_migrate_partitions_left", name, "")
			o.Namespaces[name] = s
		}
	}
	return o
}

// onDevices adds up the live bytes of a node's devices; memory is listed as one
// and counted apart.
func (f families) onDevices() float64 {
	sum := 0.0
	for _, m := range f["headroom_device_used_bytes"].GetMetric() {
		if label(m, "class") != "dram" {
			sum += m.Gauge.GetValue()
		}
	}
	return sum
}

// value is the metric of a namespace and kind, either of which may be "".
func (f families) value(name, namespace, kind string) float64 {
	for _, m := range f[name].GetMetric() {
		if namespace != "" && label(m, "namespace") != namespace || kind != "" && label(m, "kind") != kind {
			continue
		}
		if m.Counter != nil {
			return m.Counter.GetValue()
		}
		return m.Gauge.GetValue()
	}
	return 0
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
