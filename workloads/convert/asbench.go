package convert

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"headroom/workloads"
	"headroom/workloads/units"
)

// asStage is one stage of asbench; lines are those of its keys.
type asStage struct {
	at    int // its line
	line  map[string]int
	value map[string]string
}

// asbenchKeys are the keys of a stage (asbench 2.2).
var asbenchKeys = map[string]bool{"stage": true, "desc": true, "duration": true, "workload": true, "tps": true, "object-spec": true,
	"key-start": true, "key-end": true, "read-bins": true, "write-bins": true, "pause": true, "batch-size": true, "batch-read-size": true,
	"batch-write-size": true, "batch-delete-size": true, "async": true, "random": true, "expiration-time": true, "udf": true, "ttl": true}

// asbench converts one file.
type asbench struct {
	file  string
	w     *workloads.Workload
	notes []Note
	// What all stages share here, and the line that set it.
	first, last int64 // keys
	keysAt      int
	sizeAt      int
	spec        string
	batchAt     int
	ttlAt       int
}

// Asbench converts a stage file of asbench (--workload-stages). An insert stage
// at the beginning becomes the load.
func Asbench(name string, text []byte) (*workloads.Workload, []Note, error) {
	stages, err := parseStages(name, text)
	if err != nil {
		return nil, nil, err
	}
	w, err := base(name)
	if err != nil {
		return nil, nil, err
	}
	w.Keys.Distribution, w.Records = "uniform", 1_000_000
	a := &asbench{file: name, w: w, spec: "I4"}
	for i := range stages {
		if err := a.stage(&stages[i], i == 0); err != nil {
			return nil, a.notes, fmt.Errorf("%s:%d: %w", name, stages[i].at, err)
		}
	}
	if len(w.Stages) == 0 {
		return nil, a.notes, fmt.Errorf("%s: no stage that reads or writes: nothing is left to measure", name)
	}
	w.Mix = w.Stages[0].Mix
	if a.keysAt == 0 {
		a.notes = append(a.notes, Note{Key: "keys", Kind: Close, Text: "asbench takes 1000000 keys (-k) when the stages say none"})
	}
	if a.sizeAt == 0 {
		a.setSize("I4")
	}
	return w, a.notes, nil
}

func parseStages(file string, text []byte) ([]asStage, error) {
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return nil, fmt.Errorf("%s:%d: %s", file, at.GetToken().Position.Line, at.GetMessage())
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var body ast.Node
	if len(doc.Docs) > 0 {
		body = doc.Docs[0].Body
	}
	list, ok := body.(*ast.SequenceNode)
	if !ok {
		return nil, fmt.Errorf("%s: want a list of stages, as asbench has them: \"- stage: 1\"", file)
	}
	var stages []asStage
	for _, n := range list.Values {
		m, ok := n.(ast.MapNode)
		if !ok {
			return nil, fmt.Errorf("%s:%d: a stage must be keys and values", file, n.GetToken().Position.Line)
		}
		s := asStage{at: n.GetToken().Position.Line, line: map[string]int{}, value: map[string]string{}}
		for it := m.MapRange(); it.Next(); {
			t := it.Key().GetToken()
			s.line[t.Value], s.value[t.Value] = t.Position.Line, strings.Trim(it.Value().String(), "\"' ")
		}
		stages = append(stages, s)
	}
	return stages, nil
}

func (a *asbench) note(s *asStage, key string, kind Kind, format string, args ...any) {
	a.notes = append(a.notes, Note{Line: s.line[key], Key: key, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// number reads a whole number, standard if the stage does not give one.
func (s *asStage) number(key string, standard int64) (int64, error) {
	text, ok := s.value[key]
	if !ok {
		return standard, nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a whole number", key, text)
	}
	return v, nil
}

func (a *asbench) stage(s *asStage, isFirst bool) error {
	if s.value["workload"] == "" {
		return errors.New("a stage without workload")
	}
	if err := a.shared(s); err != nil {
		return err
	}
	desc := plain(s.value["desc"])
	st := workloads.Stage{Name: desc[:min(len(desc), 100)], Factor: 1, RampTo: -1, RampToFactor: -1}
	kind, args, _ := strings.Cut(strings.ToUpper(s.value["workload"]), ",")
	if err := a.workload(s, &st, kind, args); err != nil {
		return err
	}
	if kind == "I" && isFirst {
		a.note(s, "workload", Close, "the first insert stage is the load, which takes as long as it takes; its rate is not limited")
		return nil
	}
	if kind == "DB" {
		a.note(s, "workload", Dropped, "DB deletes bins of a range of keys once; the whole stage is left out")
		return nil
	}
	return a.timing(s, &st)
}

// timing sets duration, rate and pause, and adds the stage.
func (a *asbench) timing(s *asStage, st *workloads.Stage) error {
	seconds, err := s.number("duration", 10)
	if err != nil {
		return err
	}
	if st.Duration = time.Duration(seconds) * time.Second; seconds < 1 || seconds > 365*86400 {
		return fmt.Errorf("duration: %d s, want 1 second to a year", seconds)
	}
	tps, err := s.number("tps", 0)
	if err != nil {
		return err
	}
	if tps > 0 {
		st.Rate, st.Factor = units.Rate(tps), 0
		a.note(s, "tps", Close, "asbench's rate falls when the target stalls; here arrivals go on and wait")
	} else {
		a.note(s, "stage", Flag, "--closed 16: without tps asbench runs 16 threads (-z) as fast as they go; with --rate the stage has that rate")
	}
	pause, err := s.number("pause", 0)
	if err != nil {
		return err
	}
	if pause > 0 {
		a.note(s, "pause", Close, "a random pause of 1 to %d s is one of %.1f s", pause, float64(pause+1)/2)
		a.w.Stages = append(a.w.Stages, workloads.Stage{Name: "pause", Duration: time.Duration(pause+1) * time.Second / 2,
			RampTo: -1, RampToFactor: -1})
	}
	a.w.Stages = append(a.w.Stages, *st)
	return nil
}

// workload sets the mix: RU,r | RR,r | RUF,r,w | RUD,r,w | I | DB.
func (a *asbench) workload(s *asStage, st *workloads.Stage, kind, args string) error {
	var share []float64
	for part := range strings.SplitSeq(args, ",") {
		if part == "" {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return fmt.Errorf("workload: %q is not a percentage", part)
		}
		share = append(share, v)
	}
	get, write := workloads.Get, workloads.Update
	if n, _ := s.number("batch-read-size", a.batch(s)); n > 1 {
		get = workloads.BatchGet
	}
	if n, _ := s.number("batch-write-size", a.batch(s)); n > 1 {
		write = workloads.BatchPut
	}
	whole := 1 // percentages after this many are shares of whole records
	switch {
	case kind == "I":
		st.Mix[workloads.Insert] = 100
	case kind == "DB":
	case kind == "RU" || kind == "RR":
		reads := 50.0
		if len(share) > 0 {
			reads = share[0]
		}
		if kind == "RR" && write == workloads.Update {
			write = workloads.Put
		}
		st.Mix[get], st.Mix[write] = reads, 100-reads
	case (kind == "RUF" || kind == "RUD") && len(share) >= 2 && share[0]+share[1] < 100:
		whole = 2
		st.Mix[get], st.Mix[write], st.Mix[workloads.Delete] = share[0], share[1], 100-share[0]-share[1]
		if kind == "RUF" {
			st.Mix[workloads.Operate], st.Mix[workloads.Delete] = st.Mix[workloads.Delete], 0
			a.note(s, "workload", Close, "the %v %% of calls of a Lua function are operate: a counter changed and read on the server", st.Mix[workloads.Operate])
		}
	default:
		return fmt.Errorf("workload: %q is none of I; RU,reads; RR,reads; RUF,reads,writes; RUD,reads,writes; DB", s.value["workload"])
	}
	for _, v := range share[min(whole, len(share)):] {
		if v != 100 {
			a.note(s, "workload", Close, "reads and writes of single bins (%v %% of whole records) are of the whole record", v)
		}
	}
	return nil
}

// batch is the older key for both batch sizes.
func (a *asbench) batch(s *asStage) int64 {
	n, _ := s.number("batch-size", 1)
	return n
}

// shared takes the settings that hold for all stages here: keys, size, batch
// size, time to live; and names what has no counterpart.
func (a *asbench) shared(s *asStage) error {
	from, err := s.number("key-start", 0)
	if err != nil {
		return err
	}
	to, err := s.number("key-end", from+1_000_000)
	if err != nil {
		return err
	}
	if s.value["key-start"] != "" || s.value["key-end"] != "" {
		switch {
		case to <= from:
			return fmt.Errorf("key-end %d is not above key-start %d", to, from)
		case a.keysAt == 0:
			a.keysAt, a.first, a.last, a.w.Records = s.at, from, to, to-from
			if from != 0 {
				a.note(s, "key-start", Close, "keys begin at 0: %d records", to-from)
			}
		case from != a.first || to != a.last:
			a.note(s, "key-end", Dropped, "all stages have the keys of the stage on line %d", a.keysAt)
		}
	}
	if spec, ok := s.value["object-spec"]; ok && (a.sizeAt == 0 || spec != a.spec) {
		if a.sizeAt > 0 {
			a.note(s, "object-spec", Dropped, "all stages have the size of the stage on line %d", a.sizeAt)
		} else {
			a.sizeAt, a.spec = s.at, spec
			if !a.setSize(spec) {
				a.note(s, "object-spec", Close, "lists, maps and constants have no counterpart; values are of %v", a.w.ValueSize)
			}
		}
	}
	if err := a.limits(s); err != nil {
		return err
	}
	a.leftovers(s)
	return nil
}

// limits takes batch sizes and times to live.
func (a *asbench) limits(s *asStage) error {
	for _, key := range []string{"batch-size", "batch-read-size", "batch-write-size"} {
		n, err := s.number(key, 1)
		switch {
		case err != nil:
			return err
		case n <= 1:
		case a.batchAt == 0:
			a.batchAt, a.w.BatchSize = s.line[key], int(min(n, math.MaxInt32))
		case n != int64(a.w.BatchSize):
			a.note(s, key, Close, "all batches have the %d records of line %d", a.w.BatchSize, a.batchAt)
		}
	}
	ttl, err := s.number("expiration-time", 0)
	switch {
	case err != nil:
		return err
	case ttl > 0 && a.ttlAt == 0:
		a.ttlAt, a.w.TTL = s.line["expiration-time"], time.Duration(min(ttl, 100*365*86400))*time.Second
	case ttl > 0 && time.Duration(ttl)*time.Second != a.w.TTL:
		a.note(s, "expiration-time", Dropped, "all stages have that of line %d", a.ttlAt)
	case ttl < 0:
		a.note(s, "expiration-time", Close, "%d: writes take the namespace's default", ttl)
	}
	return nil
}

// leftovers names what has no counterpart.
func (a *asbench) leftovers(s *asStage) {
	for _, key := range []string{"read-bins", "write-bins", "async", "random", "udf", "batch-delete-size"} {
		if _, ok := s.value[key]; !ok {
			continue
		}
		text := map[string]string{"read-bins": "records are read whole", "write-bins": "records are written whole",
			"async": "operations are always asynchronous", "random": "values always differ", "udf": "there are no Lua functions",
			"batch-delete-size": "deletes are single"}[key]
		a.note(s, key, Dropped, "%s", text)
	}
	for _, key := range slices.Sorted(maps.Keys(s.value)) {
		if !asbenchKeys[key] {
			a.note(s, key, Dropped, "no key of a stage of asbench that this program knows")
		}
	}
}

// setSize takes the size of an object specification: I<n> and D (numbers), S<n>
// (text), B<n> (bytes), b (boolean), each perhaps after "N*", with commas. It
// reports whether all of it was understood.
func (a *asbench) setSize(spec string) bool {
	total, understood := int64(0), true
	for part := range strings.SplitSeq(spec, ",") {
		part = strings.TrimSpace(part)
		times := int64(1)
		if n, rest, ok := strings.Cut(part, "*"); ok {
			if v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 32); err == nil && v > 0 {
				times, part = v, strings.TrimSpace(rest)
			}
		}
		size, err := int64(8), error(nil)
		switch {
		case part == "I":
			size = 4
		case part == "D":
		case part == "b":
			size = 1
		case len(part) > 1 && strings.ContainsRune("ISB", rune(part[0])):
			size, err = strconv.ParseInt(part[1:], 10, 32)
		default:
			err = errors.New("no simple bin")
		}
		if err != nil || size < 1 {
			understood, size = false, 8
		}
		total += min(times*size, workloads.MaxValueSize)
	}
	a.w.ValueSize = workloads.FixedSize(units.Bytes(min(max(total, 1), workloads.MaxValueSize)))
	return understood
}
