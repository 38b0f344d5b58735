package client

import (
	"errors"
	"fmt"
	"net"
	"time"

	"headroom/node/record"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// Defaults of Config.
const (
	DefaultNamespace   = "default"
	DefaultTimeout     = 2 * time.Second
	DefaultDialTimeout = 10 * time.Second
	// DefaultMaxInFlight bounds the requests in flight on one connection: 16 Ki
	// requests of 100 bytes are 2 MiB, a quarter of the send buffer.
	DefaultMaxInFlight = 16 << 10
)

// maxSeeds bounds the seeds that are dialed side by side.
const maxSeeds = 32

// Config says which cluster to talk to and how. Only Seeds is required.
type Config struct {
	// Seeds are addresses, "host:port", of some members. One that answers is
	// enough: it names all others.
	Seeds []string
	// Credentials is a directory made by `headroom-node certs client` (a
	// node's own also serves). Empty with neither Identity nor Insecure set is
	// an error.
	Credentials string
	// Identity is used instead of Credentials when its Roots are set.
	Identity certs.Credentials
	// Insecure believes every node without proof. Only for trusted networks
	// and nodes that were started the same way.
	Insecure bool
	// Name appears in the nodes' logs and status. Empty means "client".
	Name string
	// Namespace of calls that do not name another. Empty means
	// DefaultNamespace.
	Namespace string
	// Timeout bounds a call whose context has no earlier deadline. Zero means
	// DefaultTimeout.
	Timeout time.Duration
	// DialTimeout bounds Dial if its context has no earlier deadline. Zero
	// means DefaultDialTimeout.
	DialTimeout time.Duration
	// MaxInFlight bounds the requests in flight on one connection; beyond it
	// Submit gives ErrBusy. Zero means DefaultMaxInFlight.
	MaxInFlight int
	// PacketConn replaces the UDP socket, for simulated networks. The Client
	// closes it.
	PacketConn net.PacketConn
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "client"
	}
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	return c
}

// Validate reports the first field that makes no sense.
func (c *Config) Validate() error {
	switch {
	case len(c.Seeds) == 0:
		return errors.New("client: Config.Seeds is empty, name at least one node as host:port")
	case len(c.Seeds) > maxSeeds:
		return fmt.Errorf("client: %d seeds, want at most %d", len(c.Seeds), maxSeeds)
	case len(c.Name) > wire.MaxName:
		return fmt.Errorf("client: name of %d bytes, want at most %d", len(c.Name), wire.MaxName)
	case c.Timeout < 0 || c.DialTimeout < 0:
		return errors.New("client: timeouts must not be negative")
	case c.MaxInFlight < 0 || c.MaxInFlight > 1<<20:
		return fmt.Errorf("client: MaxInFlight %d, want 1 to %d", c.MaxInFlight, 1<<20)
	}
	return nil
}

// Option changes one call.
type Option func(*callOptions)

type callOptions struct {
	namespace  string
	ttl        uint32
	checkGen   bool
	generation uint16
	storeKey   bool
	first, n   int // partitions of a scan
	limit      int // records of a scan, zero for all
	stages     *Stages
}

// WithTTL lets the record expire d after the write, rounded up to seconds.
// Zero or less never expires. Without this option a write takes the
// namespace's default.
func WithTTL(d time.Duration) Option {
	return func(o *callOptions) { o.ttl = ttlSeconds(d) }
}

// WithKeptTTL leaves the record's expiry as it is.
func WithKeptTTL() Option { return func(o *callOptions) { o.ttl = wire.TTLKeep } }

// WithGeneration applies the write only if the record's generation is gen;
// zero only if there is no record. Else the call gives ErrGeneration. Such a
// write is never sent twice.
func WithGeneration(gen uint16) Option {
	return func(o *callOptions) { o.checkGen, o.generation = true, gen }
}

// WithNamespace uses another namespace than Config.Namespace.
func WithNamespace(name string) Option { return func(o *callOptions) { o.namespace = name } }

// WithStoredKey stores the key in the record, so that a scan gives it back.
// It costs the key's size per record.
func WithStoredKey() Option { return func(o *callOptions) { o.storeKey = true } }

// WithPartitions limits a scan to n partitions from first on: for shards of a
// scan, or to resume one at the partition that a *ScanError names.
func WithPartitions(first, n int) Option {
	return func(o *callOptions) { o.first, o.n = first, n }
}

// WithLimit ends a scan after n records; zero means all. Partitions are then
// read one after the other, and the last one no further than needed: for short
// ranges.
func WithLimit(n int) Option { return func(o *callOptions) { o.limit = n } }

// WithStages has a batch, or a scan with WithLimit, fill in where its time went.
// It costs an allocation or two for each request. Of other calls s stays as it
// is; a Call has Stages of its own.
func WithStages(s *Stages) Option { return func(o *callOptions) { o.stages = s } }

func ttlSeconds(d time.Duration) uint32 {
	if d <= 0 {
		return wire.TTLNever
	}
	// Whole seconds below the special values; 136 years are never in effect.
	return uint32(min((d+time.Second-1)/time.Second, time.Duration(wire.TTLKeep-1)))
}

func (c *Client) options(opts []Option) callOptions {
	o := callOptions{namespace: c.cfg.Namespace}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Key names a record: a set ("" for none) and an int, string or bytes value.
// The digest is computed at each use; NewKey computes it once.
type Key struct {
	Set   string
	Value record.Value

	digest record.Digest
	hashed bool
}

// NewKey makes a key with its digest. Errors are record.ErrSet and
// record.ErrKey.
func NewKey(set string, value record.Value) (Key, error) {
	d, err := record.NewDigest(set, value)
	return Key{Set: set, Value: value, digest: d, hashed: err == nil}, err
}

// Digest returns the key's digest.
func (k Key) Digest() (record.Digest, error) {
	if k.hashed {
		return k.digest, nil
	}
	return record.NewDigest(k.Set, k.Value)
}
