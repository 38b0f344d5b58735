// Package server composes a node: it connects the cores (heartbeat,
// membership, partition, migrate, txn) with the storage engine and the
// network, and is the API to embed a node in a test or a program. It decides
// nothing itself; what it owns is who runs which core: one goroutine the
// control plane; a plane.Plane per namespace the data, under its locks.
//
// The invariant to know: between Freeze and commit no shard acknowledges a
// write or answers a read, because the routes are unpublished and the lease is
// zero before the membership core sends its acceptance.
//
// Lock order: that of package plane, then the locks of connections. Nothing
// waits under a lock.
//
// Start reading at Start, then control.go (life of a View), requests.go (life
// of a request), migration.go.
package server

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/heartbeat"
	"headroom/node/membership"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/plane"
	"headroom/node/transport"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// Node is a running node. Its methods may be called from any goroutine.
type Node struct {
	cfg   Config
	log   *slog.Logger
	id    cluster.NodeID
	inc   cluster.Incarnation
	addr  string
	pid   int
	start time.Time
	wall  plane.WallClock
	lock  *os.File // on DataDir; nil: none

	namespaces []*namespace
	ep         *transport.Endpoint
	mesh       *transport.Mesh
	multicast  *transport.Multicast // nil: none
	link       link
	web        *web
	ctl        control
	forwards   plane.Forwards
	dialedUs   dialedUs
	clients    clients
	progress   progress
	pulseBuf   [wire.MaxPulse]byte // control goroutine's
	saidAlone  bool                // the reaper's

	view        atomic.Pointer[cluster.View]
	heard       atomic.Pointer[heard]
	lease       atomic.Int64 // cluster.Instant until when this node may answer
	ahead       atomic.Int64 // of the wall clock before the monotonic one when the lease was last looked at, nanoseconds
	committedMS atomic.Int64 // when the tables of view were in force, Unix; 0: not yet
	beatLate    atomic.Int64 // worst delay of the sweep's beat since the last look, nanoseconds
	frozen      atomic.Bool
	leaving     atomic.Bool
	quiesced    atomic.Bool            // an operator said so; a restart forgets it
	unstored    atomic.Pointer[string] // why its promises cannot be kept at the moment; nil: they can
	problem     atomic.Pointer[string] // why this node refuses to serve; nil: it does not

	eventsDropped, badPulses, overdue atomic.Uint64

	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	failed chan error // capacity 1: why the node cannot go on
}

// ErrConfig is wrapped by Start's error for a Config that cannot work; nothing
// was touched.
var ErrConfig = errors.New("configuration")

// Check reports what Start would say of cfg before it touches anything; the
// error wraps ErrConfig.
func Check(cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// Start starts a node and returns when it listens; it joins the cluster by
// itself. ctx ends only the start. Close or Leave the node when done.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := Check(cfg); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	n := &Node{cfg: cfg, pid: os.Getpid(), start: time.Now(), failed: make(chan error, 1)}
	n.wall.StartMS = n.start.UnixMilli()
	n.clients = clients{conns: map[*transport.Conn]bool{}, soon: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	n.ctl = control{events: make(chan func(cluster.Instant), maxEvents)}
	if err := n.identity(); err != nil {
		n.unlockDir()
		return nil, err
	}
	n.log = cfg.Log.With("node", n.id.String())
	if err := n.openNamespaces(); err != nil {
		n.unlockDir()
		return nil, err
	}
	if err := n.listen(); err != nil {
		n.closeStores()
		n.unlockDir()
		return nil, err
	}
	n.startCores()
	if err := n.startWeb(); err != nil {
		n.Close()
		return nil, err
	}
	n.log.Info("node started", "addr", n.addr, "incarnation", uint64(n.inc), "cluster", cfg.ClusterName, "http", n.HTTPAddr(), "insecure", cfg.Insecure)
	return n, nil
}

// identity settles id and incarnation, and stores the new incarnation before
// anybody can hear of it.
func (n *Node) identity() error {
	n.id = n.cfg.Node
	if n.cfg.Credentials != "" && !n.cfg.Insecure && hasNode(n.cfg.Credentials) {
		creds, err := certs.Load(n.cfg.Credentials)
		if err != nil {
			return err
		}
		if n.id != 0 && n.id != creds.Identity.Node {
			return fmt.Errorf("credentials in %s are %v's, and --node-id says %v: use that node's, or leave the id out", n.cfg.Credentials, creds.Identity.Node, n.id)
		}
		n.id = creds.Identity.Node
	}
	if n.cfg.DataDir == "" {
		if n.id == 0 {
			n.id = randomID()
		}
		// Without a file the clock keeps incarnations apart.
		n.inc = cluster.Incarnation(time.Now().UnixNano())
		n.ctl.meta = meta{Node: n.id, Inc: n.inc}
		return nil
	}
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	var err error
	if n.lock, err = lockDir(n.cfg.DataDir); err != nil {
		return err
	}
	m, err := loadMeta(n.cfg.DataDir)
	switch {
	case err != nil:
		return err
	case m == nil:
		// Others remember the incarnations of an earlier life whose directory is
		// gone, and take smaller ones for late packets of it: the clock is ahead
		// of all of them.
		m = &meta{Node: n.id, Inc: cluster.Incarnation(time.Now().UnixNano())}
		if n.id == 0 {
			m.Node = randomID()
		}
	case n.id != 0 && m.Node != n.id:
		return fmt.Errorf("data-dir %s belongs to %v, and --node-id says %v: use another directory, or leave the id out", n.cfg.DataDir, m.Node, n.id)
	}
	m.Inc = nextIncarnation(m.Inc)
	n.id, n.inc, n.ctl.meta = m.Node, m.Inc, *m
	return storeMeta(n.cfg.DataDir, m)
}

// nextIncarnation is greater than the last, and by its low 16 bits, which are
// random, another than that of a second process which was started with a copy
// of the same data directory: ballots and Views are named by incarnations, and
// two processes must not make one name. The younger is stopped once the two
// hear of each other.
func nextIncarnation(last cluster.Incarnation) cluster.Incarnation {
	var b [2]byte
	crand.Read(b[:]) // never fails
	return (last>>16+1)<<16 | cluster.Incarnation(binary.LittleEndian.Uint16(b[:]))
}

func randomID() cluster.NodeID {
	var b [8]byte
	crand.Read(b[:])                                                   // never fails (crypto/rand)
	return cluster.NodeID(binary.LittleEndian.Uint64(b[:])>>1 | 1<<32) // above the small ids that people choose
}

func (n *Node) openNamespaces() error {
	for i, c := range n.cfg.Namespaces {
		ns := &namespace{n: n, id: uint8(i), cfg: c, wake: make(chan struct{}, 1), keepNow: make(chan struct{}, 1)}
		ns.gate.wake = make(chan struct{}, 1)
		if err := n.openStore(ns); err != nil {
			n.closeStores()
			return err
		}
		ns.Plane = plane.New(plane.Config{Self: n.id, Namespace: ns.id, Store: leavingStore{ns.store, n}, Host: ns, Rand: seeded(), CommitMaster: c.CommitMaster,
			DefaultTTL: c.DefaultTTL, Deadline: n.cfg.Deadline, Reads: len(c.Devices) * bulkReads, Keeps: ns.dir != nil,
			Rate: migrate.Rate{BytesPerSecond: float64(n.cfg.MigrateRate)}})
		ns.eviction = plane.NewEviction(ns.Plane)
		n.namespaces = append(n.namespaces, ns)
		if err := n.loadCopies(ns); err != nil {
			n.closeStores()
			return fmt.Errorf("namespace %s: %w", c.Name, err)
		}
	}
	return nil
}

func seeded() *rand.Rand {
	var b [16]byte
	crand.Read(b[:]) // never fails
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])))
}

func (n *Node) listen() error {
	creds, err := n.credentials()
	if err != nil {
		return err
	}
	n.ep, err = transport.Listen(transport.Config{Node: n.id, Credentials: creds, Insecure: n.cfg.Insecure, Addr: n.cfg.Listen, PacketConn: n.cfg.PacketConn,
		Handler: handler{n}, Log: n.log,
		Pulse: func(p []byte, from net.Addr) { n.pulse(p, from.String()) },
		Refused: func(node cluster.NodeID, _ string) {
			n.post(func(now cluster.Instant) { n.ctl.hb.Refused(now, node) })
		}})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: choose another port with --listen", err)
	}
	if err != nil {
		return err
	}
	n.addr = n.cfg.Advertise
	if n.addr == "" {
		n.addr = n.ep.Addr().String()
	}
	n.link = findLink(n.addr)
	n.mesh = transport.NewMesh(n.ep)
	if n.cfg.Multicast != "" {
		if n.multicast, err = n.ep.JoinMulticast(n.cfg.Multicast); err != nil {
			n.ep.Close()
			return err
		}
	}
	return nil
}

// credentials loads the node's certificates. On loopback a directory without
// any is a development cluster's: CA, node and client are made on first use.
func (n *Node) credentials() (certs.Credentials, error) {
	if n.cfg.Insecure {
		return certs.Credentials{}, nil
	}
	dir := n.cfg.Credentials
	if dir != "" && hasNode(dir) {
		return certs.Load(dir)
	}
	if host, _, _ := net.SplitHostPort(n.cfg.Listen); !loopback(host) {
		return certs.Load(dir) // says what is missing and how to make it
	}
	switch {
	case dir == "" && n.cfg.DataDir != "":
		dir = filepath.Join(n.cfg.DataDir, "certs")
	case dir == "":
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("headroom-certs-%d", os.Getuid()))
	}
	return certs.EnsureDev(dir, n.id)
}

// hasNode reports whether dir itself holds a node's certificate.
func hasNode(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "node.crt"))
	return err == nil
}

func (n *Node) startCores() {
	self := n.self()
	now := n.mono()
	h := fnv.New64a()
	h.Write([]byte(n.cfg.ClusterName))
	n.ctl.hb = heartbeat.New(now, heartbeat.Config{Self: self, Cluster: h.Sum64(), Interval: n.cfg.HeartbeatInterval,
		Seeds: n.cfg.Seeds, Announce: n.multicast != nil, Rand: seeded()})
	m := &n.ctl.meta
	n.ctl.ms = membership.New(now, membership.Config{Self: self, Host: n, Rand: seeded(),
		State: membership.State{Promised: m.Promised, Accepted: m.Accepted, View: m.View, History: m.History}})
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.ctl.done = cancel, ctx.Done()
	n.wg.Go(func() { n.controlLoop(ctx) })
	n.wg.Go(func() { n.pushMaps(ctx) })
	n.wg.Go(func() { n.sweep(ctx) })
	n.wg.Go(func() { n.reap(ctx) })
	n.wg.Go(func() { n.watchCapacity(ctx) })
	n.wg.Go(func() { n.tellProgress(ctx) })
	n.wg.Go(func() { n.govern(ctx) })
	for _, ns := range n.namespaces {
		n.wg.Go(func() { n.migration(ctx, ns) })
		if ns.cfg.EvictUsed > 0 {
			n.wg.Go(func() { n.evict(ctx, ns) })
		}
		if ns.dir != nil {
			n.startDevices(ctx, ns)
		}
	}
}

// mono is monotonic time since the node started.
func (n *Node) mono() cluster.Instant { return cluster.Instant(time.Since(n.start)) }

// ID returns the node's id.
func (n *Node) ID() cluster.NodeID { return n.id }

// Addr returns the host:port at which peers and clients reach the node.
func (n *Node) Addr() string { return n.addr }

// View returns the View the node has committed, or nil.
func (n *Node) View() *cluster.View { return n.view.Load() }

// Failed yields the reason if the node cannot go on; the caller closes it.
func (n *Node) Failed() <-chan error { return n.failed }

func (n *Node) fail(text string) {
	select {
	case n.failed <- errors.New(text):
	default:
	}
}

const (
	// leavePoll is how often Leave looks whether everything has been handed
	// over.
	leavePoll = 20 * time.Millisecond
	// goodbyes are sent a little apart: one datagram can be lost, and then
	// the others would wait for the refused port.
	goodbyes   = 3
	goodbyeGap = 10 * time.Millisecond
)

// Leave hands this node's partitions over, waits until every one of them has
// its copies elsewhere or the drain timeout or ctx ends, tells the others
// goodbye and closes the node. It reports whether everything was handed over.
func (n *Node) Leave(ctx context.Context) bool {
	n.leaving.Store(true)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
	defer cancel()
	n.post(func(now cluster.Instant) {
		n.ctl.hb.SetLeaving(now)
		n.ctl.ms.SetSelf(now, n.self())
	})
	t := time.NewTicker(leavePoll)
	defer t.Stop()
	drained := n.handedOver()
	for !drained && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		drained = n.handedOver()
	}
	n.log.Info("leaving", "handed_over", drained)
	for range goodbyes {
		n.post(func(now cluster.Instant) {
			n.lease.Store(0)
			n.ctl.hb.Goodbye(now)
			n.settle(now)
		})
		time.Sleep(goodbyeGap)
	}
	n.Close()
	return drained
}

// handedOver reports whether this node may leave: it is alone, or it is
// quiesced in the View, serves nothing any more, and no member has a copy left
// to make. Then every partition has as many copies as the others can hold.
func (n *Node) handedOver() bool {
	v := n.view.Load()
	if v == nil || len(v.Members) <= 1 {
		return true
	}
	i := v.Index(n.id)
	if i < 0 || !v.Members[i].Quiesced || n.frozen.Load() {
		return false
	}
	if sum, silent := n.clusterProgress(v); silent != 0 || sum.Partitions > 0 {
		return false
	}
	return !n.masters(v)
}

func (ns *namespace) holdsAny() (any bool) {
	ns.Copies(func(r *partition.Report) {
		for pid := range r.Copies {
			any = any || r.Copies[pid].State != partition.None
		}
	})
	return any
}

// Close stops the node at once, without handing anything over, and returns
// when all its goroutines have ended. Only the first call does anything.
func (n *Node) Close() error {
	var err error
	n.once.Do(func() {
		if n.cancel != nil {
			n.cancel()
		}
		n.closeWeb()
		err = n.ep.Close()
		n.wg.Wait()
		n.shutStores()
		n.unlockDir()
	})
	return err
}

// shutStores closes the engines so that the next process finds everything as
// it is now.
func (n *Node) shutStores() {
	for _, ns := range n.namespaces {
		if ns.dir == nil {
			ns.store.Close()
			continue
		}
		copies, _ := ns.EncodeCopies(ns.kept(), true)
		err := ns.store.Shutdown()
		if err == nil {
			err = disk.Rewrite(ns.dir, ns.kept().CopiesName(), copies)
		}
		if err != nil {
			n.log.Error("not closed properly: the next start reads all devices and compares with the other nodes", "namespace", ns.cfg.Name, "err", err)
		}
	}
}

func (n *Node) closeStores() {
	for _, ns := range n.namespaces {
		ns.store.Close()
	}
}
