package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"headroom/loadgen/result"
)

const (
	// corruptPlaces is how many places of a device get a wrong byte: what the
	// project promises to count and repair.
	corruptPlaces = 20
	// devicePage and deviceHeader are where places are sought: pages behind the
	// superblocks, which are checked at the start only.
	devicePage   = 4096
	deviceHeader = 128 << 10
	// corruptTries bounds the search: a device that is a hundredth full needs
	// 100 tries a place.
	corruptTries = 1000
)

// errNoDevice is the error of a device fault on a node that has none.
var errNoDevice = errors.New("its records are in memory: give --device file or emulated:PROFILE")

// failDevice takes the contents from under the node, as a drive that goes away
// does: its first device file is cut to nothing.
func (n *node) failDevice() error {
	if len(n.devices) == 0 {
		return errNoDevice
	}
	return os.Truncate(n.devices[0], 0)
}

// corruptDevice flips a bit in each of corruptPlaces pages of the node's first
// device file that hold anything.
func (n *node) corruptDevice(r *rand.Rand) error {
	if len(n.devices) == 0 {
		return errNoDevice
	}
	f, err := os.OpenFile(n.devices[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	pages := (st.Size() - deviceHeader) / devicePage
	if pages < 1 {
		return fmt.Errorf("%s is %d bytes: nothing to damage", n.devices[0], st.Size())
	}
	page := make([]byte, devicePage)
	done := 0
	for try := 0; try < corruptPlaces*corruptTries && done < corruptPlaces; try++ {
		at := deviceHeader + r.Int64N(pages)*devicePage
		if _, err := f.ReadAt(page, at); err != nil {
			return err
		}
		i := r.IntN(devicePage)
		if page[i] == 0 {
			continue
		}
		if _, err := f.WriteAt([]byte{page[i] ^ 0x10}, at+int64(i)); err != nil {
			return err
		}
		done++
	}
	if done == 0 {
		return fmt.Errorf("%s holds nothing yet", n.devices[0])
	}
	return f.Sync()
}

// deviceLook is what a node said of its devices when it was asked last.
type deviceLook struct {
	busy map[string]float64 // microseconds of use so far, by device and resource
	at   time.Time
}

// sample notes what the node's devices hold and do, and how busy the busiest
// resource of any of them was since the last look.
func (l *deviceLook) sample(s *Status, asked time.Time, out *result.NodeSample) {
	out.DevicePct = -1
	busy := map[string]float64{}
	since := asked.Sub(l.at)
	for _, d := range s.Devices {
		out.UsedBytes += d.UsedBytes
		out.DeviceQueued += d.Queued
		if d.State == "failed" {
			out.DevicesFailed++
		}
		if d.Load == nil {
			continue
		}
		for resource, us := range d.Load.BusyUS {
			key := d.Path + "|" + resource
			busy[key] = us
			// A smaller figure is that of another process.
			if before, ok := l.busy[key]; ok && us >= before && since > 0 {
				out.DevicePct = max(out.DevicePct, 100*(us-before)/float64(since.Microseconds()))
			}
		}
	}
	l.busy, l.at = busy, asked
	for _, ns := range s.Namespaces {
		out.StopWrites = out.StopWrites || ns.StopWrites
		out.Evicted += ns.Evicted
	}
}
