// Package class finds out what kind of device lies below a path: memory, a
// local drive, a disk behind a network. Classify is a pure judgement over
// Facts; Collect gathers them from the system and Probe times reads, because
// virtual machines lie about what they have. It changes nothing, but for a
// file of its own beside the path while it probes.
//
// The invariant to know: what the path is made of (memory, a network file
// system, a loop device) decides before what the kernel says of the drive,
// and a measured latency overrules the kernel's flag for rotation.
//
// Start reading at Classify.
package class

import (
	"fmt"
	"strings"
	"time"
)

// Class is a kind of device.
type Class string

// The classes, as status and reports print them.
const (
	DRAM    Class = "dram"    // memory of the process, or a block device made of memory
	Tmpfs   Class = "tmpfs"   // a file system in memory
	NVMe    Class = "nvme"    // a local solid state drive, 40 to 200 us a random read
	SSD     Class = "ssd"     // a local solid state drive on SATA or SAS
	HDD     Class = "hdd"     // a disk that turns
	Network Class = "network" // behind a network, whatever lies there
	Loop    Class = "loop"    // a file that poses as a block device
	Unknown Class = "unknown"
)

// Facts are what the system says of a path. Empty fields are unknown.
type Facts struct {
	Path       string `json:"path"`
	Filesystem string `json:"filesystem,omitempty"` // "ext4", "tmpfs"; empty for a block device
	Device     string `json:"device,omitempty"`     // "vda", the whole drive of a partition
	SysPath    string `json:"sys_path,omitempty"`   // below /sys/devices
	Model      string `json:"model,omitempty"`
	Vendor     string `json:"vendor,omitempty"`
	Firmware   string `json:"firmware,omitempty"`
	Transport  string `json:"transport,omitempty"`  // of NVMe: pcie, tcp, rdma, fc
	Rotational string `json:"rotational,omitempty"` // "0" or "1", as the kernel says
	Scheduler  string `json:"scheduler,omitempty"`
	WriteCache string `json:"write_cache,omitempty"` // "write back" loses data without a flush
	Logical    int    `json:"logical_block,omitempty"`
	Physical   int    `json:"physical_block,omitempty"`
	SizeBytes  int64  `json:"size_bytes,omitempty"`
	// Backing is a loop device's file, or the drives below a volume.
	Backing []string `json:"backing,omitempty"`
	Probe   *Probe   `json:"probe,omitempty"`
}

// Probe is what timed random reads of 4 KiB showed, one at a time.
type Probe struct {
	Reads  int64         `json:"reads"`
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Direct bool          `json:"direct"` // past the page cache
}

// Medians of a random 4 KiB read that tell classes apart. Below cached, no
// drive answers; local NVMe takes 40 to 200 us and disks in a virtual machine
// on such drives 52 us (measured); networks 200 to 1500 us; a turning disk
// more than 3 ms, half a turn at 7,200/min being 4.2 ms.
const (
	cached  = 20 * time.Microsecond
	local   = 200 * time.Microsecond
	turning = 3 * time.Millisecond
)

// verdicts on a drive by words in its model or vendor, as clouds name theirs.
var models = []struct {
	words string
	class Class
}{
	{"amazon elastic block store", Network},
	{"amazon ec2 nvme instance storage", NVMe},
	{"nvme_card-pd", Network}, // Google Persistent Disk, before the local nvme_card
	{"nvme_card", NVMe},
	{"ephemeraldisk", NVMe},
	{"persistentdisk", Network},
	{"microsoft nvme direct disk", NVMe},
	{"msft nvme accelerator", Network},
	{"msft virtual disk", Network},
}

// networkFilesystems keep their files on other machines.
var networkFilesystems = []string{"nfs", "cifs", "smb", "ceph", "9p", "afs", "gfs2", "lustre", "glusterfs", "virtiofs", "fuse"}

// virtual are parts of a path or model of drives that a hypervisor made up:
// what it says about rotation is its default.
var virtual = []string{"virtio", "/vbd", "xen", "qemu", "vmware", "virtualbox", "msft", "virtual"}

// Classify judges what the facts describe, and says on what ground.
func Classify(f *Facts) (Class, string) {
	if c, why := byNature(f); c != "" {
		return c, why
	}
	name := strings.ToLower(f.Vendor + " " + f.Model)
	for _, m := range models {
		if strings.Contains(name, m.words) {
			return m.class, fmt.Sprintf("model %q", strings.TrimSpace(f.Model))
		}
	}
	kernel, why := byKernel(f)
	if f.Probe != nil && f.Probe.Reads > 0 {
		return byLatency(f.Probe, kernel, why)
	}
	if isVirtual(f) {
		return Unknown, "a virtual drive, not probed"
	}
	return kernel, why
}

// byNature judges what is no drive of this machine.
func byNature(f *Facts) (Class, string) {
	switch {
	case f.Filesystem == "tmpfs" || f.Filesystem == "ramfs":
		return Tmpfs, "a file system in memory"
	case startsWithAny(f.Filesystem, networkFilesystems):
		return Network, "file system " + f.Filesystem
	case strings.HasPrefix(f.Device, "loop"):
		return Loop, "file " + strings.Join(f.Backing, ", ")
	case startsWithAny(f.Device, []string{"zram", "ram", "pmem"}):
		return DRAM, "block device " + f.Device + " is made of memory"
	case startsWithAny(f.Device, []string{"nbd", "rbd", "drbd"}):
		return Network, "block device " + f.Device
	case strings.Contains(f.SysPath, "/session"): // iSCSI
		return Network, "iSCSI"
	case f.Transport != "" && f.Transport != "pcie":
		return Network, "NVMe over " + f.Transport
	}
	return "", ""
}

// byKernel is what name and flags say.
func byKernel(f *Facts) (Class, string) {
	switch {
	case f.Transport == "pcie" || strings.HasPrefix(f.Device, "nvme"):
		return NVMe, "NVMe on PCIe"
	case f.Rotational == "1":
		return HDD, "the kernel says it turns"
	case f.Rotational == "0":
		return SSD, "the kernel says it does not turn"
	}
	return Unknown, "the system says nothing of it"
}

// byLatency lets measured reads confirm or overrule what the kernel said.
func byLatency(p *Probe, kernel Class, why string) (Class, string) {
	took := fmt.Sprintf("random 4 KiB reads take %v at the median", p.P50.Round(time.Microsecond))
	solid := kernel == NVMe || kernel == SSD
	switch {
	case !p.Direct || p.P50 < cached:
		return kernel, why + "; " + took + ", which is a cache"
	case p.P50 >= turning:
		return HDD, took
	case solid && p.P50 < 2*local: // a loaded drive is still what it is
		return kernel, why + "; " + took
	case p.P50 < local:
		return NVMe, took
	}
	return Network, took
}

func isVirtual(f *Facts) bool {
	text := strings.ToLower(f.SysPath + " " + f.Vendor + " " + f.Model)
	for _, v := range virtual {
		if strings.Contains(text, v) {
			return true
		}
	}
	return false
}

// Decided reports whether a probe would change nothing: memory, networks,
// loop devices and drives that name their maker are known without one.
func Decided(f *Facts) bool {
	g := *f
	g.Probe = &Probe{Reads: 1, P50: 2 * turning, Direct: true}
	slow, _ := Classify(&g)
	g.Probe = &Probe{Reads: 1, P50: (cached + local) / 2, Direct: true}
	quick, _ := Classify(&g)
	return slow == quick
}

func startsWithAny(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
