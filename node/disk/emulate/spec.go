package emulate

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"headroom/node/disk"
	"headroom/node/disk/profile"
	"headroom/workloads/units"
)

// Prefix begins the configured path of an emulated device.
const Prefix = "emulated:"

// memoryPrefix begins a backing device in memory.
const memoryPrefix = "memory:"

// Spec is the written form of an emulated device,
// "emulated:PROFILE[@DILATION]:BACKING": a shipped profile or a .yaml file,
// and a path as disk.Open takes it or memory:SIZE.
type Spec struct {
	Profile  string
	Dilation float64 // zero: not given
	Backing  string
}

// String prints the spec as ParseSpec reads it.
func (s Spec) String() string {
	at := ""
	if s.Dilation > 0 {
		at = "@" + strconv.FormatFloat(s.Dilation, 'f', -1, 64)
	}
	return Prefix + s.Profile + at + ":" + s.Backing
}

// ParseSpec reads a spec. The profile is looked at when the device is opened.
func ParseSpec(text string) (Spec, error) {
	rest, ok := strings.CutPrefix(text, Prefix)
	name, backing, both := strings.Cut(rest, ":")
	if !ok || !both || name == "" || backing == "" {
		return Spec{}, fmt.Errorf("device %q: want emulated:PROFILE:PATH, such as emulated:nvme:/var/lib/headroom/d1, with PROFILE "+
			"one of %s or a .yaml file, and @N behind it to slow it N times", text, strings.Join(profile.Names(), ", "))
	}
	s := Spec{Profile: name, Backing: backing}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		f, err := strconv.ParseFloat(strings.TrimSuffix(name[i+1:], "x"), 64)
		if err != nil || !(f >= 1 && f <= profile.MaxDilation) {
			return Spec{}, fmt.Errorf("device %q: dilation %q: want 1 (real time) to %d", text, name[i+1:], profile.MaxDilation)
		}
		s.Profile, s.Dilation = name[:i], f
	}
	return s, nil
}

// Open opens the device of a spec in its written form. o is for the backing
// device, as disk.Open takes it.
func Open(text string, o disk.Options, seed uint64) (*Device, error) {
	s, err := ParseSpec(text)
	if err != nil {
		return nil, err
	}
	p, err := profile.Load(s.Profile)
	if err != nil {
		return nil, fmt.Errorf("device %q: %w", text, err)
	}
	if int64(p.Capacity) > 0 && o.Size > int64(p.Capacity) {
		return nil, fmt.Errorf("device %q: %v is more than the %v of a %s", text, units.Bytes(o.Size), p.Capacity, p.Name)
	}
	backing, err := openBacking(s.Backing, o)
	if err != nil {
		return nil, err
	}
	return New(backing, Config{Profile: p, Dilation: s.Dilation, Seed: seed})
}

// OpenPath opens what a node's configuration calls a device: an emulated one by
// its prefix, anything else as disk.Open does. size is that of disk.Options.
// The service times of a path are the same each time it is opened.
func OpenPath(path string, size int64) (disk.Device, error) {
	if !strings.HasPrefix(path, Prefix) {
		return disk.Open(path, disk.Options{Size: size})
	}
	h := fnv.New64a()
	h.Write([]byte(path))
	return Open(path, disk.Options{Size: size}, h.Sum64())
}

func openBacking(path string, o disk.Options) (disk.Device, error) {
	text, ok := strings.CutPrefix(path, memoryPrefix)
	if !ok {
		return disk.Open(path, o)
	}
	size, err := units.ParseBytes(text)
	if err != nil || size < memoryBlock {
		return nil, fmt.Errorf("device %s: want memory:SIZE, such as memory:256MiB", path)
	}
	return disk.NewMemory(path, int64(size), memoryBlock), nil
}

// memoryBlock is the block size of devices in memory, that of most drives.
const memoryBlock = 4096
