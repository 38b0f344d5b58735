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
		c.damaged(err)
		return
	}
	for op, want := range recorded.Operations {
		got := result.SummarizeStages(samples[op])
		field := "stages.operations." + op + "."
		c.whole(field+"samples", want.Samples, got.Samples, from)
		if want.Samples > want.Answered {
			c.add(field+"samples", fmt.Sprint(want.Samples), fmt.Sprintf("at most %d", want.Answered), field+"answered", Differs)
		}
		c.sampled(field, op, want)
		c.whole(field+"rows", int64(len(want.Rows)), int64(len(got.Rows)), from)
		for i := range want.Rows[:min(len(want.Rows), len(got.Rows))] {
			c.stageRow(fmt.Sprintf("%srows[%d].", field, i), &want.Rows[i], &got.Rows[i])
		}
		for _, name := range result.StageNames {
			a, b := want.StagesUS[name], got.StagesUS[name]
			c.pointer(field+"stages_us."+name+".p50", a.P50, b.P50, from)
			c.pointer(field+"stages_us."+name+".p99", a.P99, b.P99, from)
		}
	}
}

// sampled recomputes how many operations were sampled.
func (c *checker) sampled(field, op string, want result.StageSummary) {
	o := c.ops[op]
	if o == nil || o.row.StagesAsked < 0 {
		return // an older version's series.csv
	}
	c.whole(field+"asked", want.Asked, o.row.StagesAsked, "series.csv")
	c.whole(field+"answered", want.Answered, o.row.StagesAnswered, "series.csv")
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
