package recompute

import (
	"fmt"

	"headroom/loadgen/result"
)

// stages recomputes where the time of sampled operations went.
func (c *checker) stages() {
	const from = "stages.csv"
	recorded := c.run.Summary.Stages
	if recorded == nil {
		return
	}
	samples, err := c.run.Stages()
	if err != nil {
		c.add("stages", "", err.Error(), from, Unknown)
		return
	}
	for op, want := range recorded.Operations {
		got := result.SummarizeStages(samples[op])
		field := "stages." + op + "."
		c.whole(field+"samples", want.Samples, got.Samples, from)
		c.atMost(field+"samples", float64(want.Samples), float64(want.Answered), "stages."+op+".answered")
		c.add(field+"asked", fmt.Sprint(want.Asked), "", "counted while running", Unknown)
		c.whole(field+"rows", int64(len(want.Rows)), int64(len(got.Rows)), from)
		for i := range want.Rows[:min(len(want.Rows), len(got.Rows))] {
			c.stageRow(fmt.Sprintf("%srows.%s.", field, want.Rows[i].At), &want.Rows[i], &got.Rows[i])
		}
		for _, name := range result.StageNames {
			a, b := want.StagesUS[name], got.StagesUS[name]
			c.pointer(field+"stages_us."+name+".p50", a.P50, b.P50, from)
			c.pointer(field+"stages_us."+name+".p99", a.P99, b.P99, from)
		}
	}
}

func (c *checker) stageRow(field string, want, got *result.StageRow) {
	const from = "stages.csv"
	c.whole(field+"samples", int64(want.Samples), int64(got.Samples), from)
	c.number(field+"from_us", want.FromUS, got.FromUS, from)
	c.number(field+"to_us", want.ToUS, got.ToUS, from)
	c.number(field+"response_us", want.ResponseUS, got.ResponseUS, from)
	sum := got.RestUS
	for _, name := range result.StageNames {
		c.number(field+"stages_us."+name, want.StagesUS[name], got.StagesUS[name], from)
		sum += want.StagesUS[name]
	}
	c.number(field+"rest_us", want.RestUS, got.RestUS, from)
	c.number(field+"sum of stages", want.ResponseUS, sum, "the row itself")
}
