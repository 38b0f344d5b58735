package device

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/node/disk"
	"headroom/node/disk/profile"
)

func act(rate float64) Load {
	return Load{Rate: rate, ReadShare: ACTReadShare, Record: ACTRecord, Block: ACTBlock, LowWater: ACTLowWater, Align: 512}
}

// ACT's own derived configuration for 1x: 128 KiB hold 85 records of 1,536
// bytes, 1000/85 x 100/(100-50) blocks a second.
func TestRatesAreThoseThatACTDerives(t *testing.T) {
	l := act(ACTRate)
	got := l.Rates()
	if math.Abs(got[0]-2000) > 1e-6 || math.Abs(got[1]-2000.0/85) > 1e-9 || got[2] != got[1] || l.ReadSize() != 1536 || l.X() != 1 {
		t.Errorf("1x is %v requests a second of %d bytes, want 2000, 23.53 and 23.53 of 1536", got, l.ReadSize())
	}
	l.LowWater, l.Align = 0, 4096
	if got := l.Rates(); math.Abs(got[1]-1000.0/85) > 1e-9 || l.ReadSize() != 4096 {
		t.Errorf("without defragmentation %v of %d bytes", got, l.ReadSize())
	}
}

func TestLimitsParseAndPrint(t *testing.T) {
	for _, text := range []string{"5%>1ms", "0.1%>64ms"} {
		if l, err := ParseLimit(text); err != nil || l.String() != text {
			t.Errorf("ParseLimit(%q) = %v, %v", text, l, err)
		}
	}
	for _, text := range []string{"", "5>1ms", "0%>1ms", "101%>1ms", "NaN%>1ms", "5%>1", "5%>-1ms"} {
		if l, err := ParseLimit(text); err == nil {
			t.Errorf("ParseLimit(%q) = %v, want an error", text, l)
		}
	}
}

func TestAQuickDevicePassesAndEveryRequestIsCounted(t *testing.T) {
	seconds := 0
	r, err := Run(context.Background(), Config{Device: disk.NewMemory("m", 16<<20, 4096), Load: func() Load { l := act(600); l.Align = 4096; return l }(),
		Duration: 2 * time.Second, Slice: time.Second, Limits: []Limit{{time.Minute, 0.01}}, Seed: 1, Second: func(Second) { seconds++ }})
	if err != nil || !r.Passed || r.Stopped || seconds != 2 || len(r.Slices) != 2 {
		t.Fatalf("%+v, %v; %d seconds", r, err, seconds)
	}
	reads := r.Operations[Reads]
	if reads.Count != reads.OK || math.Abs(float64(reads.Count)-800) > 6*math.Sqrt(800) || r.Slices[0].Kinds[0].Count+r.Slices[1].Kinds[0].Count != reads.Count {
		t.Errorf("%d reads of about 800; slices %+v", reads.Count, r.Slices)
	}
}

func TestFailedReadsAreBeyondEveryLimit(t *testing.T) {
	dev := disk.NewMemory("m", 16<<20, 4096)
	dev.Close()
	r, err := Run(context.Background(), Config{Device: dev, Load: func() Load { l := act(600); l.Align = 4096; return l }(),
		Duration: time.Second, Slice: time.Second, Limits: []Limit{{time.Minute, 0.5}}, Seed: 1})
	if err != nil || r.Passed || r.FirstError == nil || r.Slices[0].Over[0] != 1 {
		t.Errorf("%+v, %v: want every read beyond the limit", r, err)
	}
}

func TestMeasuredProfilesAreValid(t *testing.T) {
	h := []int64{50_000, 60_000, 60_000, 90_000, 2_000_000}
	hist := newCounts(0).response
	for range 1000 {
		for _, ns := range h {
			keep(hist, time.Duration(ns))
		}
	}
	p := &profile.Profile{Name: "m", Channels: channels(59_000, 103e-6), Service: []profile.Service{
		{Op: profile.Read, Size: 4096, Points: points(hist)}, {Op: profile.Write, Size: 4096, Points: points(hist)}}}
	if err := p.Validate(); err != nil || p.Channels != 6 {
		t.Errorf("%v; %d channels, want 6 of 59,000/s at 103 us", err, p.Channels)
	}
	if got := p.Quantile(profile.Read, 4096, 0.5); (got - 60*time.Microsecond).Abs() > time.Microsecond {
		t.Errorf("median %v, want 60us", got)
	}
}

func TestGuardKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	full, fresh := filepath.Join(dir, "full"), filepath.Join(dir, "fresh")
	if err := os.WriteFile(full, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(path string, overwrite bool, want string) {
		t.Helper()
		if _, err := Guard(path, overwrite); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Guard(%s, %v): %v, want %q", path, overwrite, err, want)
		}
	}
	refused(full, false, "--overwrite")
	refused(dir, true, "is a directory")
	refused(filepath.Join(dir, "no", "where"), true, "does not exist")
	refused("/dev/null", true, "neither a file nor a block device")
	if create, err := Guard(full, true); err != nil || create {
		t.Errorf("told to overwrite: %v, %v", create, err)
	}
	if create, err := Guard(fresh, false); err != nil || !create {
		t.Errorf("a new file: %v, %v", create, err)
	}
}

const actText = `ACT version 6.4
CONFIGURATION
microsecond-histograms: no
after 10 sec:
large-block-reads
 (00: 0000000400)
reads
 (00: 0000009000) (01: 0000000900) (02: 0000000100)

after 20 sec:
reads
 (00: 0000018000) (01: 0000001100) (02: 0000000900)
`

func TestACTSlicesAreDifferencesOfCumulativeCounts(t *testing.T) {
	limits := []Limit{{time.Millisecond, 0.20}, {2 * time.Millisecond, 0.05}}
	a, err := ImportACT([]byte(actText), limits)
	if err != nil || len(a.Slices) != 2 || a.Unit != time.Millisecond {
		t.Fatalf("%+v, %v", a, err)
	}
	first, second := a.Slices[0], a.Slices[1]
	if first.Reads != 10_000 || first.Over[0] != 0.10 || first.Over[1] != 0.01 || !first.Passed {
		t.Errorf("first slice %+v", first)
	}
	if second.FromSec != 10 || second.ToSec != 20 || second.Reads != 10_000 || second.Over[1] != 0.08 || second.Passed || a.Worst(limits) != 1 {
		t.Errorf("second slice %+v", second)
	}
	us := strings.Replace(strings.ReplaceAll(actText, "(02:", "(11:"), "histograms: no", "histograms: yes", 1)
	if a, err := ImportACT([]byte(us), limits[:1]); err != nil || a.Unit != time.Microsecond || a.Slices[0].Over[0] != 0.01 {
		t.Errorf("in microseconds bucket 11 is above 1.024 ms: %+v, %v", a, err)
	}
	for _, bad := range []string{"", "hello", "after 1 sec:\nreads\n (99: 1)", "after 1 sec:\n", "after 1 sec:\nreads\n (00: 5)\nafter 2 sec:\nreads\n (00: 4)"} {
		if _, err := ImportACT([]byte(bad), limits); err == nil {
			t.Errorf("%q was imported", bad)
		}
	}
}

const fioText = `{"fio version":"fio-3.33","global options":{"bs":"4k"},"jobs":[
{"jobname":"qd1","job options":{"rw":"randread","iodepth":"1"},"read":{"iops":9500,"bw_bytes":38912000,"total_ios":95000,
 "clat_ns":{"min":40000,"max":900000,"mean":104000,"N":95000,"percentile":{"50.000000":52000,"99.000000":237000}}},"write":{"total_ios":0}},
{"jobname":"qd16","job options":{"rw":"randread","iodepth":"16"},"read":{"iops":59000,"bw_bytes":241664000,"total_ios":590000,
 "clat_ns":{"min":60000,"max":2900000,"mean":270000,"N":590000,"percentile":{"50.000000":200000,"99.000000":930000}}},"write":{"total_ios":0}},
{"jobname":"w","job options":{"rw":"write","bs":"128k","iodepth":"1"},"read":{"total_ios":0},"write":{"iops":3000,"bw_bytes":393216000,"total_ios":30000,
 "clat_ns":{"min":90000,"max":5000000,"mean":300000,"N":30000,"bins":{"100000":10000,"200000":15000,"5000000":5000}}}}]}`

func TestFioJobsBecomeAProfile(t *testing.T) {
	p, err := ImportFio([]byte(fioText))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Quantile(profile.Read, 4096, 0.99); got != 237*time.Microsecond {
		t.Errorf("read p99 %v, want that of queue depth 1", got)
	}
	if got := p.Quantile(profile.Write, 128<<10, 25.0/30); got != 200*time.Microsecond {
		t.Errorf("write p83 %v, want 200us from the bins", got)
	}
	if p.IOPS.Read != 59000 || p.Bandwidth.Write != 393216000 || p.Channels < 4 || p.Channels > 8 {
		t.Errorf("rates and channels: %+v %+v %d", p.IOPS, p.Bandwidth, p.Channels)
	}
	if _, err := profile.Parse("again.yaml", p.YAML()); err != nil {
		t.Errorf("what is imported does not parse: %v", err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"fio version":"x","jobs":[]}`, strings.Replace(fioText, `"bs":"4k"`, `"bs":"k"`, 1)} {
		if _, err := ImportFio([]byte(bad)); err == nil {
			t.Errorf("%.40q was imported", bad)
		}
	}
}

func FuzzImports(f *testing.F) {
	f.Add([]byte(fioText))
	f.Add([]byte(actText))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ImportFio(text); err == nil && p.Validate() != nil {
			t.Errorf("an invalid profile: %v", p.Validate())
		}
		if a, err := ImportACT(text, ACTLimits()); err == nil && len(a.Slices) == 0 {
			t.Error("no slice and no error")
		}
	})
}
