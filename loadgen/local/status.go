package local

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// statusMax bounds one status answer: 64 nodes and 32 namespaces need 100 KB.
	statusMax = 4 << 20
	// askTimeout bounds one question: a stopped node accepts and never answers.
	askTimeout = time.Second
)

// Status is what the launcher reads of a node's headroom-status/1 answer.
type Status struct {
	Format      string `json:"format"`
	Node        string `json:"node"`
	ViewKey     string `json:"view_key"`
	CommittedMS int64  `json:"view_committed_unix_ms"` // 0: its tables are not in force yet
	State       string `json:"state"`
	Members     []struct {
		Node string `json:"node"`
		Addr string `json:"addr"`
		Up   bool   `json:"up"`
	} `json:"members"`
	Namespaces []struct {
		Name       string           `json:"name"`
		Masters    map[string]int64 `json:"masters"`
		Copies     map[string]int64 `json:"copies"`
		Migrations struct {
			PartitionsLeft int64 `json:"partitions_left"`
			BytesLeft      int64 `json:"bytes_left"`
		} `json:"migrations"`
		Unavailable int64            `json:"unavailable_partitions"`
		StopWrites  bool             `json:"stop_writes"`
		Evicted     int64            `json:"evicted"`
		Conflicts   map[string]int64 `json:"conflicts"` // discarded acknowledged versions by cause, since the process started
	} `json:"namespaces"`
	Devices []DeviceStatus `json:"devices"`
	Network NetworkStatus  `json:"network"`
	Process struct {
		PID     int     `json:"pid"`
		UptimeS float64 `json:"uptime_s"`
	} `json:"process"`

	raw []byte // the answer as it came
}

// Has reports whether the node of that name is a member of the View.
func (s *Status) Has(name string) bool {
	for _, m := range s.Members {
		if m.Node == name {
			return true
		}
	}
	return false
}

// left sums what the node has still to migrate and what is unavailable.
func (s *Status) left() (partitions, bytes, unavailable int64) {
	for _, ns := range s.Namespaces {
		partitions += ns.Migrations.PartitionsLeft
		bytes += ns.Migrations.BytesLeft
		unavailable += ns.Unavailable
	}
	return partitions, bytes, unavailable
}

// direct asks without keep-alive: a question to a dead incarnation must not
// be answered by an old connection's error.
var direct = &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

// FetchStatus asks the node at an HTTP host:port for its status.
func FetchStatus(ctx context.Context, addr string) (*Status, error) {
	body, err := get(ctx, "http://"+addr+"/status")
	if err != nil {
		return nil, err
	}
	return parseStatus(body)
}

func ready(ctx context.Context, addr string) error {
	_, err := get(ctx, "http://"+addr+"/readyz")
	return err
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := direct.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, statusMax))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
