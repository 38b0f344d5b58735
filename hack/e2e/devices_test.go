package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/hack/figures/rig"
	"headroom/loadgen/local"
)

// onDevices is a loaded cluster of three nodes with two device files each. odd
// names single files that are another kind of device, by local.Config.DeviceAt.
func onDevices(t *testing.T, odd map[string]string, flags map[string]string) *rig.Rig {
	t.Helper()
	if !*long {
		t.Skip("a long scenario: run make e2e, or go test ./hack/e2e -e2e")
	}
	all := map[string]string{"replication-factor": "2", "device-size": "96MiB"}
	for k, v := range flags {
		all[k] = v
	}
	return underLoad(t, rig.Config{Binary: program("node"), Nodes: 3, Device: new(string), Devices: 2, Odd: odd, Flags: all,
		Rate: 1000, Seed: 1, Set: []string{"records", "10k", "value-size", "1KiB"}})
}

// page is what a node answers at a path of its HTTP address.
func page(t *testing.T, r *rig.Rig, node, path string) string {
	t.Helper()
	b, code := ask(t, r, node, path)
	if code != http.StatusOK {
		t.Fatalf("%s%s: %d\n%s", node, path, code, b)
	}
	return b
}

// ask is page with whatever status there is.
func ask(t *testing.T, r *rig.Rig, node, path string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Cluster.HTTP(node)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		t.Fatalf("%s%s: %v", node, path, err)
	}
	return string(b), resp.StatusCode
}

// deviceState is a device as a node's status tells of it.
type deviceState struct {
	Path    string `json:"path"`
	State   string `json:"state"`
	Error   string `json:"error"`
	Corrupt int64  `json:"corrupt"`
}

func devicesOf(t *testing.T, r *rig.Rig, node string) []deviceState {
	t.Helper()
	var s struct {
		Devices []deviceState `json:"devices"`
	}
	if err := json.Unmarshal([]byte(page(t, r, node, "/status")), &s); err != nil {
		t.Fatal(err)
	}
	return s.Devices
}

// until waits for what a scenario brings about, at most the time of redundancy.
func until(t *testing.T, r *rig.Rig, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(redundant); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s%s", redundant, what, status(t, r))
		}
		wait(t, 100*time.Millisecond)
	}
}

// failed waits for the device of a path to be given up for a reason that says
// why, and checks that everything names it and the node lives.
func failed(t *testing.T, r *rig.Rig, node, path, why string) {
	t.Helper()
	var d deviceState
	until(t, r, "the device is given up", func() bool {
		for _, d = range devicesOf(t, r, node) {
			if d.Path == path && d.State == "failed" {
				return true
			}
		}
		return false
	})
	t.Logf("status: %s %s: %s", d.Path, d.State, d.Error)
	if !strings.Contains(d.Error, why) {
		t.Errorf("the device failed with %q, want %q", d.Error, why)
	}
	until(t, r, "/readyz says ready and names the device", func() bool { // the View that follows freezes the node for a moment
		ready, code := ask(t, r, node, "/readyz")
		return code == http.StatusOK && strings.HasPrefix(ready, "ready") && strings.Contains(ready, path)
	})
	if m := page(t, r, node, "/metrics"); !strings.Contains(m, "headroom_device_failed{class=\"") || !strings.Contains(m, fmt.Sprintf("path=%q} 1\n", path)) {
		t.Errorf("no metric says that %s failed", path)
	}
	for _, other := range devicesOf(t, r, node) {
		if other.Path != path && other.State != "ok" {
			t.Errorf("the other device is %s: %s", other.State, other.Error)
		}
	}
}

func TestAFailedDeviceCostsItsOwnCopiesOnly(t *testing.T) {
	r := onDevices(t, nil, nil)
	f := do(t, r, local.FailDevice, "node2")
	failed(t, r, "node2", r.Cluster.Devices("node2")[0], "cut short")
	awaitRedundancy(t, r)
	wait(t, 2*time.Second)
	finish(t, r, []rig.Fault{f})
}

func TestARemovedDeviceIsGivenUp(t *testing.T) {
	r := onDevices(t, nil, nil)
	path := r.Cluster.Devices("node3")[1]
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	failed(t, r, "node3", path, "removed")
	wait(t, 5*time.Second)
	finish(t, r, nil)
}

// profileOf writes the profile of a quick device with a further line, and
// returns the prefix of a device of it.
func profileOf(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(scratch(t), "odd.yaml")
	text := "version: 1\nname: odd\nclass: ssd\nchannels: 8\nservice: [{op: read, size: 4KiB, p50: 500us}, {op: write, size: 4KiB, p50: 500us}, {op: sync, p50: 1ms}]\n" + line + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "emulated:" + path + "@1:"
}

func TestADeviceThatHangsIsGivenUp(t *testing.T) {
	prefix := profileOf(t, "hang-after: 12s")
	r := onDevices(t, map[string]string{"node2.device2": prefix}, map[string]string{"device-timeout": "2s"})
	failed(t, r, "node2", prefix+r.Cluster.Devices("node2")[1], "longer than 2s")
	wait(t, 5*time.Second)
	finish(t, r, nil)
}

func TestADeviceThatDiesIsGivenUp(t *testing.T) {
	prefix := profileOf(t, "die-after: 12s")
	r := onDevices(t, map[string]string{"node1.device": prefix}, nil)
	failed(t, r, "node1", prefix+r.Cluster.Devices("node1")[0], "died")
	wait(t, 5*time.Second)
	finish(t, r, nil)
}

// A node whose only devices failed holds nothing, and everything that it
// mastered goes on elsewhere.
func TestANodeWithoutADeviceHandsOver(t *testing.T) {
	r := onDevices(t, nil, nil)
	f := do(t, r, local.FailDevice, "node2")
	if err := os.Truncate(r.Cluster.Devices("node2")[1], 0); err != nil {
		t.Fatal(err)
	}
	awaitRedundancy(t, r)
	until(t, r, "the node is quiesced and holds nothing", func() bool {
		s, ok := r.Looks.Node("node2")
		return ok && s.Up && s.Masters == 0 && s.Copies == 0 && s.DevicesFailed == 2
	})
	finish(t, r, []rig.Fault{f})
}

func TestFlippedBytesAreCountedAndRepaired(t *testing.T) {
	r := onDevices(t, nil, nil)
	do(t, r, local.CorruptDevice, "node1")
	path := r.Cluster.Devices("node1")[0]
	until(t, r, "damage is counted", func() bool {
		for _, d := range devicesOf(t, r, "node1") {
			if d.Path == path && d.Corrupt > 0 {
				t.Logf("status: %s: %d damaged", d.Path, d.Corrupt)
				return true
			}
		}
		return false
	})
	if m := page(t, r, "node1", "/metrics"); !strings.Contains(m, "headroom_device_damaged_total{class=") {
		t.Error("no metric counts damage")
	}
	wait(t, 3*time.Second)
	finish(t, r, nil)
}

// powerLoops is how often all processes are killed at once.
const powerLoops = 10

func TestKilledNodesKeepWhatTheyAcknowledged(t *testing.T) {
	r := onDevices(t, nil, map[string]string{"commit-to-device": "true"})
	var faults []rig.Fault
	for i := range powerLoops {
		wait(t, 2*time.Second)
		node := "all"
		if i%3 == 0 {
			node = "random"
		}
		kill := do(t, r, local.Kill, node)
		if node == "random" {
			node = kill.Node
		}
		start := do(t, r, local.Restart, node)
		awaitRedundancy(t, r)
		faults = append(faults, kill, start)
	}
	wait(t, time.Second)
	finish(t, r, faults)
}
