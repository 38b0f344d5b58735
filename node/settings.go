package main

import (
	"fmt"
	"slices"
	"strings"

	"headroom/node/cluster"
	"headroom/node/server"
	"headroom/workloads/units"
)

// A setting is one key of the node's configuration: the same word in the
// file and as a flag.
type setting struct {
	key  string
	help string
	kind string // how the value is written, for --help
	set  func(c *server.Config, v string) error
}

// A namespaceSetting is a key below namespaces: in the file. As a flag it
// sets the one namespace of a node without a file, or all of a file's.
type namespaceSetting struct {
	key  string
	help string
	kind string
	set  func(n *server.NamespaceConfig, v string) error
}

var settings = []setting{
	{"node-id", "id of this node: a small number, or 16 hex digits; kept in data-dir, random if never given", "ID", func(c *server.Config, v string) (err error) {
		c.Node, err = cluster.ParseNodeID(v)
		return err
	}},
	{"cluster-name", "nodes of another name are ignored (default headroom)", "NAME", text(func(c *server.Config) *string { return &c.ClusterName })},
	{"listen", "UDP address of everything: clients, nodes, heartbeats (default 127.0.0.1:4300)", "HOST:PORT", text(func(c *server.Config) *string { return &c.Listen })},
	{"advertise", "address at which others reach this node (default: listen)", "HOST:PORT", text(func(c *server.Config) *string { return &c.Advertise })},
	{"seed", "address of a node to join; give several, separated by commas", "HOST:PORT,…", func(c *server.Config, v string) error {
		c.Seeds = append(c.Seeds, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })...)
		return nil
	}},
	{"multicast", "group on which nodes of one network find each other without seeds, for example 239.1.99.222:9918", "GROUP:PORT", text(func(c *server.Config) *string { return &c.Multicast })},
	{"http", "address of /metrics, /healthz, /readyz and /status, or off (default 127.0.0.1, a free port)", "HOST:PORT", text(func(c *server.Config) *string { return &c.HTTP })},
	{"data-dir", "where identity and metadata live (default headroom-data)", "DIR", text(func(c *server.Config) *string { return &c.DataDir })},
	{"credentials", "directory with this node's certificates (default data-dir/certs, made on loopback)", "DIR", text(func(c *server.Config) *string { return &c.Credentials })},
	{"insecure", "no certificates: everyone who reaches the port may do anything", "true|false", func(c *server.Config, v string) (err error) {
		c.Insecure, err = boolean(v)
		return err
	}},
	{"rack", "nodes of one rack fail together; copies go to different racks (default: a rack of its own)", "NUMBER", func(c *server.Config, v string) error {
		n, err := units.ParseCount(v)
		if err != nil || n < 0 || n > 1<<31 {
			return fmt.Errorf("%q is not a rack number", v)
		}
		c.Rack = cluster.RackID(n)
		return nil
	}},
	{"heartbeat-interval", "time between pulses; a silent node is judged after about six (default 100ms)", "DURATION", func(c *server.Config, v string) (err error) {
		c.HeartbeatInterval, err = units.ParseDuration(v)
		return err
	}},
	{"drain-timeout", "after SIGTERM: how long to hand partitions over before leaving anyway (default 25s)", "DURATION", func(c *server.Config, v string) (err error) {
		c.DrainTimeout, err = units.ParseDuration(v)
		return err
	}},
	{"migrate-rate", "bytes per second this node sends in migrations (default: as fast as the foreground allows)", "SIZE", func(c *server.Config, v string) error {
		b, err := units.ParseBytes(v)
		c.MigrateRate = int64(b)
		return err
	}},
}

var namespaceSettings = []namespaceSetting{
	{"namespace", "name of the namespace (default \"default\"); in a file: name", "NAME", func(n *server.NamespaceConfig, v string) error {
		n.Name = v
		return nil
	}},
	{"replication-factor", "copies of each record, the master's included (default 2)", "NUMBER", func(n *server.NamespaceConfig, v string) error {
		k, err := units.ParseCount(v)
		n.ReplicationFactor = int(k)
		if err == nil && (k < 1 || k > 16) {
			err = fmt.Errorf("%s copies: want 1 to 16", v)
		}
		return err
	}},
	{"commit", "acknowledge a write when all copies have it, or the master alone (default all)", "all|master", func(n *server.NamespaceConfig, v string) error {
		n.CommitMaster = v == "master"
		if v != "all" && v != "master" {
			return fmt.Errorf("%q: want all or master", v)
		}
		return nil
	}},
	{"missing-copies", "partitions of which no full copy is left: unavailable until a holder returns, or fresh from what is left (default unavailable)", "unavailable|fresh", func(n *server.NamespaceConfig, v string) error {
		n.MissingFresh = v == "fresh"
		if v != "unavailable" && v != "fresh" {
			return fmt.Errorf("%q: want unavailable or fresh", v)
		}
		return nil
	}},
	{"default-ttl", "how long records live that name no TTL (default: for ever)", "DURATION", func(n *server.NamespaceConfig, v string) error {
		d, err := units.ParseDuration(v)
		n.DefaultTTL = uint32(d.Seconds())
		return err
	}},
	{"device", "file, block device or emulated:PROFILE:PATH that the records live on; several separated by commas (default: memory)", "PATH,…", func(n *server.NamespaceConfig, v string) error {
		n.Devices = append(n.Devices, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })...)
		return nil
	}},
	{"device-size", "size of each device's file (default 1GiB for a new one)", "SIZE", func(n *server.NamespaceConfig, v string) error {
		b, err := units.ParseBytes(v)
		n.DeviceSize = int64(b)
		return err
	}},
	{"device-timeout", "a device with a request older than this is given up, and its records are made again elsewhere (default 10s)", "DURATION", func(n *server.NamespaceConfig, v string) (err error) {
		n.DeviceTimeout, err = units.ParseDuration(v)
		return err
	}},
	{"write-block-size", "unit in which devices are written and defragmented; a record must fit (default 1MiB)", "SIZE", func(n *server.NamespaceConfig, v string) error {
		b, err := units.ParseBytes(v)
		n.WriteBlock = int(b)
		return err
	}},
	{"commit-to-device", "acknowledge a write when it survives a crash of every copy's machine (default false: a second of writes may go with a crash)", "true|false", func(n *server.NamespaceConfig, v string) (err error) {
		n.CommitToDevice, err = boolean(v)
		return err
	}},
	{"defrag-lwm", "blocks with fewer live bytes than this percentage are defragmented (default 50)", "PERCENT", percent(func(n *server.NamespaceConfig) *int { return &n.LowWater })},
	{"stop-writes-used", "writes stop when more than this percentage of a device is in use (default 70)", "PERCENT", percent(func(n *server.NamespaceConfig) *int { return &n.StopWritesUsed })},
	{"evict-used", "beyond this percentage of a device or of memory-limit in use, records nearest their expiry are removed early (default: never)", "PERCENT", percent(func(n *server.NamespaceConfig) *int { return &n.EvictUsed })},
	{"data-in-memory", "keep records in memory too, and read the devices at the start only (default false)", "true|false", func(n *server.NamespaceConfig, v string) (err error) {
		n.InMemory, err = boolean(v)
		return err
	}},
	{"memory-limit", "index and data; writes stop at 90 % of it (default: none)", "SIZE", func(n *server.NamespaceConfig, v string) error {
		b, err := units.ParseBytes(v)
		n.MemoryLimit = int64(b)
		return err
	}},
}

func text(at func(c *server.Config) *string) func(*server.Config, string) error {
	return func(c *server.Config, v string) error {
		*at(c) = v
		return nil
	}
}

func percent(at func(n *server.NamespaceConfig) *int) func(*server.NamespaceConfig, string) error {
	return func(n *server.NamespaceConfig, v string) error {
		k, err := units.ParseCount(strings.TrimSuffix(v, "%"))
		if err == nil && (k < 1 || k > 100) {
			err = fmt.Errorf("%s: want 1 to 100", v)
		}
		*at(n) = int(k)
		return err
	}
}

func boolean(v string) (bool, error) {
	switch v {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q: want true or false", v)
}

// setKey sets one top-level key from its text.
func setKey(c *server.Config, key, v string) error {
	if key == "seeds" {
		key = "seed"
	}
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		return fmt.Errorf("unknown key %q", key)
	}
	return settings[i].set(c, v)
}

// setNamespaceKey sets one key of a namespace from its text.
func setNamespaceKey(n *server.NamespaceConfig, key, v string) error {
	if key == "name" {
		key = "namespace"
	}
	i := slices.IndexFunc(namespaceSettings, func(s namespaceSetting) bool { return s.key == key })
	if i < 0 {
		return fmt.Errorf("unknown key %q", key)
	}
	return namespaceSettings[i].set(n, v)
}

func keyNames() (top, namespace []string) {
	for _, s := range settings {
		top = append(top, s.key)
	}
	top = append(top, "seeds", "namespaces")
	for _, s := range namespaceSettings {
		if s.key == "namespace" {
			namespace = append(namespace, "name")
		} else {
			namespace = append(namespace, s.key)
		}
	}
	return top, namespace
}
