package server

import (
	"context"
	"fmt"
	"time"

	"headroom/node/storage"
)

const (
	// evictBack is down to what share of evict-used a lap of eviction goes, so
	// that one does not follow the other at once.
	evictBack = 0.98
	// evictPause is the rest between two steps of a lap, each of which takes some
	// 50 us: eviction takes at most a twentieth of a core.
	evictPause = time.Millisecond
	// evictSay is how often a namespace that has nothing to evict says so.
	evictSay = time.Minute
)

// evicting is how close a namespace is to evicting records.
type evicting uint32

const (
	evictOff evicting = iota
	evictIdle
	evictSoon
	evictNow
)

// String is the name in status and logs.
func (e evicting) String() string { return [...]string{"off", "idle", "soon", "evicting"}[e] }

// usedPct is the percentage in use of the fullest of a namespace's limits: its
// memory, and each device that works.
func usedPct(cfg *NamespaceConfig, st storage.Stats, devices []storage.DeviceStats) (pct float64) {
	if cfg.MemoryLimit > 0 {
		pct = float64(st.IndexBytes+st.DataBytes) * 100 / float64(cfg.MemoryLimit)
	}
	for _, d := range devices {
		if d.Err == nil && d.SizeBytes > 0 {
			pct = max(pct, float64(d.UsedBytes)*100/float64(d.SizeBytes))
		}
	}
	return pct
}

// evictionOf judges how close a namespace is to evicting.
func evictionOf(cfg *NamespaceConfig, pct float64) evicting {
	switch mark := float64(cfg.EvictUsed); {
	case mark == 0:
		return evictOff
	case pct > mark:
		return evictNow
	case pct > warnShare*mark:
		return evictSoon
	}
	return evictIdle
}

// evict makes room when a namespace is fuller than evict-used, until ctx ends.
func (n *Node) evict(ctx context.Context, ns *namespace) {
	t := time.NewTicker(capacityEvery)
	defer t.Stop()
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		pct := usedPct(&ns.cfg, ns.store.Stats(), ns.store.Devices())
		n.sayEviction(ns, evictionOf(&ns.cfg, pct), pct)
		if pct <= float64(ns.cfg.EvictUsed) {
			continue
		}
		before := ns.eviction.Evicted()
		found := ns.evictLap(ctx, (pct-evictBack*float64(ns.cfg.EvictUsed))/pct)
		switch {
		case found:
			n.log.Info("evicted", "namespace", ns.cfg.Name, "records", ns.eviction.Evicted()-before, "used_pct", fmt.Sprintf("%.1f", pct))
		case time.Since(said) > evictSay:
			said = time.Now()
			n.log.Warn("fuller than evict-used, and no record here has a TTL: nothing can be evicted", "namespace", ns.cfg.Name, "used_pct", fmt.Sprintf("%.1f", pct))
		}
	}
}

// evictLap removes about share of what this node masters, and reports whether
// there was anything to remove.
func (ns *namespace) evictLap(ctx context.Context, share float64) (found bool) {
	rest := time.NewTicker(evictPause)
	defer rest.Stop()
	ns.eviction.Begin(share)
	for more := true; more; {
		var bytes int64
		more, bytes = ns.eviction.Step()
		found = found || bytes > 0
		select {
		case <-ctx.Done():
			return found
		case <-rest.C:
		}
	}
	return found
}

// sayEviction tells when the state changes: before the first record goes, when
// it does, and when there is room again.
func (n *Node) sayEviction(ns *namespace, is evicting, pct float64) {
	was := evicting(ns.evictState.Swap(uint32(is)))
	if was == is {
		return
	}
	log := n.log.With("namespace", ns.cfg.Name, "used_pct", fmt.Sprintf("%.1f", pct), "evict_used", ns.cfg.EvictUsed)
	switch {
	case is == evictSoon && was < is:
		log.Warn("records nearest their expiry will be evicted soon: delete, raise the limit, or add nodes")
	case is == evictNow:
		log.Warn("evicting records nearest their expiry")
	case is < was && was > evictIdle:
		log.Info("there is room again without eviction", "level", is.String())
	}
}
