package class

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func read(p50 time.Duration) *Probe { return &Probe{Reads: 1000, P50: p50, Direct: true} }

func TestFactsDecideTheClass(t *testing.T) {
	for name, c := range map[string]struct {
		f    Facts
		want Class
	}{
		"tmpfs":                              {Facts{Filesystem: "tmpfs"}, Tmpfs},
		"nfs":                                {Facts{Filesystem: "nfs4"}, Network},
		"loop on a quick disk":               {Facts{Device: "loop3", Rotational: "1", Backing: []string{"/x"}}, Loop},
		"zram":                               {Facts{Device: "zram0", Rotational: "0"}, DRAM},
		"nvme":                               {Facts{Device: "nvme0n1", Transport: "pcie", Rotational: "0"}, NVMe},
		"nvme over tcp":                      {Facts{Device: "nvme0n1", Transport: "tcp"}, Network},
		"sata ssd":                           {Facts{Device: "sda", SysPath: "/sys/devices/pci/ata1/sda", Rotational: "0"}, SSD},
		"sata ssd, confirmed":                {Facts{Device: "sda", Rotational: "0", Probe: read(160 * time.Microsecond)}, SSD},
		"turning disk":                       {Facts{Device: "sda", Rotational: "1", Probe: read(9 * time.Millisecond)}, HDD},
		"virtio that says it turns":          {Facts{Device: "vda", SysPath: "/sys/devices/x/virtio0/block/vda", Rotational: "1", Probe: read(52 * time.Microsecond)}, NVMe},
		"virtio behind a network":            {Facts{Device: "vda", SysPath: "/virtio0/", Rotational: "0", Probe: read(700 * time.Microsecond)}, Network},
		"virtio, not probed":                 {Facts{Device: "vda", SysPath: "/virtio0/", Rotational: "1"}, Unknown},
		"a disk that does not turn and does": {Facts{Device: "sdb", Rotational: "0", Probe: read(8 * time.Millisecond)}, HDD},
		"ebs says it is nvme":                {Facts{Device: "nvme1n1", Transport: "pcie", Model: "Amazon Elastic Block Store", Probe: read(90 * time.Microsecond)}, Network},
		"instance storage":                   {Facts{Device: "nvme2n1", Model: "Amazon EC2 NVMe Instance Storage"}, NVMe},
		"google's persistent disk":           {Facts{Device: "nvme0n1", Model: "nvme_card-pd"}, Network},
		"a cache answers":                    {Facts{Device: "sda", Rotational: "1", Probe: read(3 * time.Microsecond)}, HDD},
		"nothing known":                      {Facts{}, Unknown},
	} {
		if got, why := Classify(&c.f); got != c.want || why == "" && got != Unknown {
			t.Errorf("%s: %v (%s), want %v", name, got, why, c.want)
		}
	}
}

func TestOnlyDrivesAreProbed(t *testing.T) {
	for _, f := range []Facts{{Filesystem: "tmpfs"}, {Device: "loop0"}, {Model: "Amazon Elastic Block Store"}} {
		if !Decided(&f) {
			t.Errorf("%+v would be probed", f)
		}
	}
	for _, f := range []Facts{{Device: "vda", SysPath: "/virtio0/"}, {Device: "sda", Rotational: "0"}} {
		if Decided(&f) {
			t.Errorf("%+v would not be probed", f)
		}
	}
}

func TestMountsAreReadWithTheirUpperDirectory(t *testing.T) {
	m, ok := parseMount(`36 35 0:31 / /a\040b rw,noatime master:1 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w`)
	if !ok || m != (mount{point: "/a b", filesystem: "overlay", source: "overlay", upper: "/u"}) {
		t.Errorf("got %+v, %v", m, ok)
	}
	if _, ok := parseMount("nonsense"); ok {
		t.Error("nonsense was read")
	}
	if got := chosen("none [mq-deadline] kyber"); got != "mq-deadline" {
		t.Errorf("scheduler %q", got)
	}
}

func TestAMissingFileIsOfTheClassOfItsDirectory(t *testing.T) {
	dir := t.TempDir()
	whole, err := Collect(dir)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := Collect(filepath.Join(dir, "not-there"))
	if err != nil || missing.Device != whole.Device || missing.Filesystem != whole.Filesystem || missing.Filesystem == "" {
		t.Errorf("directory %+v, file to be in it %+v, %v", whole, missing, err)
	}
	if _, err := Collect(filepath.Join(dir, "no", "such", "place")); err == nil {
		t.Error("a path without a directory has facts")
	}
}

func TestAProbeReadsAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	p, err := RunProbe(context.Background(), filepath.Join(dir, "data"), 50*time.Millisecond)
	if err != nil || p.Reads == 0 || p.P50 <= 0 || p.P99 < p.P50 {
		t.Errorf("probe %+v, %v", p, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
