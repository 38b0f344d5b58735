package device

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"headroom/node/disk/profile"
	"headroom/workloads/units"
)

// fioFile is what of fio's JSON output (checked with 3.33) is used.
type fioFile struct {
	Version string            `json:"fio version"`
	Global  map[string]string `json:"global options"`
	Jobs    []fioJob          `json:"jobs"`
}

type fioJob struct {
	Name    string            `json:"jobname"`
	Options map[string]string `json:"job options"`
	Read    fioSide           `json:"read"`
	Write   fioSide           `json:"write"`
}

type fioSide struct {
	IOPS  float64 `json:"iops"`
	BW    float64 `json:"bw_bytes"`
	Total int64   `json:"total_ios"`
	Clat  fioTime `json:"clat_ns"`
}

type fioTime struct {
	Min         float64            `json:"min"`
	Max         float64            `json:"max"`
	Mean        float64            `json:"mean"`
	N           int64              `json:"N"`
	Percentiles map[string]float64 `json:"percentile"`
	Bins        map[string]int64   `json:"bins"`
}

// ImportFio reads the JSON output of fio and fits a profile: service times
// from the jobs at queue depth 1, or else the lowest depth, rates and
// bandwidths from the highest, channels = rate x service time.
func ImportFio(text []byte) (*profile.Profile, error) {
	var f fioFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("not fio's JSON output (fio --output-format=json+): %w", err)
	}
	if f.Version == "" || len(f.Jobs) == 0 {
		return nil, errors.New("not fio's JSON output: it has no \"fio version\" or no jobs")
	}
	m := fioFit{p: &profile.Profile{Name: "fio-import", Channels: 1, Source: f.Version}, depth: map[[2]int64]int64{}}
	for i := range f.Jobs {
		j := &f.Jobs[i]
		option := func(name, byDefault string) string { return cmp.Or(j.Options[name], f.Global[name], byDefault) }
		size, err := fioSize(option("bs", "4k"))
		depth, err2 := strconv.ParseInt(option("iodepth", "1"), 10, 32)
		procs, err3 := strconv.ParseInt(option("numjobs", "1"), 10, 32)
		if err := errors.Join(err, err2, err3); err != nil {
			return nil, fmt.Errorf("job %q: %w", j.Name, err)
		}
		m.side(profile.Read, &j.Read, size, depth*procs)
		m.side(profile.Write, &j.Write, size, depth*procs)
	}
	return m.finish()
}

// fioSize reads fio's "4k", "128K", "1m" or a number; of "4k,8k" the first.
func fioSize(s string) (int64, error) {
	for i, c := range s {
		if c == ',' || c == '-' {
			s = s[:i]
			break
		}
	}
	factor := int64(1)
	for suffix, f := range map[string]int64{"k": 1 << 10, "K": 1 << 10, "m": 1 << 20, "M": 1 << 20} {
		if n := len(s) - 1; n > 0 && s[n:] == suffix {
			s, factor = s[:n], f
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("bs=%s: want a size such as 4k", s)
	}
	return n * factor, nil
}

type fioFit struct {
	p     *profile.Profile
	depth map[[2]int64]int64 // of the row kept, by kind and size
	peak  [2]float64         // highest rate at the smallest size, by kind
	small [2]int64
}

// side takes in one direction of a job.
func (m *fioFit) side(op profile.Op, s *fioSide, size, depth int64) {
	if s.Total == 0 {
		return
	}
	if m.small[op] == 0 || size < m.small[op] {
		m.small[op], m.peak[op] = size, 0
	}
	if size == m.small[op] {
		m.peak[op] = max(m.peak[op], s.IOPS)
	}
	bw := &m.p.Bandwidth.Read
	if op == profile.Write {
		bw = &m.p.Bandwidth.Write
	}
	*bw = max(*bw, math.Round(s.BW))
	key := [2]int64{int64(op), size}
	if have, ok := m.depth[key]; ok && have <= depth {
		return
	}
	m.depth[key] = depth
	row := profile.Service{Op: op, Size: units.Bytes(size), Points: s.Clat.points()}
	m.p.Service = slices.DeleteFunc(m.p.Service, func(r profile.Service) bool { return r.Op == op && r.Size == row.Size })
	if len(row.Points) > 0 {
		m.p.Service = append(m.p.Service, row)
	}
}

// pair says that a share q took at most so many nanoseconds.
type pair struct{ q, ns float64 }

// points prefers the bins of json+, which are the whole distribution.
func (t *fioTime) points() []profile.Point {
	list := []pair{{0, t.Min}, {1, t.Max}}
	if len(t.Bins) > 0 {
		list = append(list, binned(t.Bins)...)
	} else {
		for name, ns := range t.Percentiles {
			if percent, err := strconv.ParseFloat(name, 64); err == nil && percent > 0 && percent < 100 {
				list = append(list, pair{percent / 100, ns})
			}
		}
	}
	slices.SortFunc(list, func(a, b pair) int { return cmp.Compare(a.q, b.q) })
	var out []profile.Point
	for _, x := range list {
		at := time.Duration(min(max(x.ns, 0), float64(profile.MaxTime)))
		if k := len(out); k > 0 && (x.q <= out[k-1].Q || at < out[k-1].Time) {
			continue
		}
		out = append(out, profile.Point{Q: x.q, Time: at})
	}
	return out
}

// binned turns counts by nanoseconds into shares at or below them, at most a
// hundred.
func binned(bins map[string]int64) []pair {
	type bin struct{ ns, n float64 }
	var list []bin
	total := 0.0
	for name, n := range bins {
		if ns, err := strconv.ParseFloat(name, 64); err == nil && n > 0 {
			list = append(list, bin{ns, float64(n)})
			total += float64(n)
		}
	}
	slices.SortFunc(list, func(a, b bin) int { return cmp.Compare(a.ns, b.ns) })
	var out []pair
	sum := 0.0
	for i, b := range list {
		sum += b.n
		if q := sum / total; q < 1 && (len(list) <= 100 || i%(len(list)/100+1) == 0 || q > 0.99) && len(out) < profile.MaxPoints-2 {
			out = append(out, pair{q, b.ns})
		}
	}
	return out
}

// finish completes the profile. A direction that was not measured is said to
// be like the other one.
func (m *fioFit) finish() (*profile.Profile, error) {
	p := m.p
	for _, op := range []profile.Op{profile.Read, profile.Write} {
		if !slices.ContainsFunc(p.Service, func(s profile.Service) bool { return s.Op == op }) {
			p.Source += fmt.Sprintf("; no %vs measured: taken to be like the others", op)
			for _, s := range slices.Clone(p.Service) {
				s.Op = op
				p.Service = append(p.Service, s)
			}
		}
	}
	for key, depth := range m.depth {
		if depth > 1 {
			p.Source += fmt.Sprintf("; %v of %v only at queue depth %d: its waits count as service", profile.Op(key[0]), units.Bytes(key[1]), depth)
		}
	}
	slices.SortFunc(p.Service, func(a, b profile.Service) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Size, b.Size))
	})
	p.IOPS.Read, p.IOPS.Write = math.Round(m.peak[profile.Read]), math.Round(m.peak[profile.Write])
	for _, op := range []profile.Op{profile.Read, profile.Write} {
		if m.peak[op] > 0 {
			p.Channels = max(p.Channels, channels(m.peak[op], p.Mean(op, m.small[op]).Seconds()))
		}
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("fio's output makes no device profile: %w", err)
	}
	return p, nil
}
