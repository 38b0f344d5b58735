package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/disk/class"
	"headroom/node/disk/emulate"
	"headroom/node/partition"
	"headroom/node/storage"
)

const (
	defaultDeviceSize = 1 << 30
	// readersPerDevice is how many reads wait for one device at once, and
	// readQueue how many more may queue: beyond it the answer is busy.
	readersPerDevice = 32
	readQueue        = 1024
	// damageView is the least time between two Views wanted because of damaged
	// records.
	damageView = time.Second
)

// openStore opens a namespace's engine, with its devices if it has any.
func (n *Node) openStore(ns *namespace) error {
	c := &ns.cfg
	cfg := storage.Config{MemoryLimit: c.MemoryLimit}
	if len(c.Devices) > 0 {
		ns.dir = disk.OSDir(n.cfg.DataDir)
		l := &storage.LogConfig{Name: c.Name, Node: uint64(n.id), Dir: ns.dir, WriteBlock: c.WriteBlock, LowWater: c.LowWater, StopUsed: c.StopWritesUsed,
			InMemory: c.InMemory, NewID: rand.Uint64, MadeDurable: ns.gate.kick,
			Failed:  func(slot int, err error) { n.deviceFailed(ns, slot, err) },
			Damaged: func(d digest) { n.recordDamaged(ns, d) }}
		devices, err := n.openDevices(c)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", c.Name, err)
		}
		l.Devices, cfg.Log = devices, l
		ns.devices, ns.classes = devices, make([]atomic.Pointer[deviceClass], len(devices))
	}
	store, err := storage.Open(cfg)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", c.Name, err)
	}
	ns.store = store
	return nil
}

// openDevices opens what can be opened. A device that fails is left out, to be
// taken for lost, if another one works.
func (n *Node) openDevices(c *NamespaceConfig) ([]disk.Device, error) {
	open := c.OpenDevice
	if open == nil {
		open = openDevice
	}
	list := make([]disk.Device, len(c.Devices))
	var first error
	for i, path := range c.Devices {
		d, err := open(path, c.DeviceSize)
		if err == nil {
			list[i] = d
			continue
		}
		if errors.Is(err, disk.ErrInUse) || len(c.Devices) == 1 {
			first = err
			break
		}
		n.log.Error("device cannot be opened", "path", path, "err", err)
	}
	if first != nil {
		for _, d := range list {
			if d != nil {
				d.Close()
			}
		}
	}
	return list, first
}

func openDevice(path string, size int64) (disk.Device, error) {
	file := path
	if s, err := emulate.ParseSpec(path); err == nil {
		file = s.Backing
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && size == 0 {
		size = defaultDeviceSize
	}
	return emulate.OpenPath(path, size)
}

// classify finds out what kind of device each one is, for status. It takes up
// to class.ProbeTime a device and goes on beside the node's work.
func (n *Node) classify(ctx context.Context, ns *namespace) {
	for i, path := range ns.cfg.Devices {
		if e, ok := ns.devices[i].(*emulate.Device); ok {
			ns.classes[i].Store(&deviceClass{e.Report().Class, "as its profile says; emulated"})
			continue
		}
		_, c, why, err := class.Detect(ctx, path)
		if err != nil {
			why = err.Error()
		}
		ns.classes[i].Store(&deviceClass{string(c), why})
	}
}

// deviceClass is what kind of device one is, and on what ground.
type deviceClass struct{ class, why string }

// startDevices starts the work of a namespace's devices.
func (n *Node) startDevices(ctx context.Context, ns *namespace) {
	n.wg.Go(func() { ns.store.Run(ctx, ns.cfg.CommitToDevice) })
	n.wg.Go(func() { ns.release(ctx) })
	n.wg.Go(func() { n.raid(ctx, ns) })
	if ns.cfg.OpenDevice == nil {
		n.wg.Go(func() { n.classify(ctx, ns) })
	}
	n.wg.Go(func() { n.keepCopies(ctx, ns) })
	if ns.store.Waits() {
		for range readersPerDevice * len(ns.cfg.Devices) {
			n.wg.Go(func() { ns.read(ctx) })
		}
	}
}

// deviceFailed is called when a device was given up. What waited to be durable
// is in doubt; the next View is told that this node's copies there are gone.
func (n *Node) deviceFailed(ns *namespace, slot int, err error) {
	n.log.Error("device failed: its copies are made again on other devices and nodes", "namespace", ns.cfg.Name, "path", ns.cfg.Devices[slot], "err", err)
	ns.gate.failed()
	n.post(func(now cluster.Instant) {
		ns.lostSlots = append(ns.lostSlots, slot)
		n.ctl.ms.Recluster(now)
		n.settle(now)
	})
}

// recordDamaged asks for a View in which this node's copy of the partition is
// one to be compared and completed, so that the record comes from another
// holder. The only copy there is stays what it is.
func (n *Node) recordDamaged(ns *namespace, d digest) {
	pid := d.Partition()
	n.log.Warn("damaged record", "namespace", ns.cfg.Name, "partition", pid, "digest", fmt.Sprintf("%x", d[:]))
	n.post(func(now cluster.Instant) {
		c := ns.Committed()
		if c == nil || len(c.Plan.Parts[pid].WriteSet) < 2 {
			return
		}
		ns.doubtful = append(ns.doubtful, pid)
		if now.Sub(ns.damageSeen) > damageView || ns.damageSeen == 0 {
			ns.damageSeen = now
			n.ctl.ms.Recluster(now)
			n.settle(now)
		}
	})
}

// noteLost puts into the report that is about to be made what devices lost.
// The control goroutine calls it before each Freeze of the namespace.
func (ns *namespace) noteLost() {
	for _, slot := range ns.lostSlots {
		ns.Lose(ns.store.Lost(slot), false)
	}
	ns.lostSlots = nil
	ns.Lose(ns.doubtful, true)
	ns.doubtful = nil
}

// The copies file NAME.copies keeps what this node's copies are:
//
//	0          8        12      16
//	| HDRMCOPY | crc32c | clean | member report of the one namespace (node/partition)
//	| 8        | u32    | u32   |
//
// Clean is 1 if the node stopped properly and everything it had acknowledged
// is on its devices.
const (
	copiesMagic = "HDRMCOPY"
	copiesMost  = 4 << 20
)

func (ns *namespace) copiesName() string { return ns.cfg.Name + ".copies" }

func (ns *namespace) encodeCopies(clean bool) []byte {
	b := append([]byte(copiesMagic), make([]byte, 8)...)
	if clean {
		b[12] = 1
	}
	r := partition.MemberReport{Namespaces: []partition.NamespaceReport{{Name: ns.cfg.Name, RF: ns.cfg.ReplicationFactor}}}
	ns.Copies(func(now *partition.Report) {
		c := *now
		if clean {
			ns.keepBases(&c)
		}
		r.Namespaces[0].Report = &c
	})
	b = r.Append(b)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b
}

// keepBases makes copies that were given up while leaving, and are still on
// the devices, a base for the difference when the node comes back.
func (ns *namespace) keepBases(r *partition.Report) {
	c := ns.Committed()
	for pid := range r.Copies {
		if c != nil && r.Copies[pid].State == partition.None && !ns.store.Partition(pid).Empty() {
			r.Copies[pid] = partition.Copy{State: partition.Spare, Key: c.View.Key}
		}
	}
}

// storeCopies keeps the copies if they changed since the last time.
func (ns *namespace) storeCopies(clean bool) error {
	b := ns.encodeCopies(clean)
	if string(b) == ns.copiesStored {
		return nil
	}
	err := disk.Replace(ns.dir, ns.copiesName(), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err == nil {
		ns.copiesStored = string(b)
	}
	return err
}

// loadCopies takes over what the last process left, as far as the devices can
// bear it out.
func (n *Node) loadCopies(ns *namespace) error {
	if ns.dir == nil {
		return nil
	}
	rec := ns.store.Recovery()
	b, err := disk.ReadFile(ns.dir, ns.copiesName(), copiesMost)
	if errors.Is(err, fs.ErrNotExist) {
		if !rec.Fresh {
			n.log.Warn("no copies file: the records on the devices belong to no View and are dropped", "namespace", ns.cfg.Name)
			ns.dropAll()
		}
		return nil
	}
	if err != nil {
		return err
	}
	if len(b) < 16 || string(b[:8]) != copiesMagic || crc32.Checksum(b[12:], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return fmt.Errorf("%s is damaged: put the right file back, or remove it and the namespace's devices to be filled by the other nodes", ns.copiesName())
	}
	m, err := partition.ParseMemberReport(b[16:])
	if err != nil || len(m.Namespaces) != 1 {
		return fmt.Errorf("%s: written by another version? %w", ns.copiesName(), err)
	}
	r := m.Namespaces[0].Report
	n.judgeCopies(ns, r, rec, binary.LittleEndian.Uint32(b[12:]) == 1 && rec.Clean)
	ns.Load(r)
	n.log.Info("records found on devices", "namespace", ns.cfg.Name, "records", ns.store.Stats().Records, "clean", rec.Clean, "warm", rec.Warm,
		"torn", rec.Torn, "corrupt", rec.Corrupt, "lost_partitions", len(rec.LostPartitions))
	return nil
}

// judgeCopies lowers the states of copies that may lack something.
func (n *Node) judgeCopies(ns *namespace, r *partition.Report, rec storage.Recovery, clean bool) {
	for pid := range r.Copies {
		k := &r.Copies[pid]
		if k.State == partition.None {
			ns.store.Drop(pid)
		}
		if k.State == partition.Full && !clean {
			k.Key = n.apart(k.Key)
		}
	}
	for _, pid := range rec.LostPartitions {
		r.Copies[pid] = partition.Copy{}
	}
	if rec.Corrupt > 0 && ns.cfg.ReplicationFactor > 1 {
		for _, pid := range rec.Doubtful {
			if r.Copies[pid].State == partition.Full {
				r.Copies[pid].State = partition.Subset
			}
		}
	}
}

// apart is the key that a copy of View k has after a crash, which may have
// taken what was not durable: no other copy equals it, so whichever serves
// takes in the others; any copy of a later View is better; and it is as good
// as the View it was in, so that it serves if nobody went on.
func (n *Node) apart(k cluster.ViewKey) cluster.ViewKey {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, []uint64{uint64(n.id), uint64(n.inc)}) // never fails (hash.Hash)
	k.Inc += cluster.Incarnation(h.Sum64()>>3 | 1)
	return k
}

func (ns *namespace) dropAll() {
	for pid := range cluster.Partitions {
		ns.store.Drop(pid)
	}
}

// leavingStore is the engine as the data plane sees it: a node that leaves
// keeps on its devices what it gives up, as a base for the difference when it
// comes back.
type leavingStore struct {
	*storage.Engine
	n *Node
}

// Drop implements plane.Engine.
func (s leavingStore) Drop(pid int) {
	if !s.n.leaving.Load() || !s.OnDevices() {
		s.Engine.Drop(pid)
	}
}
