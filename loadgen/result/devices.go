package result

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// devicesDir holds one file for each node that has devices.
const devicesDir = "devices"

// DeviceSample is a line of devices/NODE.csv: how one device of a node was used
// during the OverSec seconds before TSec. Of an emulated device times are as
// many times longer, and rates as many times lower, as it is dilated.
type DeviceSample struct {
	TSec       float64
	Device     string // its path
	OverSec    float64
	ReadsPerS  float64
	WritesPerS float64
	SyncsPerS  float64
	ReadBPerS  float64
	WriteBPerS float64
	ReadUS     float64 // mean time of a request; NaN when there was none
	WriteUS    float64
	SyncUS     float64
	Queue      float64 // requests under way, mean
	BusyPct    float64 // of the time that its busiest resource was used to all it has
}

var deviceHeader = []string{"t_s", "device", "over_s", "reads_s", "writes_s", "syncs_s", "read_bytes_s", "write_bytes_s", "read_us", "write_us", "sync_us",
	"queue", "busy_pct"}

// Device appends a sample of a device of the named node.
func (w *Writer) Device(node string, s DeviceSample) {
	f := w.devices[node]
	if f == nil {
		err := os.MkdirAll(filepath.Join(w.dir, devicesDir), 0o755)
		if err == nil {
			f, err = createCSV(filepath.Join(w.dir, devicesDir, filepath.Base(node)+".csv"), deviceHeader)
		}
		if err != nil {
			w.keep(err)
			return
		}
		w.devices[node] = f
	}
	line := []string{seconds(s.TSec), s.Device, seconds(s.OverSec)}
	for _, v := range []float64{s.ReadsPerS, s.WritesPerS, s.SyncsPerS, s.ReadBPerS, s.WriteBPerS, s.ReadUS, s.WriteUS, s.SyncUS} {
		line = append(line, latency(v))
	}
	w.keep(f.line(append(line, strconv.FormatFloat(s.Queue, 'f', 3, 64), strconv.FormatFloat(s.BusyPct, 'f', 1, 64))...))
}

// readDevices reads devices/*.csv.
func (r *Run) readDevices() error {
	files, err := filepath.Glob(filepath.Join(r.Dir, devicesDir, "*.csv"))
	if err != nil {
		return err
	}
	var bad error
	for _, f := range files {
		var list []DeviceSample
		nan := math.NaN()
		err := readCSV(f, deviceHeader, func(c *cells) {
			list = append(list, DeviceSample{TSec: c.number(0), Device: c.text(), OverSec: c.number(0), ReadsPerS: c.number(0), WritesPerS: c.number(0),
				SyncsPerS: c.number(0), ReadBPerS: c.number(0), WriteBPerS: c.number(0), ReadUS: c.number(nan), WriteUS: c.number(nan),
				SyncUS: c.number(nan), Queue: c.number(0), BusyPct: c.number(0)})
		})
		bad = errors.Join(bad, err)
		if r.Devices == nil {
			r.Devices = map[string][]DeviceSample{}
		}
		r.Devices[strings.TrimSuffix(filepath.Base(f), ".csv")] = list
	}
	return bad
}
