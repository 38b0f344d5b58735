package convert

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"headroom/workloads"
	"headroom/workloads/keys"
	"headroom/workloads/units"
)

// property is a line of a .properties file.
type property struct {
	line       int
	key, value string
}

// ycsb converts one file; value gives a property or YCSB's default and marks
// it as used.
type ycsb struct {
	file  string
	props map[string]property
	used  map[string]bool
	notes []Note
	err   error
}

// Properties converts a workload of YCSB (CoreWorkload) or go-ycsb. YCSB's
// defaults hold for what the file does not say.
func Properties(name string, text []byte) (*workloads.Workload, []Note, error) {
	list, err := parseProperties(name, text)
	if err != nil {
		return nil, nil, err
	}
	w, err := base(name)
	if err != nil {
		return nil, nil, err
	}
	y := &ycsb{file: name, props: map[string]property{}, used: map[string]bool{}}
	for _, p := range list {
		if old, twice := y.props[p.key]; twice {
			y.note(old.key, Dropped, "given again on line %d, which counts", p.line)
		}
		y.props[p.key] = p
	}
	if class := y.value("workload", "site.ycsb.workloads.CoreWorkload"); !strings.HasSuffix(class, "CoreWorkload") && class != "core" {
		return nil, nil, fmt.Errorf("%s:%d: workload %s: only CoreWorkload can be converted", name, y.props["workload"].line, class)
	}
	y.records(w)
	y.mix(w)
	y.keys(w)
	y.sizes(w)
	if w.Mix[workloads.Scan] > 0 {
		y.scans(w)
	}
	y.flags()
	for _, p := range list {
		if !y.used[p.key] {
			y.used[p.key] = true
			y.note(p.key, Dropped, "%s", reasonOf(p.key))
		}
	}
	return w, y.notes, y.err
}

func (y *ycsb) note(key string, kind Kind, format string, args ...any) {
	y.notes = append(y.notes, Note{Line: y.props[key].line, Key: key, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func (y *ycsb) value(key, standard string) string {
	y.used[key] = true
	if p, ok := y.props[key]; ok {
		return p.value
	}
	return standard
}

func (y *ycsb) given(key string) bool { _, ok := y.props[key]; return ok }

// number reads a property that must be a number of at least 0.
func (y *ycsb) number(key string, standard float64) float64 {
	text := y.value(key, "")
	if text == "" {
		return standard
	}
	v, err := strconv.ParseFloat(text, 64)
	if (err != nil || !(v >= 0) || math.IsInf(v, 0)) && y.err == nil {
		y.err = fmt.Errorf("%s:%d: %s: %q is not a number of at least 0", y.file, y.props[key].line, key, text)
	}
	return v
}

func (y *ycsb) records(w *workloads.Workload) {
	w.Records = int64(y.number("recordcount", 0))
	if w.Records == 0 {
		w.Records = 1000
		y.note("recordcount", Close, "YCSB takes 2147483647 without it; 1000 is set here, change it with --set records=…")
	}
}

// mix takes the proportions as weights, as YCSB does.
func (y *ycsb) mix(w *workloads.Workload) {
	weights := []struct {
		key      string
		op       workloads.Op
		standard float64
	}{{"readproportion", workloads.Get, 0.95}, {"updateproportion", workloads.Update, 0.05},
		{"insertproportion", workloads.Insert, 0}, {"scanproportion", workloads.Scan, 0},
		{"readmodifywriteproportion", workloads.ReadModifyWrite, 0}, {"deleteproportion", workloads.Delete, 0}}
	sum := 0.0
	for _, p := range weights {
		w.Mix[p.op] = y.number(p.key, p.standard)
		sum += w.Mix[p.op]
	}
	for op := range w.Mix {
		w.Mix[op] = math.Round(w.Mix[op]/max(sum, 1e-9)*1e10) / 1e8
	}
	if w.Mix[workloads.Update]+w.Mix[workloads.ReadModifyWrite] > 0 && y.value("writeallfields", "false") != "true" {
		y.note("writeallfields", Close, "YCSB writes one field of the record; here the whole record is written")
	}
	if y.value("readallfields", "true") != "true" {
		y.note("readallfields", Close, "YCSB reads one field; here the whole record is read")
	}
	if w.Mix[workloads.ReadModifyWrite] > 0 {
		y.note("readmodifywriteproportion", Close, "timed as one operation; YCSB also counts its two parts under READ and UPDATE")
	}
}

func (y *ycsb) keys(w *workloads.Workload) {
	w.Keys.Exponent = 0.99
	switch d := y.value("requestdistribution", "uniform"); d {
	case "zipfian":
		w.Keys.Distribution = keys.YCSBZipfian
	case "uniform", "latest", "sequential":
		w.Keys.Distribution = d
	case "hotspot":
		w.Keys.Distribution = d
		w.Keys.HotFraction, w.Keys.HotShare = y.number("hotspotdatafraction", 0.2), y.number("hotspotopnfraction", 0.8)
		y.note("requestdistribution", Close, "the hot keys are spread over all instead of being the first ones")
	case "exponential":
		w.Keys.Distribution = d
		w.Keys.Percentile, w.Keys.Fraction = y.number("exponential.percentile", 95), y.number("exponential.frac", 0.8571428571)
	default:
		y.err = fmt.Errorf("%s:%d: requestdistribution: %q is none of uniform, zipfian, latest, hotspot, sequential, exponential", y.file,
			y.props["requestdistribution"].line, d)
	}
	if w.Keys.Distribution == "latest" {
		y.note("requestdistribution", Close, "YCSB approximates the zipfian of latest (its third rank is 17 %% too hot); here it is exact")
	}
}

func (y *ycsb) sizes(w *workloads.Workload) {
	fields, length := y.number("fieldcount", 10), y.number("fieldlength", 100)
	least := y.number("minfieldlength", 1)
	w.ValueSize = workloads.FixedSize(units.Bytes(fields * length))
	y.note("fieldcount", Close, "the %v fields of %v bytes are one value of %v", fields, length, units.Bytes(fields*length))
	switch d := y.value("fieldlengthdistribution", "constant"); d {
	case "constant":
	case "uniform":
		size, err := workloads.ParseSize(fmt.Sprintf("uniform(%.0fB..%.0fB)", fields*least, fields*length))
		if err != nil && y.err == nil {
			y.err = err
		}
		w.ValueSize = size
		if fields > 1 {
			y.note("fieldlengthdistribution", Close, "the sum of %v uniform lengths is taken as uniform, too: same mean, more spread", fields)
		}
	default:
		y.note("fieldlengthdistribution", Dropped, "%s: the largest size is used for all; see histogram(…) and log-normal(…) of value-size", d)
	}
}

func (y *ycsb) scans(w *workloads.Workload) {
	w.ScanLength = int(min(y.number("maxscanlength", 1000), workloads.MaxScanLength))
	if y.number("minscanlength", 1) != 1 {
		y.note("minscanlength", Close, "lengths are uniform from 1")
	}
	if d := y.value("scanlengthdistribution", "uniform"); d != "uniform" {
		y.note("scanlengthdistribution", Close, "%s: lengths are uniform", d)
	}
	y.note("scanproportion", Close, "a scan reads records in the target's own order, not by key")
}

// flags names what belongs to the command line of a run.
func (y *ycsb) flags() {
	threads, target := y.number("threadcount", 1), y.number("target", 0)
	if target > 0 {
		y.note("target", Flag, "--rate %.0f/s: arrivals then do not wait for answers, as YCSB's do", target)
	}
	if y.given("threadcount") {
		y.note("threadcount", Flag, "--closed %.0f for the same closed loop, instead of --rate", threads)
	}
	if s := y.number("maxexecutiontime", 0); s > 0 {
		y.note("maxexecutiontime", Flag, "--duration %.0fs", s)
	}
	if s := y.number("warmuptime", 0); s > 0 {
		y.note("warmuptime", Flag, "--warmup %.0fs", s)
	}
	if y.given("operationcount") {
		y.value("operationcount", "")
		y.note("operationcount", Dropped, "a run ends by time: --duration")
	}
}

// reasonOf says why a property has no counterpart.
func reasonOf(key string) string {
	switch {
	case strings.HasPrefix(key, "measurement") || strings.HasPrefix(key, "hdrhistogram") || strings.HasPrefix(key, "histogram") ||
		key == "exporter" || key == "exportfile" || strings.HasPrefix(key, "status.") || strings.HasPrefix(key, "timeseries"):
		return "a run always records HdrHistograms of response, service and lateness, and writes a run folder"
	case key == "dataintegrity":
		return "values always carry key, sequence and checksum, and are always checked (--audit=false switches it off)"
	case key == "insertorder" || key == "zeropadding" || key == "keyprefix":
		return "keys are numbers; the cluster spreads them by digest"
	case key == "table" || key == "fieldnameprefix":
		return "records have one bin, in the set of no name"
	case strings.HasPrefix(key, "insert") || strings.HasPrefix(key, "core_workload_insertion"):
		return "all records are loaded, retried until they are in"
	case key == "dotransactions":
		return "a run loads, then measures"
	}
	return "no property of YCSB's CoreWorkload that this program knows"
}

// parseProperties reads Java's format: key=value, key: value or key value,
// comments with # or !, continuation with a backslash.
func parseProperties(file string, text []byte) (list []property, err error) {
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		at, line := i+1, strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimLeft(lines[i], " \t\f")
		}
		cut := strings.IndexAny(line, "=: \t")
		if cut <= 0 {
			return nil, fmt.Errorf("%s:%d: %.60q is not key=value", file, at, line)
		}
		value := strings.TrimLeft(line[cut:], " \t")
		if value != "" && (value[0] == '=' || value[0] == ':') {
			value = value[1:]
		}
		list = append(list, property{at, line[:cut], strings.TrimSpace(value)})
	}
	return list, nil
}
