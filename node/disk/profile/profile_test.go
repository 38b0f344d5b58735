package profile

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const small = `version: 1
name: t
channels: 2
service:
  - {op: read, size: 4KiB, p0: 1ms, p100: 3ms}
  - {op: read, size: 8KiB, p0: 3ms, p100: 5ms}
  - {op: write, size: 4KiB, p50: 2ms}
bandwidth: {read: 4096000B/s}
iops: {total: 700/s}
`

func parse(t *testing.T, text string) *Profile {
	t.Helper()
	p, err := Parse("t.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestShippedProfilesParseAndRoundTrip(t *testing.T) {
	if n := len(Names()); n != 4 {
		t.Fatalf("%d shipped profiles, want 4", n)
	}
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != name || p.About == "" || p.Source == "" || p.Class == "" {
			t.Errorf("%s is called %q, class %q, about %q, source %q", name, p.Name, p.Class, p.About, p.Source)
		}
		again := parse(t, string(p.YAML()))
		if d := cmp.Diff(p, again); d != "" {
			t.Errorf("%s: printed and parsed it differs:\n%s", name, d)
		}
	}
}

func TestQuantilesAndMeansInterpolate(t *testing.T) {
	p := parse(t, small)
	quantile := func(op Op, size int64, q float64, want time.Duration) {
		t.Helper()
		if got := p.Quantile(op, size, q); got != want {
			t.Errorf("Quantile(%v, %d, %g) = %v, want %v", op, size, q, got, want)
		}
	}
	quantile(Read, 4096, 0.5, 2*time.Millisecond)
	quantile(Read, 6144, 0.5, 3*time.Millisecond)
	quantile(Read, 1, 0, time.Millisecond)
	quantile(Read, 1<<20, 1, 5*time.Millisecond)
	quantile(Write, 4096, 0.99, 2*time.Millisecond)
	quantile(Sync, 0, 0.5, 0)
	if got := p.Mean(Read, 4096); got != 2*time.Millisecond {
		t.Errorf("Mean = %v, want 2ms", got)
	}
}

func TestMaxRateIsTheLeastOfChannelsRequestsAndBandwidth(t *testing.T) {
	p := parse(t, small)
	rate := func(op Op, size int64, want float64) {
		t.Helper()
		if got := p.MaxRate(op, size); math.Abs(got-want) > 1e-6*want {
			t.Errorf("MaxRate(%v, %d) = %g, want %g", op, size, got, want)
		}
	}
	rate(Read, 1, 700)         // cap on requests; two channels of 2 ms would do 1000/s
	rate(Read, 8192, 500)      // two channels of 4 ms, and 4096000/8192
	rate(Read, 81920, 50)      // bandwidth
	rate(Sync, 0, math.Inf(1)) // takes no time
}

func TestDilationScalesTimesAndRatesAlike(t *testing.T) {
	p := parse(t, small+"stalls: {every: 1MiB, for: 10ms}\ndie-after: 30s\n")
	d := p.Dilate(20)
	if got, want := d.MaxRate(Read, 8192)*20, p.MaxRate(Read, 8192); math.Abs(got-want) > 1e-9*want {
		t.Errorf("dilated capacity times 20 = %g, want %g", got, want)
	}
	if got := d.Quantile(Read, 4096, 0.5); got != 40*time.Millisecond {
		t.Errorf("dilated median %v, want 40ms", got)
	}
	if d.Stalls.For != 200*time.Millisecond || d.Stalls.Every != 1<<20 || d.DieAfter != 30*time.Second || d.Dilation != 20 {
		t.Errorf("dilated to %+v", d)
	}
	if p.Service[0].Points[0].Time != time.Millisecond {
		t.Error("Dilate changed its receiver")
	}
}

func TestFaultsNameTheirPlace(t *testing.T) {
	fails := func(text, want string) {
		t.Helper()
		_, err := Parse("t.yaml", []byte(text))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an *Error with %q", err, want)
		}
	}
	fails("", "t.yaml:1:1: empty")
	fails("name: x\n", "no version")
	fails("version: 2\n", "t.yaml:1:1: version: this program reads version 1")
	fails(small+"chanels: 3\n", `t.yaml:10:1: unknown key "chanels"`)
	fails(small+"channels: 3\n", "already defined")
	fails(small+"stalls: {every: 1MiB}\n", "want both every")
	fails(strings.Replace(small, "op: read, size: 8KiB", "op: read, size: 4KiB", 1), "t.yaml:6:5: service: read of 4KiB is given twice")
	fails(strings.Replace(small, "p100: 3ms", "p100: 3", 1), "t.yaml:5:43: p100: duration")
	fails(strings.Replace(small, "p100: 3ms", "p100: 3us", 1), "must be above")
	fails(strings.Replace(small, "p100: 3ms", "p101: 3ms", 1), "want p0 to p100")
	fails(strings.Replace(small, "op: write", "op: trim", 1), `"trim": want read, write or sync`)
	fails(strings.Replace(small, "p50: 2ms", "speed: 2ms", 1), `unknown key "speed"`)
	fails(strings.Replace(small, "  - {op: write, size: 4KiB, p50: 2ms}\n", "", 1), "at least one row for read, one for write")
	fails(strings.Replace(small, "channels: 2", "channels: 0", 1), "channels 0: want 1 to")
	fails(small+"dilation: 0.5\n", "dilation 0.5")
	fails(small+"dilation: NaN\n", "dilation NaN")
}

func TestLoadSaysWhatItTakes(t *testing.T) {
	fails := func(ref, want string) {
		t.Helper()
		if _, err := Load(ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q): %v, want %q", ref, err, want)
		}
	}
	fails("floppy", "want one of cloud-network, hdd, nvme, sata-ssd")
	fails("nowhere.yaml", "no such file")
	fails("/dev/zero", "want a file")
}

func FuzzParsedProfilesAreValidAndPrintBack(f *testing.F) {
	f.Add([]byte(small))
	for _, name := range Names() {
		text, _ := shipped.ReadFile("shipped/" + name + ".yaml")
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("t", text)
		if err != nil {
			return
		}
		again, err := Parse("again", p.YAML())
		if err != nil {
			t.Fatalf("%v\n%s", err, p.YAML())
		}
		if len(again.Service) != len(p.Service) || again.Channels != p.Channels {
			t.Errorf("printed and parsed it differs:\n%s", p.YAML())
		}
	})
}
