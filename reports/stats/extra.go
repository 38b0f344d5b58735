package stats

import (
	"encoding/csv"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"headroom/loadgen/result"
)

// knownColumns are those of nodes/NODE.csv that result reads itself.
const knownColumns = 10

// maxExtra bounds the further columns that are looked at.
const maxExtra = 24

// Extra is a further column of nodes/NODE.csv, as writers add them on the
// right: one measure of every node or of each of its devices.
type Extra struct {
	Column string
	Nodes  map[string][]Sample
}

// Sample is a value at a time, NaN where the cell was empty.
type Sample struct{ T, Value float64 }

// stopWrites is the column that says whether a node refuses writes.
const stopWrites = "stop_writes"

// extras reads the further columns of all nodes, in the order of their names.
func extras(run *result.Run) []Extra {
	byName := map[string]*Extra{}
	for node := range run.Nodes {
		f, err := os.Open(filepath.Join(run.Dir, "nodes", filepath.Base(node)+".csv"))
		if err != nil {
			continue // Load has named it
		}
		readExtras(io.LimitReader(f, maxFile), node, byName)
		f.Close()
	}
	var out []Extra
	for _, e := range byName {
		out = append(out, *e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Column < out[j].Column })
	return out
}

func readExtras(in io.Reader, node string, byName map[string]*Extra) {
	r := csv.NewReader(in)
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	header, err := r.Read()
	if err != nil || len(header) <= knownColumns {
		return
	}
	names := append([]string(nil), header[knownColumns:min(len(header), knownColumns+maxExtra)]...)
	for range maxLines {
		line, err := r.Read()
		if err != nil {
			return // the end, or damage that Load has named
		}
		t, err := strconv.ParseFloat(line[0], 64)
		if err != nil || math.IsNaN(t) || math.IsInf(t, 0) {
			continue
		}
		for i, name := range names {
			if knownColumns+i >= len(line) {
				break
			}
			v, err := strconv.ParseFloat(line[knownColumns+i], 64)
			if err != nil || math.IsInf(v, 0) {
				v = math.NaN()
			}
			e := byName[name]
			if e == nil {
				e = &Extra{Column: name, Nodes: map[string][]Sample{}}
				byName[name] = e
			}
			e.Nodes[node] = append(e.Nodes[node], Sample{t, v})
		}
	}
}

// stops returns when any node refused writes, from that column and from
// events of that kind ("began", "ended").
func stops(run *result.Run, list []Extra) []Span {
	var out []Span
	for _, e := range list {
		if e.Column != stopWrites {
			continue
		}
		for node, samples := range e.Nodes {
			open := false
			for _, s := range samples {
				switch {
				case s.Value > 0 && !open:
					out, open = append(out, Span{From: s.T, To: math.Inf(1), Node: node}), true
				case !(s.Value > 0) && open:
					out[len(out)-1].To, open = s.T, false
				}
			}
		}
	}
	began := map[string]int{}
	for _, x := range run.Events {
		if x.Kind != "stop-writes" {
			continue
		}
		i, open := began[x.Node]
		switch ended := strings.HasPrefix(x.What, "ended"); {
		case ended && open:
			out[i].To = max(x.TSec, out[i].From)
			delete(began, x.Node)
		case !ended && !open:
			began[x.Node] = len(out)
			out = append(out, Span{From: x.TSec, To: math.Inf(1), Node: x.Node})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].From < out[j].From })
	return out
}
