package server

import (
	"errors"
	"strings"
	"testing"

	"headroom/node/storage"
)

func TestEvictionIsAnnouncedBeforeItBites(t *testing.T) {
	cfg := &NamespaceConfig{MemoryLimit: 1000, EvictUsed: 50}
	f := func(name string, st storage.Stats, used int64, failed error, want evicting) {
		t.Helper()
		pct := usedPct(cfg, st, []storage.DeviceStats{{UsedBytes: used, SizeBytes: 1000, Err: failed}})
		if got := evictionOf(cfg, pct); got != want {
			t.Errorf("%s: %v at %.1f %%, want %v", name, got, pct, want)
		}
	}
	f("empty", storage.Stats{}, 0, nil, evictIdle)
	f("memory at 46 % of 50", storage.Stats{IndexBytes: 200, DataBytes: 260}, 0, nil, evictSoon)
	f("memory at 51 %", storage.Stats{IndexBytes: 200, DataBytes: 310}, 0, nil, evictNow)
	f("a device at 46 %", storage.Stats{}, 460, nil, evictSoon)
	f("a device at 51 %", storage.Stats{}, 510, nil, evictNow)
	f("a failed device", storage.Stats{}, 510, errors.New("gone"), evictIdle)
	cfg.EvictUsed = 0
	f("off", storage.Stats{}, 990, nil, evictOff)
}

func TestAMarkThatNeverBitesIsRefused(t *testing.T) {
	refused := func(n NamespaceConfig, want string) {
		t.Helper()
		n.Name, n.ReplicationFactor = "n", 1
		if err := n.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", n, err, want)
		}
	}
	refused(NamespaceConfig{EvictUsed: 50}, "set memory-limit, or a device")
	refused(NamespaceConfig{EvictUsed: 90, MemoryLimit: 1 << 20}, "below the 90 percent")
	refused(NamespaceConfig{EvictUsed: 70, Devices: []string{"d"}}, "below the 70 percent")
	refused(NamespaceConfig{EvictUsed: 40, Devices: []string{"d"}, StopWritesUsed: 40}, "want 1 to 39")
	ok := NamespaceConfig{Name: "n", ReplicationFactor: 1, EvictUsed: 60, Devices: []string{"d"}}
	if err := ok.validate(); err != nil {
		t.Error(err)
	}
}
