package result

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
)

// stagesFile holds one line for each sampled operation.
const stagesFile = "stages.csv"

// StageNames are the stages of an operation in the order in which they happen,
// as stages.csv and run.json name them: lateness is the generator's, wait, send
// and receive are the client's, network lies between the processes, the others
// are the node's. They do not overlap; what is left of the response time is the
// generator's own bookkeeping, and between the two requests of a
// read-modify-write.
var StageNames = [...]string{"lateness", "wait", "send", "queue", "admission", "storage", "replication", "durable",
	"forward", "reply", "network", "receive"}

// StageSample is a line of stages.csv: where one operation that was answered
// spent its response time, in microseconds with three decimals.
type StageSample struct {
	TSec       float64 // intended start
	Op         string
	Node       string // who answered
	ResponseUS float64
	StagesUS   [len(StageNames)]float64
}

// Stages says where the time of sampled operations went.
type Stages struct {
	Operations map[string]StageSummary `json:"operations"`
}

// StageSummary is what the samples of one operation say.
type StageSummary struct {
	Every    int   `json:"every"`    // one operation in so many was asked
	Asked    int64 `json:"asked"`    // sampled operations that ended
	Answered int64 `json:"answered"` // of them, those whose node told its stages; others failed, or the node is older
	Samples  int64 `json:"samples"`  // lines of stages.csv: all answered ones, or an even part of them
	// Rows are mean stages of operations about as slow as a percentile of the
	// samples, so that they add up to what those operations took.
	Rows []StageRow `json:"rows"`
	// StagesUS holds each stage's own percentiles: they belong to different
	// operations, and their sum means nothing.
	StagesUS map[string]StagePercentiles `json:"stages_us"`
}

// StageRow is the mean of the sampled operations around a percentile of the
// response time: ResponseUS is the sum of StagesUS and RestUS.
type StageRow struct {
	At         string             `json:"at"`      // p50 or p99
	Samples    int                `json:"samples"` // neighbours it is the mean of
	FromUS     float64            `json:"from_us"` // the fastest of them
	ToUS       float64            `json:"to_us"`   // the slowest
	ResponseUS float64            `json:"response_us"`
	StagesUS   map[string]float64 `json:"stages_us"`
	RestUS     float64            `json:"rest_us"` // what no stage accounts for
}

// StagePercentiles are percentiles of one stage; nil without enough samples.
type StagePercentiles struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

// stageBands are the rows: ranks from lo to hi of the samples by response time.
var stageBands = [...]struct {
	at     string
	lo, hi float64
}{{"p50", 0.45, 0.55}, {"p99", 0.985, 0.995}}

// stageBandMin is how many operations a row is the mean of at least; 500
// samples give it for p99.
const stageBandMin = 5

// SummarizeStages sums up the samples of one operation; Every, Asked and
// Answered are the caller's.
func SummarizeStages(list []StageSample) StageSummary {
	s := StageSummary{Samples: int64(len(list)), Rows: []StageRow{}, StagesUS: map[string]StagePercentiles{}}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b StageSample) int { return cmp.Compare(a.ResponseUS, b.ResponseUS) })
	n := float64(len(list))
	for _, b := range stageBands {
		band := list[int(math.Floor(b.lo*n)):int(math.Ceil(b.hi*n))]
		if len(band) >= stageBandMin {
			s.Rows = append(s.Rows, stageRow(b.at, band))
		}
	}
	values := make([]float64, len(list))
	for i, name := range StageNames {
		for k := range list {
			values[k] = list[k].StagesUS[i]
		}
		slices.Sort(values)
		s.StagesUS[name] = StagePercentiles{P50: rankOf(values, 0.5), P99: rankOf(values, 0.99)}
	}
	return s
}

// stageRow is the mean of neighbours, which are sorted by response time.
func stageRow(at string, band []StageSample) StageRow {
	row := StageRow{At: at, Samples: len(band), FromUS: band[0].ResponseUS, ToUS: band[len(band)-1].ResponseUS, StagesUS: map[string]float64{}}
	var sum [len(StageNames)]float64
	for i := range band {
		row.ResponseUS += band[i].ResponseUS / float64(len(band))
		for k, us := range band[i].StagesUS {
			sum[k] += us / float64(len(band))
		}
	}
	row.RestUS = row.ResponseUS
	for k, name := range StageNames {
		row.StagesUS[name] = sum[k]
		row.RestUS -= sum[k]
	}
	return row
}

// rankOf is a percentile of sorted values, nil without enough of them.
func rankOf(sorted []float64, p float64) *float64 {
	n := len(sorted)
	if n == 0 || !Supported(p, int64(n)) {
		return nil
	}
	v := sorted[int(math.Ceil(p*float64(n)))-1]
	return &v
}

func stagesHeader() []string {
	h := []string{"t_s", "op", "node", "response_us"}
	for _, name := range StageNames {
		h = append(h, name+"_us")
	}
	return h
}

// Stages writes stages.csv.
func (w *Writer) Stages(list []StageSample) {
	f, err := createCSV(filepath.Join(w.dir, stagesFile), stagesHeader())
	if err != nil {
		w.keep(err)
		return
	}
	nano := func(us float64) string { return strconv.FormatFloat(us, 'f', 3, 64) }
	for i := range list {
		s := &list[i]
		line := []string{seconds(s.TSec), s.Op, s.Node, nano(s.ResponseUS)}
		for _, us := range s.StagesUS {
			line = append(line, nano(us))
		}
		w.keep(f.line(line...))
	}
	w.keep(f.flush())
	w.keep(f.f.Close())
}

// Stages reads stages.csv by operation, in the order of the file. It returns
// os.ErrNotExist when the run has none.
func (r *Run) Stages() (map[string][]StageSample, error) {
	out := map[string][]StageSample{}
	path := filepath.Join(r.Dir, stagesFile)
	bad := 0
	err := readCSV(path, stagesHeader(), func(c *cells) {
		s := StageSample{TSec: c.number(0), Op: c.text(), Node: c.text(), ResponseUS: c.number(math.NaN())}
		ok := s.ResponseUS >= 0 && !math.IsInf(s.ResponseUS, 0)
		for i := range s.StagesUS {
			s.StagesUS[i] = c.number(math.NaN())
			ok = ok && s.StagesUS[i] >= 0 && !math.IsInf(s.StagesUS[i], 0)
		}
		if !ok {
			bad++
			return
		}
		out[s.Op] = append(out[s.Op], s)
	})
	if err == nil && bad > 0 {
		err = fmt.Errorf("%s: %d lines without a time in each column", path, bad)
	}
	return out, err
}
