package studies

import (
	"fmt"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

func calibrateDocument(c *result.Calibration) *page.Document {
	d := begin("Headroom calibration report", fmt.Sprintf("This generator offers up to %s at %.0f ns an operation", rateText(c.NullOpsPerSec), c.NSPerOp), c.Study)
	d.Add("figures", "Headline figures", page.Values{
		{Label: "Highest rate into a null target", Text: rateText(c.NullOpsPerSec), Note: stats.Plural(int64(c.Lanes), "lane")},
		{Label: "Cost of an operation", Text: fmt.Sprintf("%.0f ns", c.NSPerOp), Note: fmt.Sprintf("%.2f allocations", c.AllocsPerOp)},
		{Label: "One reading of the clock", Text: fmt.Sprintf("%.0f ns", c.ClockNS)}})
	t := &page.Table{Name: "lateness", Label: "Lateness by rate", Head: []string{"Waiting", "rate", "achieved", "p50", "p99", "max", "CPU"}}
	r := chart.Rows{Unit: "lateness from p50 to p99, log scale", Log: true}
	for _, x := range c.Rows {
		t.Rows = append(t.Rows, []page.Cell{{Text: x.Waiter}, {Text: rateText(x.RateOpsPerSec), Raw: raw(x.RateOpsPerSec)}, {Text: rateText(x.AchievedOpsPerSec), Raw: raw(x.AchievedOpsPerSec)},
			latencyCell(x.Lateness, "p50"), latencyCell(x.Lateness, "p99"), latencyCell(x.Lateness, "max"), {Text: fmt.Sprintf("%.0f %%", x.CPUPct), Raw: raw(x.CPUPct)}})
		if x.Lateness.P50 != nil && x.Lateness.P99 != nil && len(r.Rows) < 40 {
			r.Rows = append(r.Rows, chart.Row{Label: x.Waiter + " at " + stats.Rate(x.RateOpsPerSec) + "/s", Text: stats.Micros(*x.Lateness.P99),
				Bars: []chart.Bar{{From: *x.Lateness.P50, To: *x.Lateness.P99, Ink: chart.BlueWash}}, Dots: []chart.Dot{{At: *x.Lateness.P99, Ink: chart.Blue}}})
		}
	}
	if len(t.Rows) == 0 {
		d.Add("lateness", "Lateness", page.Absent("No rate was measured."))
		return end(d, c.Study)
	}
	var fig *page.Figure
	if len(r.Rows) > 0 {
		r.Alt = "How late the generator submits operations, by rate and way of waiting; the dot is the p99."
		fig = rows("lateness", r)
	}
	d.Add("lateness", "Lateness", fig, t)
	return end(d, c.Study)
}
