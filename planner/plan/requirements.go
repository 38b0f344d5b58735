// Package plan computes the fewest servers for stated requirements, and why
// not one fewer. It owns the requirements file, the states a cluster can be
// in and what each resource carries in them, the search over machine types,
// copies and racks, the Monte-Carlo over uncertain inputs, and the plan file.
// How fast machines are is package model's, which machines there are package
// catalog's; where partitions lie is asked of node/partition itself.
//
// The invariant to know: a candidate is feasible when, in every state, every
// resource's utilisation is at most 1, where 1 is the limit that the
// requirements state, not the machine's end. The same code judges n, n-1 and
// each draw.
//
// Start reading at Make in search.go, then states.go and load.go.
package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/planner/model"
)

// Requirements are what a cluster must do and survive. Parse, Load and
// Defaults give valid ones; Set changes one key.
type Requirements struct {
	Name       string
	Namespaces []Namespace
	Redundancy Redundancy
	Targets    Targets
	Limits     Limits
	XDR        XDR

	Catalogs []string // files or shipped names; empty: catalog.Default
	Types    []string // patterns of type names; empty: all

	Budget      model.Triple // USD per hour, 0: none
	Horizon     float64      // months of growth that the plan must carry
	Probability float64      // that the plan must be feasible with
	Draws       int          // of the Monte-Carlo
	Seed        uint64
	MaxNodes    int
}

// Namespace is the data and the load of one namespace. Rates are per second
// and averages: PeakFactor times as much must be carried.
type Namespace struct {
	Name      string
	Flash     bool // records on devices, else in memory
	CommitAll bool // a write waits for all copies
	SyncWrite bool // and for the device (commit-to-device)

	Records    model.Triple
	InsertRate model.Triple // with TTL: another way to say Records, and writes
	TTL        model.Triple // seconds
	ValueBytes model.Triple
	ValueSizes []SizeShare // a distribution instead of ValueBytes
	Bins       model.Triple
	BinName    model.Triple // bytes of a bin's name
	SetName    model.Triple
	Key        model.Triple // bytes of a stored key

	Reads      model.Triple
	Writes     model.Triple // whole records
	Updates    model.Triple // a part of a record: read and write
	Deletes    model.Triple
	PeakFactor model.Triple
	Growth     model.Triple // per month, 0.03 is 3 %, of records and rates
	Zipf       model.Triple // exponent of the popularity of keys, 0: uniform
}

// SizeShare is one class of a distribution of value sizes.
type SizeShare struct {
	Bytes float64
	Share float64 // of the records; shares sum to 1
}

// Redundancy says what must be survived.
type Redundancy struct {
	Copies    []int // replication factors to try
	Strong    bool  // strong consistency: on paper
	FailNodes int
	FailRacks int
	Racks     []int // numbers of racks to try, 1: no racks
	Sites     int
	NodeMTTF  model.Triple // seconds
	RackMTTF  model.Triple // seconds, 0: racks do not fail
	Downtime  model.Triple // seconds that a failed node is away
}

// Targets are what must hold; zero: no target. Times are in seconds.
type Targets struct {
	ReadP99, WriteP99                 float64 // healthy
	DegradedReadP99, DegradedWriteP99 float64 // in every other state; 0: as healthy
	Rebuild                           float64 // full redundancy after a loss
	Durability                        float64 // nines of a year without loss of a partition
	Unavailable                       float64 // of a year, per partition
}

// Limits are the shares of each resource that may be used.
type Limits struct {
	Memory        model.Triple
	MemoryReserve model.Triple // bytes for the system
	Device        model.Triple // 0: chosen with the low-water mark
	IOPS          model.Triple
	Bandwidth     model.Triple
	CPU           model.Triple
	Network       model.Triple
	DWPD          model.Triple // drive writes per day, where the catalog has no rating
}

// XDR is shipping to other clusters, which this cluster cannot do yet.
type XDR struct {
	Targets int
	Link    model.Triple // bytes per second
	Outage  model.Triple // seconds of a lost link to be caught up with
}

// maxNamespaces bounds namespaces as the node does.
const maxNamespaces = 32

// Defaults are the requirements that every file starts from.
func Defaults() Requirements {
	return Requirements{
		Redundancy: Redundancy{Copies: []int{2}, FailNodes: 1, Racks: []int{1}, Sites: 1,
			NodeMTTF: model.Point(4 * 8766 * 3600), Downtime: model.Point(3600)},
		Limits: Limits{
			// The conservative set to begin with: a third to two fifths of each
			// resource is left for what the averages hide.
			Memory: model.Point(0.7), MemoryReserve: model.Point(4 << 30), IOPS: model.Point(0.6), Bandwidth: model.Point(0.6),
			CPU: model.Point(0.6), Network: model.Point(0.6), DWPD: model.Point(1),
		},
		Probability: 0.9, Draws: 2000, Seed: 1, MaxNodes: cluster.MaxMembers,
	}
}

func namespaceDefaults() Namespace {
	return Namespace{CommitAll: true, ValueBytes: model.Point(100), Bins: model.Point(1), BinName: model.Point(2), PeakFactor: model.Point(1)}
}

// maxCopies is the node's greatest replication factor.
const maxCopies = 16

// Validate reports the first thing that makes the requirements unusable,
// beginning with its key.
func (r *Requirements) Validate() error {
	if len(r.Namespaces) == 0 {
		return errors.New("namespaces: none, want at least one, \"- name: …\"")
	}
	if len(r.Namespaces) > maxNamespaces {
		return fmt.Errorf("namespaces: %d, want at most %d", len(r.Namespaces), maxNamespaces)
	}
	for i := range r.Namespaces {
		n := &r.Namespaces[i]
		if err := n.validate(); err != nil {
			return fmt.Errorf("namespace %q: %w", n.Name, err)
		}
		if slices.ContainsFunc(r.Namespaces[:i], func(o Namespace) bool { return o.Name == n.Name }) {
			return fmt.Errorf("namespace %q: named twice", n.Name)
		}
	}
	if err := r.checkNumbers(); err != nil {
		return err
	}
	return r.Redundancy.validate(r.MaxNodes)
}

func (d *Redundancy) validate(maxNodes int) error {
	if len(d.Copies) == 0 || len(d.Racks) == 0 {
		return errors.New("redundancy: replication-factor and racks want at least one number each")
	}
	for _, rf := range d.Copies {
		if rf < 1 || rf > maxCopies {
			return fmt.Errorf("redundancy.replication-factor: %d, want 1 to %d", rf, maxCopies)
		}
		if rf > maxNodes {
			return fmt.Errorf("redundancy.replication-factor: %d copies, but max-nodes is %d: each copy needs a node of its own", rf, maxNodes)
		}
	}
	for _, racks := range d.Racks {
		if racks < 1 || racks > maxNodes {
			return fmt.Errorf("redundancy.racks: %d, want 1 to max-nodes (%d)", racks, maxNodes)
		}
	}
	switch {
	case d.FailNodes < 0 || d.FailNodes >= maxNodes:
		return fmt.Errorf("redundancy.fail-nodes: %d, want 0 to below max-nodes (%d): a cluster that may lose all nodes serves nothing", d.FailNodes, maxNodes)
	case d.FailNodes > maxFailures:
		return fmt.Errorf("redundancy.fail-nodes: %d, want at most %d", d.FailNodes, maxFailures)
	case d.FailRacks < 0 || d.FailRacks >= slices.Max(d.Racks):
		return fmt.Errorf("redundancy.fail-racks: %d of %d racks: want fewer than there are; set redundancy.racks", d.FailRacks, slices.Max(d.Racks))
	case d.Sites < 1:
		return fmt.Errorf("redundancy.sites: %d, want at least 1", d.Sites)
	}
	return nil
}

// maxFailures bounds simultaneous failures: a placement is computed for each
// number up to it.
const maxFailures = 8

func (n *Namespace) validate() error {
	switch {
	case n.Name == "" || len(n.Name) > record.MaxNamespace:
		return fmt.Errorf("name: %w", record.ErrNamespace)
	case n.Records.P90 > 0 && n.InsertRate.P90 > 0:
		return errors.New("records and insert-rate: give one of them; insert-rate times ttl is the number of records")
	case n.InsertRate.P90 > 0 && n.TTL.P10 <= 0:
		return errors.New("insert-rate: want a ttl as well; without one the records grow for ever")
	case n.Records.P90 <= 0 && n.InsertRate.P90 <= 0:
		return errors.New("records: missing, want a number of records, or insert-rate and ttl")
	case n.SyncWrite && !n.Flash:
		return errors.New("commit-to-device: the namespace is in memory; set storage: flash")
	case n.PeakFactor.P10 < 1:
		return fmt.Errorf("peak-factor: %v, want at least 1: rates are averages", n.PeakFactor)
	case n.ValueBytes.P10 < 1 && len(n.ValueSizes) == 0:
		return fmt.Errorf("value-size: %v bytes, want at least 1", n.ValueBytes)
	}
	for _, size := range n.sizes(func(t *model.Triple) float64 { return t.P90 }) {
		if _, err := n.shape(size.Bytes, func(t *model.Triple) float64 { return t.P90 }).BodyBytes(); err != nil {
			return fmt.Errorf("a record with a value of %.0f bytes: %w", size.Bytes, err)
		}
	}
	return nil
}

// pick resolves an uncertain number.
type pick func(*model.Triple) float64

// sizes is the distribution of value sizes.
func (n *Namespace) sizes(at pick) []SizeShare {
	if len(n.ValueSizes) > 0 {
		return n.ValueSizes
	}
	return []SizeShare{{at(&n.ValueBytes), 1}}
}

func (n *Namespace) shape(value float64, at pick) model.Record {
	return model.Record{Value: int(value + 0.5), Bins: int(at(&n.Bins) + 0.5), BinName: int(at(&n.BinName) + 0.5),
		Set: int(at(&n.SetName) + 0.5), Key: int(at(&n.Key) + 0.5)}
}

// checkNumbers checks every number against the range of its field.
func (r *Requirements) checkNumbers() error {
	check := func(name string, f *number, t model.Triple) error {
		if err := t.Check(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if t.P10 < f.least || t.P90 > f.most {
			return fmt.Errorf("%s: %v, want %s to %s", name, t, f.kind.print(f.least), f.kind.print(f.most))
		}
		return nil
	}
	for _, f := range topFields {
		if f.num != nil {
			if err := check(f.name, &f.number, *f.num(r)); err != nil {
				return err
			}
		}
	}
	for i := range r.Namespaces {
		for _, f := range namespaceFields {
			if f.num != nil {
				if err := check(r.Namespaces[i].Name+"."+f.name, &f.number, *f.num(&r.Namespaces[i])); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Uncertain lists the numbers that are not points, in the order of the file.
// The pointers are into r.
func (r *Requirements) Uncertain() []model.Named {
	var list []model.Named
	for i := range r.Namespaces {
		for _, f := range namespaceFields {
			if f.num != nil && f.num(&r.Namespaces[i]).Uncertain() {
				list = append(list, model.Named{Name: r.Namespaces[i].Name + "." + f.name, Value: f.num(&r.Namespaces[i])})
			}
		}
	}
	for _, f := range topFields {
		if f.num != nil && f.num(r).Uncertain() {
			list = append(list, model.Named{Name: f.name, Value: f.num(r)})
		}
	}
	return list
}

// Clone returns a copy that shares nothing.
func (r *Requirements) Clone() *Requirements {
	c := *r
	c.Namespaces = slices.Clone(r.Namespaces)
	for i := range c.Namespaces {
		c.Namespaces[i].ValueSizes = slices.Clone(c.Namespaces[i].ValueSizes)
	}
	c.Redundancy.Copies, c.Redundancy.Racks = slices.Clone(r.Redundancy.Copies), slices.Clone(r.Redundancy.Racks)
	c.Catalogs, c.Types = slices.Clone(r.Catalogs), slices.Clone(r.Types)
	return &c
}

// Set changes keys, each KEY=VALUE as --set gives them: a top-level key in its
// dotted form (redundancy.fail-nodes), NAMESPACE.KEY, or a namespace's key alone
// where there is one namespace. Then it validates the whole: racks and how many
// may fail may come in any order.
func (r *Requirements) Set(list ...string) error {
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("--set %q: want KEY=VALUE", s)
		}
		if err := r.set(key, value); err != nil {
			return fmt.Errorf("--set %s: %w", s, err)
		}
	}
	if err := r.Validate(); err != nil {
		return fmt.Errorf("--set %s: %w", strings.Join(list, " --set "), err)
	}
	return nil
}

func (r *Requirements) set(key, value string) error {
	for _, f := range topFields {
		if f.name == key {
			if err := f.setText(r, value); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
	}
	for i := range r.Namespaces {
		n := &r.Namespaces[i]
		rest, named := strings.CutPrefix(key, n.Name+".")
		if !named && len(r.Namespaces) > 1 {
			continue
		}
		for _, f := range namespaceFields {
			if f.name == rest {
				if err := f.setText(n, value); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("unknown key %q%s", key, r.hint(key))
}
