package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"time"

	"headroom/node/disk"
)

// fioJob is what is used of fio's JSON output (checked with 3.33).
type fioJob struct {
	Error  int     `json:"error"`
	User   float64 `json:"usr_cpu"` // percent of the run
	System float64 `json:"sys_cpu"`
	Read   struct {
		IOPS float64 `json:"iops"`
	} `json:"read"`
	Write struct {
		BW float64 `json:"bw_bytes"` // bytes a second
	} `json:"write"`
}

// fio runs a job of fio past the page cache through its io_uring engine, for
// length, or once through the file if that is zero; more are further flags.
func fio(ctx context.Context, path, rw, block string, depth int, length time.Duration, size int64, more ...string) (*fioJob, error) {
	common := []string{"--filename=" + path, "--ioengine=io_uring", "--direct=1", "--bs=" + block, "--thread", "--norandommap",
		"--randrepeat=0", fmt.Sprintf("--iodepth=%d", depth), fmt.Sprintf("--size=%d", size), "--output-format=json"}
	if length > 0 {
		common = append(common, "--time_based", fmt.Sprintf("--runtime=%dms", length.Milliseconds()))
	}
	args := append(append(common, "--name=pair", "--rw="+rw), more...)
	cmd := exec.CommandContext(ctx, "fio", args...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("fio is not installed: apt-get install fio")
	}
	if err != nil {
		return nil, fmt.Errorf("fio %s: %w", rw, err)
	}
	var out struct {
		Jobs []fioJob `json:"jobs"`
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("output of fio: %w", err)
	}
	if len(out.Jobs) == 0 || out.Jobs[0].Error != 0 {
		return nil, fmt.Errorf("fio %s failed", rw)
	}
	return &out.Jobs[0], nil
}

// mixture is what was asked of a device for each byte written.
type mixture struct {
	read    float64 // bytes
	percent int     // of requests of 1 MiB written, or of readSize read, that are reads
	size    int     // of a read, in bytes
	writes  int     // of 1 MiB for each sync; 0: there was none
	depth   int     // requests under way, on average
}

// mixed returns the mixture between two moments so far apart.
func mixed(from, to disk.Load, took time.Duration) mixture {
	const page, write = 4 << 10, 1 << 20
	reads, readBytes := float64(to.Reads-from.Reads), float64(to.ReadBytes-from.ReadBytes)
	writes := float64(to.WriteBytes-from.WriteBytes) / write
	m := mixture{read: readBytes / (writes * write)}
	if syncs := float64(to.Syncs - from.Syncs); syncs > 0 {
		m.writes = int(math.Ceil(writes / syncs))
	}
	busy := to.ReadTime + to.WriteTime - from.ReadTime - from.WriteTime
	m.depth = min(max(int(math.Ceil(busy.Seconds()/took.Seconds())), 4), 64)
	// fio takes whole percents, so the length makes up for what they round.
	m.percent = min(max(int(math.Round(100*reads/(reads+writes))), 1), 99)
	m.size = max(int(math.Round(m.read*write*float64(100-m.percent)/float64(m.percent)/page)), 1) * page
	return m
}

func (m mixture) block() string { return fmt.Sprintf("%d,1m,1m", m.size) }

func (m mixture) flags() []string {
	flags := []string{fmt.Sprintf("--rwmixread=%d", m.percent), "--percentage_random=100,0"}
	if m.writes > 0 {
		flags = append(flags, fmt.Sprintf("--fdatasync=%d", m.writes))
	}
	return flags
}
