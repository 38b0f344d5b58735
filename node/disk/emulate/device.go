package emulate

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"headroom/node/disk"
	"headroom/node/disk/profile"
)

// ErrDead is wrapped, with syscall.EIO, by every error of a device that has
// died as its profile says.
var ErrDead = errors.New("emulate: the device has died, as its profile says")

// Config of an emulated device.
type Config struct {
	// Profile is that of the real device, not dilated. Required.
	Profile *profile.Profile
	// Dilation is how much slower than the profile the device is to be. Zero
	// takes the profile's own, and without one Choose of this host's timers:
	// the nodes of one run must be given the same.
	Dilation float64
	// Seed of the service times.
	Seed uint64
	// GoTimers uses the runtime's timers, which are up to 1.1 ms late on a
	// quiet process, instead of the kernel's. For tests in synctest bubbles,
	// whose clock only the runtime's timers follow.
	GoTimers bool
}

// Device is a disk.Device that answers no sooner than its profile would. Its
// contents and its durability are the backing device's.
type Device struct {
	backing disk.Device
	p       *profile.Profile // dilated
	real    *profile.Profile
	epoch   time.Time
	alarm   *alarm

	mu       sync.Mutex // guards all below
	schedule *Schedule
	stats    [profile.Ops]opStats
}

// New puts the queue of a profile before a backing device, which it owns from
// now on, also when it returns an error.
func New(backing disk.Device, cfg Config) (*Device, error) {
	d := &Device{backing: backing, real: cfg.Profile}
	err := d.init(cfg)
	if err != nil {
		return nil, errors.Join(err, backing.Close())
	}
	return d, nil
}

func (d *Device) init(cfg Config) error {
	if err := cfg.Profile.Validate(); err != nil {
		return fmt.Errorf("device profile %s: %w", cfg.Profile.Name, err)
	}
	if cfg.Dilation == 0 {
		cfg.Dilation = cfg.Profile.Dilation
	}
	if cfg.Dilation == 0 {
		late, err := Calibrate()
		if err != nil {
			return err
		}
		cfg.Dilation = Choose(cfg.Profile, late)
	}
	if !(cfg.Dilation >= 1 && cfg.Dilation <= profile.MaxDilation) {
		return fmt.Errorf("dilation %g: want 1 (real time) to %d", cfg.Dilation, profile.MaxDilation)
	}
	d.p = cfg.Profile.Dilate(cfg.Dilation)
	d.schedule = NewSchedule(d.p, cfg.Seed)
	for i := range d.stats {
		d.stats[i] = newOpStats()
	}
	d.epoch = time.Now()
	var err error
	d.alarm, err = newAlarm(d.now, cfg.GoTimers)
	return err
}

func (d *Device) now() time.Duration { return time.Since(d.epoch) }

// ReadAt implements disk.Device.
func (d *Device) ReadAt(p []byte, off int64) error {
	return d.serve(profile.Read, int64(len(p)), func() error { return d.backing.ReadAt(p, off) })
}

// WriteAt implements disk.Device.
func (d *Device) WriteAt(p []byte, off int64) error {
	return d.serve(profile.Write, int64(len(p)), func() error { return d.backing.WriteAt(p, off) })
}

// Sync implements disk.Device.
func (d *Device) Sync() error { return d.serve(profile.Sync, 0, d.backing.Sync) }

// serve does the real request, then waits for the end of its slot.
func (d *Device) serve(op profile.Op, size int64, do func() error) error {
	arrived := d.now()
	d.mu.Lock()
	slot := d.schedule.Submit(arrived, op, size)
	d.mu.Unlock()
	var err error
	switch {
	case slot.Hung: // nothing reaches the medium
	case slot.Dead:
		err = fmt.Errorf("%v on %s: %w (%w)", op, d.backing.Info().Path, ErrDead, syscall.EIO)
	default:
		err = do()
	}
	if !d.alarm.sleep(slot.End) {
		return disk.ErrClosed
	}
	if err == nil {
		took := d.now() - arrived
		d.mu.Lock()
		d.stats[op].record(slot.End-arrived, took)
		d.mu.Unlock()
	}
	return err
}

// BusyUS is Schedule.Busy in microseconds, by resource: channels, read-iops,
// total-bandwidth, ….
func (d *Device) BusyUS() map[string]uint64 {
	d.mu.Lock()
	b := d.schedule.Busy()
	d.mu.Unlock()
	m := map[string]uint64{"channels": uint64(b.Channels.Microseconds())}
	for i, what := range [caps]string{capRead: "read", capWrite: "write", capTotal: "total"} {
		if v := b.IOPS[i]; v > 0 {
			m[what+"-iops"] = uint64(v.Microseconds())
		}
		if v := b.Bandwidth[i]; v > 0 {
			m[what+"-bandwidth"] = uint64(v.Microseconds())
		}
	}
	return m
}

// Check implements disk.Checker: a device that has died is gone, also while
// nobody asks anything of it, and so is one whose backing device is.
func (d *Device) Check() error {
	if d.p.DieAfter > 0 && d.now() >= d.p.DieAfter {
		return fmt.Errorf("%s: %w (%w)", d.backing.Info().Path, ErrDead, disk.ErrGone)
	}
	if c, ok := d.backing.(disk.Checker); ok {
		return c.Check()
	}
	return nil
}

// Size implements disk.Device.
func (d *Device) Size() int64 { return d.backing.Size() }

// BlockSize implements disk.Device.
func (d *Device) BlockSize() int { return d.backing.BlockSize() }

// Info implements disk.Device: the backing device's path behind the profile
// and its dilation.
func (d *Device) Info() disk.Info {
	s := Spec{Profile: d.real.Name, Dilation: d.p.Dilation, Backing: d.backing.Info().Path}
	return disk.Info{Path: s.String(), Kind: "emulated"}
}

// Close implements disk.Device. Requests that wait for the end of their slot
// fail at once.
func (d *Device) Close() error {
	d.alarm.close()
	return d.backing.Close()
}
