package server

import (
	"context"
	"log/slog"
	"time"

	"headroom/node/storage"
)

const (
	// capacityEvery is how often a node looks how full it is: a device that
	// takes 1 GB/s goes from the warning to the limit in longer than that.
	capacityEvery = time.Second
	// warnShare of what stops writes is announced: an operator gets a tenth of
	// the room to act in.
	warnShare = 0.9
	// memoryStop is the share of a memory limit at which writes stop (package
	// storage).
	memoryStop = 0.9
	// raidEvery is how often devices are read for entries that only hide older
	// versions, raidStep the pause between steps, each of which reads a block
	// or visits 64 partitions: 10 MB/s of write blocks of 1 MiB.
	raidEvery = time.Hour
	raidStep  = 100 * time.Millisecond
)

// fullness is how close a namespace is to stopping writes.
type fullness uint8

const (
	roomy fullness = iota
	nearly
	stopped
)

// String is the name in logs and metrics.
func (f fullness) String() string { return [...]string{"roomy", "nearly full", "stopped"}[f] }

// fullnessOf judges one namespace by its memory and its devices.
func fullnessOf(cfg *NamespaceConfig, st storage.Stats, devices []storage.DeviceStats) fullness {
	if st.StopWrites {
		return stopped
	}
	level := roomy
	if cfg.MemoryLimit > 0 && float64(st.IndexBytes+st.DataBytes) > warnShare*memoryStop*float64(cfg.MemoryLimit) {
		level = nearly
	}
	stop := cfg.StopWritesUsed
	if stop == 0 {
		stop = storage.DefaultStopUsed
	}
	for _, d := range devices {
		if d.Err == nil && float64(d.UsedBytes)*100 > warnShare*float64(stop)*float64(d.SizeBytes) {
			level = nearly
		}
	}
	return level
}

// watchCapacity says when a namespace comes close to stopping writes, stops
// them, and takes them again, until ctx ends.
func (n *Node) watchCapacity(ctx context.Context) {
	t := time.NewTicker(capacityEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, ns := range n.namespaces {
			was, is := fullness(ns.full.Load()), fullnessOf(&ns.cfg, ns.store.Stats(), ns.store.Devices())
			if was != is {
				ns.full.Store(uint32(is))
				n.sayFull(ns, was, is)
			}
		}
	}
}

func (n *Node) sayFull(ns *namespace, was, is fullness) {
	log := n.log.With("namespace", ns.cfg.Name)
	switch {
	case is == stopped:
		log.Error("writes are refused until there is room; reads and deletes go on: delete, raise the limit, or add nodes")
	case is == nearly && was == roomy:
		log.Warn("nearly full: beyond a tenth more writes will be refused; delete, raise the limit, or add nodes")
	default:
		log.Log(context.Background(), slog.LevelInfo, "there is room again", "level", is.String())
	}
}

// raid removes, once an hour, entries that devices no longer need.
func (n *Node) raid(ctx context.Context, ns *namespace) {
	t := time.NewTimer(raidEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		next := raidEvery
		if ns.store.Raid() {
			next = raidStep
		}
		t.Reset(next)
	}
}
