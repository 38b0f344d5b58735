package target

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/disk"
	"headroom/node/disk/emulate"
)

const (
	// deviceMagic begins a place that holds a record.
	deviceMagic = 0x43455248
	// deviceHeader is magic u32, length u32, key u64, before the value.
	deviceHeader = 16
	// deviceStripes locks keep the requests for one record apart; with as many
	// records in flight two share one now and then, which costs a wait.
	deviceStripes = 4096
	// devicePlaces is how many requests a lane has at the device at once: two
	// lanes keep a queue of 128, more than any drive gains from. What comes
	// beyond waits for a place; a disk that seeks serves 64 within a second.
	devicePlaces = 64
	// deviceScan bounds one read of a scan.
	deviceScan = 1 << 20
)

// DeviceConfig says which device to load. Everything on it is overwritten:
// whoever calls has made sure that this is wanted.
type DeviceConfig struct {
	Path  string // a file, a block device, or emulated:PROFILE[@DILATION]:PATH
	Size  int64  // to make a file with, or to use of a block device; zero: all there is
	Value int    // bytes of the largest value
}

// Device is a raw file or block device as a store: each record has a place of
// its own, in order of the keys, and is written and read whole past the page
// cache. A write is acknowledged when the device has taken it, which with a
// volatile cache is before it is durable. Requests for one record wait for
// each other, as a store's would; there is no index, no log and no cache.
type Device struct {
	dev      disk.Device
	slot     int64  // bytes of a place
	capacity uint64 // places

	reads, writes, readNS, writeNS atomic.Int64

	locks [deviceStripes]sync.RWMutex
	bufs  sync.Pool // *[]byte of one place
}

// DeviceUse is what a device was asked to do so far. Times are sums over
// requests.
type DeviceUse struct {
	Reads, Writes       int64
	ReadTime, WriteTime time.Duration
	// Busy tells of an emulated device, by resource, how long it was used to all
	// it has; nil for a real one.
	Busy map[string]uint64 // microseconds
}

// OpenDevice opens the device and, for a file, makes it.
func OpenDevice(cfg DeviceConfig) (*Device, error) {
	d, err := emulate.OpenPath(cfg.Path, cfg.Size)
	if err != nil {
		return nil, err
	}
	block := int64(d.BlockSize())
	slot := (int64(cfg.Value) + deviceHeader + block - 1) / block * block
	t := &Device{dev: d, slot: slot, capacity: uint64(d.Size() / slot)}
	t.bufs.New = func() any { b := disk.Aligned(int(slot)); return &b }
	if t.capacity == 0 {
		return nil, errors.Join(fmt.Errorf("device %s of %d bytes has no room for one record of %d", cfg.Path, d.Size(), slot), d.Close())
	}
	return t, nil
}

// Capacity is how many records there is room for.
func (d *Device) Capacity() int64 { return int64(d.capacity) }

// RecordBytes is what a record takes of the device.
func (d *Device) RecordBytes() int64 { return d.slot }

// Emulated is what an emulated device says of itself; nil for a real one.
func (d *Device) Emulated() *emulate.Report {
	e, ok := d.dev.(*emulate.Device)
	if !ok {
		return nil
	}
	r := e.Report()
	return &r
}

// Use is what the device was asked to do so far.
func (d *Device) Use() DeviceUse {
	u := DeviceUse{Reads: d.reads.Load(), Writes: d.writes.Load(), ReadTime: time.Duration(d.readNS.Load()), WriteTime: time.Duration(d.writeNS.Load())}
	if b, ok := d.dev.(interface{ BusyUS() map[string]uint64 }); ok {
		u.Busy = b.BusyUS()
	}
	return u
}

// readAt and writeAt are the device's, counted.
func (d *Device) readAt(p []byte, off int64) error {
	began := time.Now()
	err := d.dev.ReadAt(p, off)
	d.reads.Add(1)
	d.readNS.Add(int64(time.Since(began)))
	return err
}

func (d *Device) writeAt(p []byte, off int64) error {
	began := time.Now()
	err := d.dev.WriteAt(p, off)
	d.writes.Add(1)
	d.writeNS.Add(int64(time.Since(began)))
	return err
}

// Places is how many requests a lane has at the device at most.
func (d *Device) Places() int { return devicePlaces }

// Refuse implements Refuser.
func (d *Device) Refuse(k Kind) error {
	if k == Operate || k == Touch {
		return errors.New("a device has places for records and no counters or times to live")
	}
	return nil
}

// Linearizable implements the interface: requests for one record are kept apart.
func (d *Device) Linearizable() bool { return true }

// Close implements Target. The device is synced first.
func (d *Device) Close() error { return errors.Join(d.dev.Sync(), d.dev.Close()) }

// NewLane implements Target.
func (d *Device) NewLane(inFlight int, complete func(*Result)) (Lane, error) {
	l := &deviceLane{d: d, complete: complete}
	l.slow = newSlowLane(min(inFlight, devicePlaces), complete, l.do)
	return l, nil
}

type deviceLane struct {
	d        *Device
	complete func(*Result)
	slow     *slowLane
}

// Submit implements Lane.
func (l *deviceLane) Submit(op *Op) error { return l.slow.submit(op) }

// Flush implements Lane.
func (l *deviceLane) Flush() {}

// Close implements Lane.
func (l *deviceLane) Close() error { l.slow.close(); return nil }

// do executes op on a helper's goroutine. A device has no deadline: what takes
// longer than the operation's ends late, and counts as late.
func (l *deviceLane) do(op *Op, r *Result) {
	buf := l.d.bufs.Get().(*[]byte)
	defer l.d.bufs.Put(buf)
	switch op.Kind {
	case Scan:
		r.Outcome, r.Err = l.d.scan(op.Key, op.ScanLen)
	case BatchRead, BatchWrite:
		l.batch(op, *buf, r)
	case Read:
		l.d.read(op.Key, *buf, r)
		if r.Value != nil {
			// The buffer is another's after this; the lane's own memory of the
			// operation is not.
			op.Value = append(op.Value[:0], r.Value...)
			r.Value = op.Value
		}
	default:
		l.d.write(op, *buf, r)
	}
}

func (l *deviceLane) batch(op *Op, buf []byte, r *Result) {
	one := Op{Kind: Read}
	for i, key := range op.Keys {
		item := Result{Token: r.Token, More: true, Item: i, Outcome: OK}
		one.Key = key
		if op.Kind == BatchWrite {
			one.Kind, one.Value = Write, op.Values[i]
			l.d.write(&one, buf, &item)
		} else {
			l.d.read(key, buf, &item)
		}
		if item.Outcome > NotFound && item.Outcome > r.Outcome {
			r.Outcome, r.Err = item.Outcome, item.Err
		}
		l.complete(&item)
	}
}

// place returns where a record is.
func (d *Device) place(key uint64) (off int64, lock *sync.RWMutex, err error) {
	if key >= d.capacity {
		return 0, nil, fmt.Errorf("target: the device is full: it has places for %d records of %d bytes", d.capacity, d.slot)
	}
	return int64(key) * d.slot, &d.locks[key%deviceStripes], nil
}

// read leaves the value in buf.
func (d *Device) read(key uint64, buf []byte, r *Result) {
	off, lock, err := d.place(key)
	if err != nil {
		r.Outcome, r.Err = Failed, err
		return
	}
	lock.RLock()
	err = d.readAt(buf, off)
	lock.RUnlock()
	if err != nil {
		r.Outcome, r.Err = Failed, fmt.Errorf("target: device: %w", err)
		return
	}
	n := binary.LittleEndian.Uint32(buf[4:])
	switch {
	case binary.LittleEndian.Uint32(buf) != deviceMagic:
		r.Outcome = NotFound
	case binary.LittleEndian.Uint64(buf[8:]) != key || int64(n) > d.slot-deviceHeader:
		r.Outcome, r.Value = OK, buf[:0] // another record: no value, which no audit accepts
	default:
		r.Outcome, r.Value = OK, buf[deviceHeader:deviceHeader+n]
	}
}

// write stores a record or, for a Delete, empties its place.
func (d *Device) write(op *Op, buf []byte, r *Result) {
	off, lock, err := d.place(op.Key)
	if err == nil && int64(len(op.Value)) > d.slot-deviceHeader {
		err = fmt.Errorf("target: a value of %d bytes for places of %d", len(op.Value), d.slot-deviceHeader)
	}
	if err != nil {
		r.Outcome, r.Err = Failed, err
		return
	}
	clear(buf)
	if op.Kind == Write {
		binary.LittleEndian.PutUint32(buf, deviceMagic)
		binary.LittleEndian.PutUint32(buf[4:], uint32(len(op.Value)))
		binary.LittleEndian.PutUint64(buf[8:], op.Key)
		copy(buf[deviceHeader:], op.Value)
	}
	lock.Lock()
	err = d.writeAt(buf, off)
	lock.Unlock()
	if err != nil { // any part of it may be there
		r.Outcome, r.Err = InDoubt, fmt.Errorf("target: device: %w", err)
	}
}

// scan reads the places of n records from key on, as one stretch.
func (d *Device) scan(key uint64, n int) (Outcome, error) {
	from := int64(min(key, d.capacity-1)) * d.slot
	left := min(int64(n)*d.slot, int64(d.capacity)*d.slot-from)
	step := max(d.slot, deviceScan/d.slot*d.slot)
	buf := disk.Aligned(int(min(left, step)))
	for ; left > 0; left -= step {
		part := buf[:min(left, step)]
		if err := d.readAt(part, from); err != nil {
			return Failed, fmt.Errorf("target: device: %w", err)
		}
		from += int64(len(part))
	}
	return OK, nil
}
