package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/transport"
	"headroom/node/wire"
)

// Config of a node. The zero value is a one-node DRAM cluster on loopback
// with one namespace, "default"; fields say what zero means.
type Config struct {
	Node        cluster.NodeID // zero: the id kept in DataDir, else a random one
	ClusterName string         // nodes of another name are ignored; empty: "headroom"
	Listen      string         // UDP host:port of everything; empty: 127.0.0.1:4300; port 0: any free one
	Advertise   string         // host:port as peers and clients reach it; empty: Listen
	Seeds       []string       // host:port of nodes to join; itself among them is harmless
	Multicast   string         // GROUP:PORT on which nodes find each other without seeds; empty: none
	HTTP        string         // host:port of metrics, health and status; empty: 127.0.0.1:0; "off": none
	DataDir     string         // metadata (identity, incarnation, ballots); empty: nothing outlives the process
	Credentials string         // directory with ca.crt, node.crt, node.key, secret; empty: DataDir/certs, made on loopback
	Insecure    bool           // no certificates; status says so
	Rack        cluster.RackID // zero: a rack of its own

	HeartbeatInterval time.Duration // zero: the heartbeat core's default
	DrainTimeout      time.Duration // after SIGTERM; zero: 25 s
	MigrateRate       int64         // bytes per second this node sends in migrations; zero: adaptive
	Deadline          time.Duration // of requests that name none; zero: 2 s

	Namespaces []NamespaceConfig // empty: one, "default"
	Log        *slog.Logger      // nil: discards

	// PacketConn replaces the UDP socket, for simulated networks; the node
	// closes it. Refused ports go unseen then.
	PacketConn net.PacketConn
}

// NamespaceConfig configures one namespace. All nodes of a cluster must agree
// on it.
type NamespaceConfig struct {
	Name              string
	ReplicationFactor int    // zero: 2
	CommitMaster      bool   // acknowledge writes before the replicas have them
	DefaultTTL        uint32 // seconds; zero: records never expire
	MemoryLimit       int64  // bytes of index and data; zero: no limit
	// EvictUsed is the percentage of the memory limit, or of any device, in use
	// beyond which records nearest their expiry are removed; zero: never.
	EvictUsed int
	// MissingFresh starts a partition from what is left of it when no member
	// holds a full copy, as an operator's revive does, instead of answering
	// unavailable until a holder returns.
	MissingFresh bool

	// Devices are files, raw block devices or emulated ones
	// (emulated:PROFILE[@DILATION]:PATH) that the records live on; none
	// keeps them in memory. All below needs them.
	Devices        []string
	DeviceSize     int64  // bytes to make each file of, at least; zero: 1 GiB if it is not there
	WriteBlock     int    // bytes; zero: 1 MiB
	CommitToDevice bool   // acknowledge when the write survives a crash
	LowWater       int    // percent of live bytes below which a block is defragmented; zero: 50
	StopWritesUsed int    // percent of a device in use above which writes stop; zero: 70
	InMemory       bool   // records are kept in memory too; the devices are read at the start only
	OpenDevice     Opener // nil: emulate.OpenPath
	// DeviceTimeout is how long a request to a device may take before the device
	// is given up; zero: 10 s, far beyond what a working one needs.
	DeviceTimeout time.Duration
}

// Opener opens a device, creating a file of size bytes if there is none.
type Opener func(path string, size int64) (disk.Device, error)

// minDeviceTimeout is what a busy host may need to notice the end of a request;
// maxDeviceTimeout is no watch any more.
const (
	minDeviceTimeout = 100 * time.Millisecond
	maxDeviceTimeout = 10 * time.Minute
)

// Defaults that users see.
const (
	DefaultListen  = "127.0.0.1:4300"
	DefaultCluster = "headroom"
	DefaultRF      = 2
	maxRF          = 16
)

func (c Config) withDefaults() Config {
	if c.ClusterName == "" {
		c.ClusterName = DefaultCluster
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.HTTP == "" {
		c.HTTP = "127.0.0.1:0"
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 25 * time.Second
	}
	if c.Deadline == 0 {
		c.Deadline = 2 * time.Second
	}
	if len(c.Namespaces) == 0 {
		c.Namespaces = []NamespaceConfig{{Name: "default"}}
	}
	c.Namespaces = slices.Clone(c.Namespaces)
	for i := range c.Namespaces {
		if c.Namespaces[i].ReplicationFactor == 0 {
			c.Namespaces[i].ReplicationFactor = DefaultRF
		}
	}
	slices.SortFunc(c.Namespaces, func(a, b NamespaceConfig) int { return strings.Compare(a.Name, b.Name) })
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports the first setting that cannot work, and what to do.
func (c *Config) Validate() error {
	if len(c.ClusterName) > wire.MaxName {
		return fmt.Errorf("cluster-name is longer than %d bytes", wire.MaxName)
	}
	if err := CheckAddr("listen", c.Listen); err != nil {
		return err
	}
	if c.Advertise != "" {
		if err := CheckAddr("advertise", c.Advertise); err != nil {
			return err
		}
	}
	for _, s := range c.Seeds {
		if err := CheckAddr("seeds", s); err != nil {
			return err
		}
	}
	if c.Multicast != "" {
		if _, err := transport.CheckMulticast(c.Multicast); err != nil {
			return fmt.Errorf("multicast: %w", err)
		}
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if c.Advertise == "" && (host == "" || net.ParseIP(host).IsUnspecified()) {
		return fmt.Errorf("listen %s names no address that peers can call: set advertise: HOST:PORT as well", c.Listen)
	}
	if !loopback(host) && c.Credentials == "" && !c.Insecure {
		return fmt.Errorf("listen %s is reachable from outside, but there are no certificates: make them with "+
			"`headroom-node certs init` and `headroom-node certs node` and pass --credentials DIR, "+
			"or spell out --insecure on a network where everyone is trusted", c.Listen)
	}
	if len(c.Namespaces) > wire.MaxNamespaces {
		return fmt.Errorf("%d namespaces, at most %d", len(c.Namespaces), wire.MaxNamespaces)
	}
	for i, ns := range c.Namespaces {
		if err := ns.validate(); err != nil {
			return err
		}
		if len(ns.Devices) > 0 && c.DataDir == "" {
			return fmt.Errorf("namespace %q is on a device, and there is no data-dir to keep its identity and copies in: set one", ns.Name)
		}
		if i > 0 && ns.Name == c.Namespaces[i-1].Name {
			return fmt.Errorf("namespace %q is configured twice", ns.Name)
		}
	}
	if c.DrainTimeout < 0 || c.Deadline < 0 || c.HeartbeatInterval < 0 || c.MigrateRate < 0 {
		return errors.New("drain-timeout, deadline, heartbeat-interval and migrate-rate cannot be negative")
	}
	return nil
}

func (n *NamespaceConfig) validate() error {
	switch {
	case n.Name == "" || len(n.Name) > record.MaxNamespace:
		return fmt.Errorf("namespace %q: %w", n.Name, record.ErrNamespace)
	case n.ReplicationFactor < 1 || n.ReplicationFactor > maxRF:
		return fmt.Errorf("namespace %q: replication-factor %d, want 1 to %d", n.Name, n.ReplicationFactor, maxRF)
	case len(n.Devices) == 0 && (n.DeviceSize != 0 || n.WriteBlock != 0 || n.CommitToDevice || n.LowWater != 0 || n.StopWritesUsed != 0 || n.InMemory || n.DeviceTimeout != 0):
		return fmt.Errorf("namespace %q: device-size, device-timeout, write-block-size, commit-to-device, defrag-lwm, stop-writes-used and data-in-memory need a device: add device: PATH", n.Name)
	case n.LowWater < 0 || n.LowWater > 90 || n.StopWritesUsed < 0 || n.StopWritesUsed > 95:
		return fmt.Errorf("namespace %q: defrag-lwm is 1 to 90 percent, stop-writes-used 1 to 95", n.Name)
	case n.WriteBlock != 0 && (n.WriteBlock < 128<<10 || n.WriteBlock > 8<<20 || n.WriteBlock&(n.WriteBlock-1) != 0):
		return fmt.Errorf("namespace %q: write-block-size is a power of two from 128KiB to 8MiB", n.Name)
	case n.DeviceTimeout != 0 && (n.DeviceTimeout < minDeviceTimeout || n.DeviceTimeout > maxDeviceTimeout):
		return fmt.Errorf("namespace %q: device-timeout %v: want %v to %v", n.Name, n.DeviceTimeout, minDeviceTimeout, maxDeviceTimeout)
	case n.MemoryLimit < 0:
		return fmt.Errorf("namespace %q: memory-limit cannot be negative", n.Name)
	}
	return n.validateEviction()
}

// validateEviction refuses a mark that writes would stop before.
func (n *NamespaceConfig) validateEviction() error {
	stop := 100 * memoryStop
	if len(n.Devices) > 0 {
		stop = min(stop, float64(cmp.Or(n.StopWritesUsed, storage.DefaultStopUsed)))
	}
	switch {
	case n.EvictUsed == 0:
		return nil
	case n.EvictUsed < 0 || float64(n.EvictUsed) >= stop:
		return fmt.Errorf("namespace %q: evict-used %d: want 1 to %g, below the %g percent at which writes stop", n.Name, n.EvictUsed, stop-1, stop)
	case len(n.Devices) == 0 && n.MemoryLimit == 0:
		return fmt.Errorf("namespace %q: evict-used wants a limit to be a percentage of: set memory-limit, or a device", n.Name)
	}
	return nil
}

// CheckAddr reports whether addr is HOST:PORT with a port that exists; the
// error names key.
func CheckAddr(key, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s: %q is not HOST:PORT, for example 127.0.0.1:4300", key, addr)
	}
	return nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
