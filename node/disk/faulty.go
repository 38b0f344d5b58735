package disk

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
)

// ErrInjected is wrapped by every error of Faulty, together with
// syscall.EIO.
var ErrInjected = errors.New("disk: injected fault")

// OpKind is what is done to a device or a directory.
type OpKind uint8

// Operations.
const (
	OpRead OpKind = iota
	OpWrite
	OpSync
	OpCreate // of a directory, like the following
	OpRename
	OpRemove
	OpSyncDir
)

// Op is one operation as a fault's schedule sees it.
type Op struct {
	Kind OpKind
	N    uint64 // counts the operations of this schedule, from 1
	Path string
	Off  int64
	Len  int
}

// Fault is what happens to an operation.
type Fault uint8

// Faults. A fault that an operation cannot have is an Error.
const (
	None    Fault = iota
	Error         // nothing is done, an error returned
	Torn          // a write of which only the first half is done, and an error returned
	Lost          // a write, sync or rename that is not done and says it was
	Corrupt       // one bit of what is read or written is flipped
	Gone          // this and all later operations are errors
)

// Schedule decides the fault of each operation. One Schedule may stand behind
// several devices and directories, to count their operations together.
type Schedule struct {
	mu     sync.Mutex // guards all below
	decide func(op Op) Fault
	n      uint64
	gone   map[string]bool
}

// NewSchedule returns a schedule that calls decide, nil for no faults, before
// each operation. decide may be called from several goroutines, one at a
// time, and must not call the devices it decides about, but for Crashed.
func NewSchedule(decide func(op Op) Fault) *Schedule {
	return &Schedule{decide: decide, gone: map[string]bool{}}
}

// Count returns how many operations there were.
func (s *Schedule) Count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// Kill makes all later operations on the device of this path fail.
func (s *Schedule) Kill(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[path] = true
}

func (s *Schedule) next(op Op) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	op.N = s.n
	f := None
	if s.decide != nil {
		f = s.decide(op)
	}
	if f == Gone {
		s.gone[op.Path] = true
	}
	if s.gone[op.Path] {
		return Error
	}
	return f
}

func injected(what, path string) error {
	return fmt.Errorf("%s %s: %w (%w)", what, path, ErrInjected, syscall.EIO)
}

// Faulty is a device some of whose operations fail, by its schedule.
type Faulty struct {
	Device
	schedule *Schedule
}

// NewFaulty puts a schedule in front of a device.
func NewFaulty(d Device, s *Schedule) *Faulty { return &Faulty{Device: d, schedule: s} }

func (f *Faulty) path() string { return f.Info().Path }

// ReadAt implements Device.
func (f *Faulty) ReadAt(p []byte, off int64) error {
	fault := f.schedule.next(Op{Kind: OpRead, Path: f.path(), Off: off, Len: len(p)})
	if fault != None && fault != Corrupt {
		return injected("read", f.path())
	}
	err := f.Device.ReadAt(p, off)
	if fault == Corrupt && len(p) > 0 {
		p[len(p)/2] ^= 0x10
	}
	return err
}

// WriteAt implements Device.
func (f *Faulty) WriteAt(p []byte, off int64) error {
	switch f.schedule.next(Op{Kind: OpWrite, Path: f.path(), Off: off, Len: len(p)}) {
	case None:
		return f.Device.WriteAt(p, off)
	case Lost:
		return nil
	case Torn:
		half := len(p) / 2
		half -= half % f.BlockSize()
		if err := f.Device.WriteAt(p[:half], off); err != nil {
			return err
		}
	case Corrupt:
		q := Aligned(len(p))
		copy(q, p)
		q[len(q)/2] ^= 0x10
		return f.Device.WriteAt(q, off)
	}
	return injected("write", f.path())
}

// Sync implements Device.
func (f *Faulty) Sync() error {
	switch f.schedule.next(Op{Kind: OpSync, Path: f.path()}) {
	case None:
		return f.Device.Sync()
	case Lost:
		return nil
	}
	return injected("sync", f.path())
}

// FaultyDir is a directory some of whose operations fail, by its schedule.
// The files in it report the writes and syncs of their contents, too.
type FaultyDir struct {
	dir      Dir
	schedule *Schedule
}

// NewFaultyDir puts a schedule in front of a directory.
func NewFaultyDir(d Dir, s *Schedule) *FaultyDir { return &FaultyDir{dir: d, schedule: s} }

// do carries out a change of the directory unless it is to fail.
func (d *FaultyDir) do(kind OpKind, name string, change func() error) error {
	switch d.schedule.next(Op{Kind: kind, Path: name}) {
	case None:
		return change()
	case Lost:
		return nil
	}
	return injected("change of", name)
}

// Create implements Dir.
func (d *FaultyDir) Create(name string) (File, error) {
	if d.schedule.next(Op{Kind: OpCreate, Path: name}) != None {
		return nil, injected("create", name)
	}
	f, err := d.dir.Create(name)
	return &faultyFile{File: f, name: name, schedule: d.schedule}, err
}

// Open implements Dir.
func (d *FaultyDir) Open(name string) (File, error) { return d.dir.Open(name) }

// Rename implements Dir.
func (d *FaultyDir) Rename(from, to string) error {
	return d.do(OpRename, to, func() error { return d.dir.Rename(from, to) })
}

// Remove implements Dir.
func (d *FaultyDir) Remove(name string) error {
	return d.do(OpRemove, name, func() error { return d.dir.Remove(name) })
}

// Sync implements Dir.
func (d *FaultyDir) Sync() error { return d.do(OpSyncDir, "", d.dir.Sync) }

type faultyFile struct {
	File
	name     string
	schedule *Schedule
}

// Write implements File.
func (f *faultyFile) Write(p []byte) (int, error) {
	switch f.schedule.next(Op{Kind: OpWrite, Path: f.name, Len: len(p)}) {
	case None:
		return f.File.Write(p)
	case Lost:
		return len(p), nil
	case Torn:
		n, err := f.File.Write(p[:len(p)/2])
		if err != nil {
			return n, err
		}
	}
	return 0, injected("write", f.name)
}

// Sync implements File.
func (f *faultyFile) Sync() error {
	switch f.schedule.next(Op{Kind: OpSync, Path: f.name}) {
	case None:
		return f.File.Sync()
	case Lost:
		return nil
	}
	return injected("sync", f.name)
}
