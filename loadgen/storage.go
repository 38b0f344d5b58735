package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/node/disk/class"
	"headroom/node/disk/emulate"
	"headroom/node/disk/profile"
)

// storage is what --device says of local nodes.
type storage struct {
	result.Device
	prefix *string // before the path of each node's file; nil: memory
	dir    string  // of those files, "" for the nodes' own
}

// parseStorage reads --device: dram, file[:DIR], emulated:PROFILE[@DILATION].
// It finds out what lies below, and for an emulated device calibrates this
// host's timers once, so that all nodes have one dilation: it may block for
// two seconds.
func parseStorage(text, binary string) (storage, error) {
	s := storage{Device: result.Device{Spec: text, Class: string(class.DRAM), Why: "memory of the nodes", Dilation: 1}}
	if text == "dram" {
		return s, nil
	}
	keys, err := local.NodeKeys(binary)
	if err != nil {
		return s, err
	}
	if !slices.Contains(keys, "device") {
		return s, fmt.Errorf("--device %s: %s keeps records in memory only (it has no --device)", text, binary)
	}
	if rest, ok := strings.CutPrefix(text, emulate.Prefix); ok {
		return s, s.emulated(rest)
	}
	kind, dir, _ := strings.Cut(text, ":")
	if kind != "file" {
		return s, fmt.Errorf("--device %q: want dram, file, file:DIR or emulated:PROFILE with one of %s or a .yaml file", text,
			strings.Join(profile.Names(), ", "))
	}
	s.prefix, s.dir = new(string), dir
	at := dir
	if at == "" {
		at = os.TempDir()
	}
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return s, fmt.Errorf("--device %s: %s is not a directory: make it, or give another", text, at)
	}
	_, c, why, err := class.Detect(context.Background(), at)
	s.Class, s.Why = string(c), why
	return s, err
}

// emulated reads PROFILE[@DILATION].
func (s *storage) emulated(text string) error {
	spec, err := emulate.ParseSpec(emulate.Prefix + text + ":file")
	if err != nil {
		return err
	}
	if strings.Contains(spec.Backing, ":") {
		return fmt.Errorf("--device emulated:%s: want emulated:PROFILE[@DILATION] without a path; each node has its own file", text)
	}
	p, err := profile.Load(spec.Profile)
	if err != nil {
		return fmt.Errorf("--device: %w", err)
	}
	if spec.Dilation == 0 {
		spec.Dilation = p.Dilation
	}
	if spec.Dilation == 0 {
		late, err := emulate.Calibrate()
		if err != nil {
			return err
		}
		spec.Dilation = emulate.Choose(p, late)
	}
	spec.Backing = ""
	prefix := spec.String()
	s.prefix = &prefix
	s.Profile, s.Class, s.Dilation = p.Name, p.Class, spec.Dilation
	s.Why = "as the profile says; emulated"
	s.Spec = strings.TrimSuffix(prefix, ":")
	return nil
}

// unfaithful returns a verdict for each emulated device on which the host was
// off the schedule, from the nodes' last status.
func unfaithful(status map[string][]byte) []result.Verdict {
	var list []result.Verdict
	for _, node := range slices.Sorted(maps.Keys(status)) {
		var s struct {
			Devices []struct {
				Emulation *emulate.Report `json:"emulation"`
			} `json:"devices"`
		}
		if json.Unmarshal(status[node], &s) != nil {
			continue // a node that was down has none
		}
		for _, d := range s.Devices {
			if e := d.Emulation; e != nil && !e.Faithful() {
				list = append(list, result.Verdict{Rule: "EMULATED", Level: result.Warn, Text: node + ": " + e.String()})
			}
		}
	}
	return list
}

// verdict says that times are dilated; nil in real time.
func (s *storage) verdict() []result.Verdict {
	if s.prefix == nil || s.Profile == "" {
		return nil
	}
	if s.Dilation == 1 {
		return []result.Verdict{{Rule: "EMULATED", Level: result.Info, Text: "the nodes' devices are emulated (" + s.Spec + "), in real time"}}
	}
	return []result.Verdict{{Rule: "DILATED", Level: result.Warn, Text: fmt.Sprintf("the nodes' devices (%s) are time-dilated %g times: of "+
		"their share of each latency the real one is 1/%g, their rates are %g times higher; network, CPU and failover are in real time; "+
		"compare with nothing of another dilation", s.Spec, s.Dilation, s.Dilation, s.Dilation)}}
}

// evictedVerdict says that records are gone that the nodes removed to make
// room.
func evictedVerdict(n int64) []result.Verdict {
	if n == 0 {
		return nil
	}
	return []result.Verdict{{Rule: "EVICTED", Level: result.Warn,
		Text: fmt.Sprintf("the nodes evicted %d records to make room (evict-used), in all copies as one; the audit counts them as not found and lost", n)}}
}
