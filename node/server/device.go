package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/disk/class"
	"headroom/node/disk/emulate"
	"headroom/node/plane"
	"headroom/node/storage"
)

const (
	defaultDeviceSize    = 1 << 30
	defaultDeviceTimeout = 10 * time.Second
	// damageView is the least time between two Views wanted because of lost or
	// damaged copies: what comes meanwhile goes into one.
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
		ns.guard(devices)
		ns.failing = make(chan int, len(devices))
		for _, g := range ns.guards {
			if g == nil {
				l.Devices = append(l.Devices, nil)
			} else {
				l.Devices = append(l.Devices, g)
			}
		}
		cfg.Log = l
		ns.devices, ns.classes = devices, make([]atomic.Pointer[deviceClass], len(devices))
	}
	store, err := storage.Open(cfg)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", c.Name, err)
	}
	ns.store = store
	if store.Waits() {
		for range c.Devices {
			ns.readers = append(ns.readers, newReaders())
		}
	}
	return nil
}

// guard puts a watch before each device, so that one that hangs or vanishes is
// given up and the node lives.
func (ns *namespace) guard(devices []disk.Device) {
	limit := cmp.Or(ns.cfg.DeviceTimeout, defaultDeviceTimeout)
	ns.guards = make([]*disk.Guard, len(devices))
	for i, d := range devices {
		if d != nil {
			ns.guards[i] = disk.NewGuard(d, limit)
		}
	}
}

// watchDevice gives the device of a slot up when its guard does, also while
// nobody asks anything of it.
func (ns *namespace) watchDevice(ctx context.Context, slot int) {
	select {
	case <-ctx.Done():
	case <-ns.guards[slot].Given():
		ns.store.GiveUp(slot, ns.guards[slot].Err())
	}
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
	for slot, g := range ns.guards {
		if g != nil {
			n.wg.Go(func() { ns.watchDevice(ctx, slot) })
		}
	}
	for slot, r := range ns.readers {
		r.start(ctx, &n.wg)
		n.wg.Go(func() { n.streamGets(ctx, ns, slot) })
	}
}

// deviceFailed is called when a device was given up. What waited to be durable
// is in doubt; the next View is told that this node's copies there are gone. A
// node whose last device failed holds nothing from there on: it is quiesced, so
// that others get its partitions, and stays a member.
func (n *Node) deviceFailed(ns *namespace, slot int, err error) {
	n.log.Error("device failed: its copies are made again on other devices and nodes", "namespace", ns.cfg.Name, "path", ns.cfg.Devices[slot], "err", err)
	ns.gate.Failed()
	ns.failing <- slot    // each fails once, and there is room for all
	n.post(n.wantRepairs) // if it is dropped, the loop's next turn asks
}

// takeFailed notes the devices that failed since the last look. It belongs to
// the control goroutine.
func (n *Node) takeFailed(now cluster.Instant, ns *namespace) {
	for range len(ns.failing) {
		ns.lostSlots = append(ns.lostSlots, <-ns.failing)
	}
	if len(ns.lostSlots) > 0 && ns.store.Healthy() == 0 && !n.quiesced.Swap(true) {
		n.log.Error("no device works: this node is quiesced; replace the devices and start it again", "namespace", ns.cfg.Name)
		n.ctl.hb.SetQuiesced(now, true)
		n.ctl.ms.SetSelf(now, n.self())
	}
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
	})
}

// wantRepairs asks for a View while anything is lost or damaged that the last
// one was not told of, or copies differ and may be made equal. The control loop
// calls it at each turn.
func (n *Node) wantRepairs(now cluster.Instant) {
	for _, ns := range n.namespaces {
		n.takeFailed(now, ns)
		if now < ns.repairAt {
			continue
		}
		unequal := ns.WantsComparison(ns.refuses)
		if unequal {
			n.log.Info("copies are compared: a write in doubt was given up where there was no room, and there is some again", "namespace", ns.cfg.Name)
		}
		if unequal || len(ns.lostSlots)+len(ns.doubtful) > 0 {
			ns.repairAt = now.Add(damageView)
			n.ctl.ms.Want(now)
		}
	}
}

// refuses reports whether this node takes no writes of the namespace but deletes.
func (ns *namespace) refuses() bool { return ns.store.Stats().StopWrites }

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

func (ns *namespace) kept() plane.Kept {
	return plane.Kept{Namespace: ns.cfg.Name, RF: ns.cfg.ReplicationFactor, Inc: ns.n.inc}
}

// storeCopies keeps the copies if they changed since the last time. What they
// hold is on the devices before.
func (ns *namespace) storeCopies(clean bool) error {
	ns.copiesMu.Lock()
	defer ns.copiesMu.Unlock()
	if !clean && ns.copiesStored != "" && ns.CopiesMark() == ns.copiesMark {
		return nil
	}
	b, mark := ns.EncodeCopies(ns.kept(), clean)
	if string(b) == ns.copiesStored {
		ns.copiesMark = mark
		ns.Stored(mark)
		return nil
	}
	err := ns.store.Flush()
	if err != nil {
		return err
	}
	err = disk.Rewrite(ns.dir, ns.kept().CopiesName(), b)
	if err == nil {
		ns.copiesStored, ns.copiesMark = string(b), mark
		ns.Stored(mark)
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
	b, err := disk.ReadFile(ns.dir, ns.kept().CopiesName(), plane.CopiesMost)
	if errors.Is(err, fs.ErrNotExist) {
		if !rec.Fresh {
			n.log.Warn("no copies file: the records on the devices belong to no View and are dropped", "namespace", ns.cfg.Name)
			ns.DropAll()
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := ns.LoadCopies(ns.kept(), b, rec); err != nil {
		return err
	}
	n.log.Info("records found on devices", "namespace", ns.cfg.Name, "records", ns.store.Stats().Records, "clean", rec.Clean, "warm", rec.Warm,
		"torn", rec.Torn, "corrupt", rec.Corrupt, "lost_partitions", len(rec.LostPartitions))
	return nil
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
