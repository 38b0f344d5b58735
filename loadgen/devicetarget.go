package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"headroom/loadgen/device"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/node/disk/class"
	"headroom/node/disk/emulate"
)

// deviceRoom is how much larger a file is made than the records of the
// workload, for those that it inserts.
const deviceRoom = 1.25

// parseDevice checks a --target device:PATH: that nothing is overwritten which
// nobody said may be, and that the workload is one that a device can carry.
func (o *options) parseDevice() error {
	if o.spec.Scheme != "device" {
		if o.overwrite {
			return fmt.Errorf("--overwrite is for --target device:PATH")
		}
		return nil
	}
	if o.workload.TTL > 0 {
		return fmt.Errorf("a device forgets nothing: add --set ttl=0s")
	}
	if o.shard != nil {
		return fmt.Errorf("--shard: a device belongs to one process")
	}
	d := &o.spec.Device
	d.Value = int(o.workload.ValueSize.Max)
	if o.lanes == 0 {
		o.lanes = min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	}
	backing := d.Path
	if strings.HasPrefix(d.Path, emulate.Prefix) {
		spec, err := emulate.ParseSpec(d.Path)
		if err != nil {
			return err
		}
		if backing = spec.Backing; strings.HasPrefix(backing, "memory:") {
			return nil
		}
	}
	create, err := device.Guard(backing, o.overwrite)
	if err != nil {
		return err
	}
	if create {
		o.made = backing
	}
	if info, err := os.Stat(backing); create || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		d.Size = max(d.Size, o.deviceSize())
	}
	return nil
}

// deviceSize is what the records of the workload and some more take. Places
// are whole blocks, of 64 KiB at most.
func (o *options) deviceSize() int64 {
	const block = 4096
	place := (float64(o.workload.ValueSize.Max) + 2*block) / block * block
	return int64(math.Ceil(deviceRoom*place*float64(o.workload.Records)/block)) * block
}

// openDevice prepares this process for a device as its target: a request that
// blocks keeps its scheduler until the runtime takes it away.
func (b *bed) openDevice() {
	if b.o.spec.Scheme == "device" && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(schedulers, runtime.NumCPU()))
	}
}

// fits reports whether the records have places.
func (b *bed) fits() error {
	d, ok := b.target.(*target.Device)
	if !ok || d.Capacity() >= b.o.workload.Records {
		return nil
	}
	return fmt.Errorf("%s has places for %d records of %d bytes, the workload has %d: --set records=%d, or a larger ?size=", b.o.target,
		d.Capacity(), d.RecordBytes(), b.o.workload.Records, d.Capacity())
}

// describeDevice finds out what kind of device the target is, now that records
// are on it: what was never written is read without touching the medium.
func (b *bed) describeDevice(ctx context.Context) {
	d, ok := b.target.(*target.Device)
	if !ok {
		return
	}
	path := b.o.spec.Device.Path
	info := &result.Device{Spec: "device:" + path, Dilation: 1}
	if e := d.Emulated(); e != nil {
		info.Class, info.Why, info.Profile, info.Dilation = e.Class, "as the profile says; emulated", e.Profile, e.Dilation
	} else if _, c, why, err := class.Detect(ctx, path); err != nil {
		info.Class, info.Why = string(class.Unknown), err.Error()
	} else {
		info.Class, info.Why = string(c), why
	}
	b.device = info
	b.out.say("%s is %s (%s)", path, info.Class, info.Why)
}

// deviceLook is what a device target was asked to do up to an instant.
type deviceLook struct {
	at  time.Time
	use target.DeviceUse
}

// lookAtDevice is empty for other targets.
func (b *bed) lookAtDevice() (l deviceLook) {
	if d, ok := b.target.(*target.Device); ok {
		l.at, l.use = time.Now(), d.Use()
	}
	return l
}

// deviceUse is how busy the device was since from; nil for other targets.
func (t *trial) deviceUse(from, to deviceLook) []result.Use {
	d, ok := t.target.(*target.Device)
	s := to.at.Sub(from.at).Seconds()
	if !ok || from.at.IsZero() || s <= 0 {
		return nil
	}
	places := float64(d.Places() * max(1, t.driver.Config().Lanes))
	used := to.use.ReadTime + to.use.WriteTime - from.use.ReadTime - from.use.WriteTime
	at, most := used.Seconds()/s, time.Duration(s*places*1e9)
	switch {
	case to.use.Busy != nil:
		used, most = 0, to.at.Sub(from.at)
		for what, us := range to.use.Busy {
			used = max(used, time.Duration(us-from.use.Busy[what])*time.Microsecond)
		}
	case t.device.Class == string(class.HDD): // it serves one request at a time
		most = to.at.Sub(from.at)
	}
	share := min(float64(used)/float64(most), 1)
	t.meters = append(t.meters, result.Meter{Name: result.MeterDevice, To: int64(used)}, result.Meter{Name: result.MeterDeviceOver, To: int64(most)})
	text := fmt.Sprintf("the device was %.0f %% busy, with %.3g requests at it on average, of %.0f places", 100*share, at, places)
	if n := to.use.Reads - from.use.Reads; n > 0 {
		text += ", a read took " + micros(1e6*(to.use.ReadTime-from.use.ReadTime).Seconds()/float64(n))
	}
	return []result.Use{{Resource: "device", Utilisation: share, Text: text}}
}

// deviceVerdicts says what the figures of a device as a target rest on.
func (t *trial) deviceVerdicts() []result.Verdict {
	d := t.device
	if d == nil {
		return nil
	}
	list := []result.Verdict{{Rule: "R7", Level: result.Info, Text: "durability: a write is acknowledged when the device has taken it, past the page cache; nothing is flushed before the end"}}
	if d.Dilation != 1 {
		list = append(list, result.Verdict{Rule: "DILATED", Level: result.Warn, Text: fmt.Sprintf("the device (%s) is time-dilated %g times: "+
			"of its latency the real one is 1/%g, its rates are %g times higher; compare with nothing of another dilation", d.Spec, d.Dilation, d.Dilation, d.Dilation)})
	}
	if e := t.target.(*target.Device).Emulated(); e != nil && !e.Faithful() {
		list = append(list, result.Verdict{Rule: "EMULATED", Level: result.Warn, Text: e.String()})
	}
	return list
}
