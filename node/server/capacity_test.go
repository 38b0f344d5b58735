package server

import (
	"errors"
	"testing"

	"headroom/node/storage"
)

func TestCapacityIsAnnouncedBeforeWritesStop(t *testing.T) {
	cfg := &NamespaceConfig{MemoryLimit: 1000, StopWritesUsed: 50}
	device := func(used int64, err error) storage.DeviceStats {
		return storage.DeviceStats{UsedBytes: used, SizeBytes: 1000, Err: err}
	}
	f := func(name string, st storage.Stats, d storage.DeviceStats, want fullness) {
		t.Helper()
		if got := fullnessOf(cfg, st, []storage.DeviceStats{d}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	f("empty", storage.Stats{}, device(0, nil), roomy)
	f("memory at 80 % of its limit", storage.Stats{IndexBytes: 300, DataBytes: 500}, device(0, nil), roomy)
	f("memory at 82 %", storage.Stats{IndexBytes: 300, DataBytes: 520}, device(0, nil), nearly)
	f("a device at 44 % of 50 %", storage.Stats{}, device(440, nil), roomy)
	f("a device at 46 %", storage.Stats{}, device(460, nil), nearly)
	f("a failed device", storage.Stats{}, device(460, errors.New("gone")), roomy)
	f("writes are refused", storage.Stats{StopWrites: true}, device(0, nil), stopped)
}
