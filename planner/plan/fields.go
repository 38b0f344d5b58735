package plan

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"headroom/planner/model"
	"headroom/workloads/strict"
	"headroom/workloads/units"
)

// kind is how a number is written.
type kind uint8

const (
	plain    kind = iota // 1.5
	count                // 100M
	rate                 // 200k/s
	size                 // 1KiB
	seconds              // 30m, 4y
	fraction             // 5% or 0.05
	bitrate              // 10Gbps, kept in bytes per second
)

const secondsPerYear = model.HoursPerYear * 3600

// parse reads one number.
func (k kind) parse(s string) (float64, error) {
	s = strings.TrimSpace(s)
	switch k {
	case count:
		n, err := units.ParseCount(s)
		return float64(n), err
	case rate:
		if z := strings.TrimSuffix(s, "/s"); z == "0" {
			return 0, nil
		}
		v, err := units.ParseRate(s)
		return float64(v), err
	case size:
		b, err := units.ParseBytes(s)
		return float64(b), err
	case seconds:
		if years, ok := strings.CutSuffix(s, "y"); ok {
			if v, err := strconv.ParseFloat(years, 64); err == nil && v >= 0 && v <= 1e6 {
				return v * secondsPerYear, nil
			}
		}
		d, err := units.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("duration %q: want a number with a unit, such as 2ms, 30m, 10d or 4y", s)
		}
		return d.Seconds(), nil
	case bitrate:
		for unit, factor := range map[string]float64{"Gbps": 1e9 / 8, "Mbps": 1e6 / 8} {
			if n, ok := strings.CutSuffix(s, unit); ok {
				if v, err := strconv.ParseFloat(strings.TrimSpace(n), 64); err == nil && v >= 0 && v < 1e6 {
					return v * factor, nil
				}
			}
		}
		return 0, fmt.Errorf("link %q: want a number with a unit, such as 500Mbps or 10Gbps", s)
	case fraction:
		n, percent := strings.CutSuffix(s, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("share %q: want 5%% or 0.05", s)
		}
		if percent {
			v /= 100
		}
		return v, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return v, nil
}

// print gives a text that parse reads back exactly.
func (k kind) print(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	switch k {
	case rate:
		return text + "/s"
	case size:
		return text + "B"
	case seconds:
		if v >= 1e9 {
			return strconv.FormatFloat(v/secondsPerYear, 'f', -1, 64) + "y"
		}
		return text + "s"
	case bitrate:
		return strconv.FormatFloat(v*8/1e9, 'f', -1, 64) + "Gbps"
	}
	return text
}

// short gives a bound for people.
func (k kind) short(v float64) string {
	if k == size {
		return units.Bytes(v).Human()
	}
	return k.print(v)
}

// triple reads a number, or three with commas: p10, p50, p90.
func (k kind) triple(s string) (model.Triple, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 1 && len(parts) != 3 {
		return model.Triple{}, fmt.Errorf("%q: want one number, or three: p10, p50, p90", s)
	}
	var v [3]float64
	for i := range v {
		n, err := k.parse(parts[min(i, len(parts)-1)])
		if err != nil {
			return model.Triple{}, err
		}
		v[i] = n
	}
	t := model.Triple{P10: v[0], P50: v[1], P90: v[2]}
	if t.Check() != nil {
		return t, fmt.Errorf("%q: want numbers of at least 0, and of three p10 <= p50 <= p90", s)
	}
	return t, nil
}

// number is the form and range of a numeric field.
type number struct {
	kind        kind
	least, most float64
}

// field is one key of the requirements: a number with percentiles (num), or a
// text with its own form (get and set).
type field[T any] struct {
	name string
	number
	num func(*T) *model.Triple
	get func(*T) string
	set func(*T, string) error
}

// setText sets the field from its text.
func (f *field[T]) setText(to *T, s string) error {
	if f.num == nil {
		return f.set(to, s)
	}
	t, err := f.kind.triple(s)
	if err != nil {
		return err
	}
	if t.P10 < f.least || t.P90 > f.most {
		return fmt.Errorf("%s: want %s to %s", s, f.kind.short(f.least), f.kind.short(f.most))
	}
	*f.num(to) = t
	return nil
}

// value is the field for JSON: a text that setText reads, or three.
func (f *field[T]) value(of *T) any {
	if f.num == nil {
		return f.get(of)
	}
	t := f.num(of)
	if !t.Uncertain() {
		return f.kind.print(t.P50)
	}
	return []string{f.kind.print(t.P10), f.kind.print(t.P50), f.kind.print(t.P90)}
}

var namespaceFields = []field[Namespace]{
	{name: "storage", get: func(n *Namespace) string { return either(n.Flash, "flash", "dram") }, set: func(n *Namespace, s string) error {
		return choose(&n.Flash, s, "dram", "flash")
	}},
	{name: "commit", get: func(n *Namespace) string { return either(n.CommitAll, "all", "master") }, set: func(n *Namespace, s string) error {
		return choose(&n.CommitAll, s, "master", "all")
	}},
	{name: "commit-to-device", get: func(n *Namespace) string { return either(n.SyncWrite, "true", "false") }, set: func(n *Namespace, s string) error {
		return choose(&n.SyncWrite, s, "false", "true")
	}},
	{name: "records", number: number{count, 0, 1e13}, num: func(n *Namespace) *model.Triple { return &n.Records }},
	{name: "insert-rate", number: number{rate, 0, 1e9}, num: func(n *Namespace) *model.Triple { return &n.InsertRate }},
	{name: "ttl", number: number{seconds, 0, 100 * secondsPerYear}, num: func(n *Namespace) *model.Triple { return &n.TTL }},
	{name: "value-size", number: number{size, 1, 1e15}, num: func(n *Namespace) *model.Triple { return &n.ValueBytes }},
	{name: "value-sizes", get: printSizes, set: parseSizes},
	{name: "bins", number: number{count, 1, 1e6}, num: func(n *Namespace) *model.Triple { return &n.Bins }},
	{name: "bin-name-bytes", number: number{count, 1, 1e6}, num: func(n *Namespace) *model.Triple { return &n.BinName }},
	{name: "set-bytes", number: number{count, 0, 1e6}, num: func(n *Namespace) *model.Triple { return &n.SetName }},
	{name: "key-bytes", number: number{count, 0, 1e6}, num: func(n *Namespace) *model.Triple { return &n.Key }},
	{name: "reads", number: number{rate, 0, 1e10}, num: func(n *Namespace) *model.Triple { return &n.Reads }},
	{name: "writes", number: number{rate, 0, 1e10}, num: func(n *Namespace) *model.Triple { return &n.Writes }},
	{name: "updates", number: number{rate, 0, 1e10}, num: func(n *Namespace) *model.Triple { return &n.Updates }},
	{name: "deletes", number: number{rate, 0, 1e10}, num: func(n *Namespace) *model.Triple { return &n.Deletes }},
	{name: "peak-factor", number: number{plain, 1, 1000}, num: func(n *Namespace) *model.Triple { return &n.PeakFactor }},
	{name: "growth-per-month", number: number{fraction, 0, 10}, num: func(n *Namespace) *model.Triple { return &n.Growth }},
	{name: "zipf", number: number{plain, 0, 3}, num: func(n *Namespace) *model.Triple { return &n.Zipf }},
}

var topFields = []field[Requirements]{
	{name: "name", get: func(r *Requirements) string { return r.Name }, set: func(r *Requirements, s string) error {
		if len(s) > 100 {
			return fmt.Errorf("%d characters, want at most 100", len(s))
		}
		r.Name = s
		return nil
	}},
	{name: "redundancy.replication-factor", get: func(r *Requirements) string { return printInts(r.Redundancy.Copies) }, set: func(r *Requirements, s string) (err error) {
		if s == "choose" {
			s = "1,2,3,4"
		}
		r.Redundancy.Copies, err = parseInts(s)
		return err
	}},
	{name: "redundancy.mode", get: func(r *Requirements) string { return either(r.Redundancy.Strong, "sc", "ap") }, set: func(r *Requirements, s string) error {
		return choose(&r.Redundancy.Strong, s, "ap", "sc")
	}},
	whole("redundancy.fail-nodes", func(r *Requirements) *int { return &r.Redundancy.FailNodes }),
	whole("redundancy.fail-racks", func(r *Requirements) *int { return &r.Redundancy.FailRacks }),
	{name: "redundancy.racks", get: func(r *Requirements) string { return printInts(r.Redundancy.Racks) }, set: func(r *Requirements, s string) (err error) {
		r.Redundancy.Racks, err = parseInts(s)
		return err
	}},
	whole("redundancy.sites", func(r *Requirements) *int { return &r.Redundancy.Sites }),
	{name: "redundancy.node-mttf", number: number{seconds, 3600, 1e6 * secondsPerYear}, num: func(r *Requirements) *model.Triple { return &r.Redundancy.NodeMTTF }},
	{name: "redundancy.rack-mttf", number: number{seconds, 0, 1e6 * secondsPerYear}, num: func(r *Requirements) *model.Triple { return &r.Redundancy.RackMTTF }},
	{name: "redundancy.node-downtime", number: number{seconds, 0, secondsPerYear}, num: func(r *Requirements) *model.Triple { return &r.Redundancy.Downtime }},

	single("targets.read-p99", seconds, 3600, func(r *Requirements) *float64 { return &r.Targets.ReadP99 }),
	single("targets.write-p99", seconds, 3600, func(r *Requirements) *float64 { return &r.Targets.WriteP99 }),
	single("targets.degraded-read-p99", seconds, 3600, func(r *Requirements) *float64 { return &r.Targets.DegradedReadP99 }),
	single("targets.degraded-write-p99", seconds, 3600, func(r *Requirements) *float64 { return &r.Targets.DegradedWriteP99 }),
	single("targets.rebuild", seconds, secondsPerYear, func(r *Requirements) *float64 { return &r.Targets.Rebuild }),
	single("targets.durability-nines", plain, 30, func(r *Requirements) *float64 { return &r.Targets.Durability }),
	single("targets.unavailable-per-year", seconds, secondsPerYear, func(r *Requirements) *float64 { return &r.Targets.Unavailable }),

	{name: "limits.memory", number: number{fraction, 0.01, 1}, num: func(r *Requirements) *model.Triple { return &r.Limits.Memory }},
	{name: "limits.memory-reserve", number: number{size, 0, 1e13}, num: func(r *Requirements) *model.Triple { return &r.Limits.MemoryReserve }},
	{name: "limits.device", number: number{fraction, 0, 1}, num: func(r *Requirements) *model.Triple { return &r.Limits.Device }},
	{name: "limits.device-iops", number: number{fraction, 0.01, 1}, num: func(r *Requirements) *model.Triple { return &r.Limits.IOPS }},
	{name: "limits.device-bandwidth", number: number{fraction, 0.01, 1}, num: func(r *Requirements) *model.Triple { return &r.Limits.Bandwidth }},
	{name: "limits.cpu", number: number{fraction, 0.01, 1}, num: func(r *Requirements) *model.Triple { return &r.Limits.CPU }},
	{name: "limits.network", number: number{fraction, 0.01, 1}, num: func(r *Requirements) *model.Triple { return &r.Limits.Network }},
	{name: "limits.drive-writes-per-day", number: number{plain, 0.01, 1000}, num: func(r *Requirements) *model.Triple { return &r.Limits.DWPD }},

	whole("xdr.targets", func(r *Requirements) *int { return &r.XDR.Targets }),
	{name: "xdr.link", number: number{bitrate, 0, 1e12}, num: func(r *Requirements) *model.Triple { return &r.XDR.Link }},
	{name: "xdr.outage", number: number{seconds, 0, secondsPerYear}, num: func(r *Requirements) *model.Triple { return &r.XDR.Outage }},

	wordList("catalog.files", func(r *Requirements) *[]string { return &r.Catalogs }),
	wordList("catalog.types", func(r *Requirements) *[]string { return &r.Types }),
	{name: "budget-usd-per-hour", number: number{plain, 0, 1e9}, num: func(r *Requirements) *model.Triple { return &r.Budget }},
	single("horizon-months", plain, 600, func(r *Requirements) *float64 { return &r.Horizon }),
	single("probability", fraction, 0.999, func(r *Requirements) *float64 { return &r.Probability }),
	bounded("draws", 100, 100_000, func(r *Requirements) *int { return &r.Draws }),
	{name: "seed", get: func(r *Requirements) string { return strconv.FormatUint(r.Seed, 10) }, set: func(r *Requirements, s string) (err error) {
		if r.Seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			err = fmt.Errorf("%q: want a whole number", s)
		}
		return err
	}},
	bounded("max-nodes", 1, MaxNodes, func(r *Requirements) *int { return &r.MaxNodes }),
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// choose sets to for one of two words.
func choose(to *bool, s, no, yes string) error {
	if s != no && s != yes {
		return fmt.Errorf("%q: want %s or %s", s, no, yes)
	}
	*to = s == yes
	return nil
}

func whole(name string, at func(*Requirements) *int) field[Requirements] {
	return bounded(name, 0, MaxNodes, at)
}

func bounded(name string, least, most int, at func(*Requirements) *int) field[Requirements] {
	return field[Requirements]{name: name, get: func(r *Requirements) string { return strconv.Itoa(*at(r)) }, set: func(r *Requirements, s string) error {
		n, err := units.ParseCount(s)
		if err != nil || n < int64(least) || n > int64(most) {
			return fmt.Errorf("%q: want a whole number of %d to %d", s, least, most)
		}
		*at(r) = int(n)
		return nil
	}}
}

// single is a number without percentiles: a target is a decision.
func single(name string, k kind, most float64, at func(*Requirements) *float64) field[Requirements] {
	return field[Requirements]{name: name, get: func(r *Requirements) string { return k.print(*at(r)) }, set: func(r *Requirements, s string) error {
		v, err := k.parse(s)
		if err != nil {
			return err
		}
		if v < 0 || v > most {
			return fmt.Errorf("%s: want 0 to %s", s, k.print(most))
		}
		*at(r) = v
		return nil
	}}
}

func wordList(name string, at func(*Requirements) *[]string) field[Requirements] {
	return field[Requirements]{name: name, get: func(r *Requirements) string { return strings.Join(*at(r), ",") }, set: func(r *Requirements, s string) error {
		*at(r) = nil
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				*at(r) = append(*at(r), w)
			}
		}
		return nil
	}}
}

func parseInts(s string) ([]int, error) {
	var list []int
	for w := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil || n < 1 || n > MaxNodes || len(list) == 16 {
			return nil, fmt.Errorf("%q: want numbers of at least 1, such as 2 or 2,3", s)
		}
		list = append(list, n)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func printInts(list []int) string {
	var b []string
	for _, n := range list {
		b = append(b, strconv.Itoa(n))
	}
	return strings.Join(b, ",")
}

// maxSizes bounds a distribution of value sizes.
const maxSizes = 64

// parseSizes reads "100B:60,1KiB:40": sizes and their shares of the records,
// which need not sum to 100.
func parseSizes(n *Namespace, s string) error {
	var list []SizeShare
	sum := 0.0
	if s == "" {
		n.ValueSizes = nil
		return nil
	}
	for part := range strings.SplitSeq(s, ",") {
		bytes, share, ok := strings.Cut(part, ":")
		v, err := size.parse(bytes)
		if !ok || err != nil {
			return fmt.Errorf("%q: want SIZE:SHARE,…, such as 100B:60,1KiB:40", s)
		}
		w, err := fraction.parse(share)
		if err != nil || w < 0 || v < 1 || len(list) == maxSizes {
			return fmt.Errorf("%q: want at most %d sizes of at least 1 byte with shares of at least 0", part, maxSizes)
		}
		list, sum = append(list, SizeShare{v, w}), sum+w
	}
	if sum <= 0 {
		return fmt.Errorf("%q: the shares sum to 0", s)
	}
	for i := range list {
		list[i].Share /= sum
	}
	n.ValueSizes = list
	return nil
}

func printSizes(n *Namespace) string {
	var b []string
	for _, s := range n.ValueSizes {
		b = append(b, size.print(s.Bytes)+":"+fraction.print(s.Share))
	}
	return strings.Join(b, ",")
}

// hint names the nearest key.
func (r *Requirements) hint(key string) string {
	var all []string
	for _, f := range topFields {
		all = append(all, f.name)
	}
	for _, f := range namespaceFields {
		var named []string
		for i := range r.Namespaces {
			named = append(named, r.Namespaces[i].Name+"."+f.name)
		}
		if f.name == key {
			return fmt.Sprintf(", say of which namespace: %s", strings.Join(named, " or "))
		}
		all = append(append(all, f.name), named...)
	}
	if n := strict.Nearest(key, all); n != "" {
		return fmt.Sprintf(", did you mean %q?", n)
	}
	return "; headroom-planner example every-key prints all keys"
}
