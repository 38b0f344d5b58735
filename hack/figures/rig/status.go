package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// statusMax bounds one answer.
const statusMax = 4 << 20

// Moved is what the cluster holds and what it has moved in migrations so far.
type Moved struct {
	Bytes map[string]int64 // moved by each node in its life
	Held  int64            // index and data of all nodes
}

type status struct {
	CommittedMS int64 `json:"view_committed_unix_ms"`
	Namespaces  []struct {
		Migrations struct {
			BytesMoved int64 `json:"bytes_moved"`
		} `json:"migrations"`
	} `json:"namespaces"`
	Devices []struct {
		UsedBytes int64 `json:"used_bytes"`
	} `json:"devices"`
}

// Since sums what the nodes moved after before; a node that before lacks has
// moved all its bytes since.
func (m Moved) Since(before Moved) (bytes int64) {
	for node, n := range m.Bytes {
		bytes += n - before.Bytes[node]
	}
	return bytes
}

// Moved asks all living nodes. Of a stopped one it repeats what earlier says.
func (r *Rig) Moved(ctx context.Context, earlier Moved) (Moved, error) {
	sum := Moved{Bytes: map[string]int64{}}
	for _, name := range r.Cluster.Names() {
		s, err := r.ask(ctx, name)
		if err != nil {
			if seen, ok := r.Looks.Node(name); ok && !seen.Up {
				sum.Bytes[name] = earlier.Bytes[name]
				continue
			}
			return sum, err
		}
		for _, ns := range s.Namespaces {
			sum.Bytes[name] += ns.Migrations.BytesMoved
		}
		for _, d := range s.Devices {
			sum.Held += d.UsedBytes
		}
	}
	return sum, nil
}

// AgreedAfter is the time from before the first process was started to the last
// node's commit of the View of all.
func (r *Rig) AgreedAfter() (time.Duration, error) {
	var last int64
	for _, name := range r.Cluster.Names() {
		s, err := r.ask(context.Background(), name)
		if err != nil {
			return 0, err
		}
		last = max(last, s.CommittedMS)
	}
	return time.UnixMilli(last).Sub(r.began), nil
}

// ask fetches the status of a node by HTTP, at the address that it printed
// when it started last.
func (r *Rig) ask(ctx context.Context, node string) (*status, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, node+".log"))
	if err != nil {
		return nil, err
	}
	i := strings.LastIndex(string(text), "http on ")
	if i < 0 {
		return nil, fmt.Errorf("%s does not say its HTTP address", node)
	}
	addr, _, _ := strings.Cut(string(text)[i+len("http on "):], "\n")
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+strings.TrimSpace(addr)+"/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var s status
	return &s, json.NewDecoder(io.LimitReader(resp.Body, statusMax)).Decode(&s)
}
