package units

import (
	"testing"
	"time"
)

func TestSizesRatesCountsAndDurationsParse(t *testing.T) {
	bytes := func(in string, want Bytes) {
		t.Helper()
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %v, %v, want %d", in, got, err, want)
		}
	}
	bytes("1KiB", 1024)
	bytes("100B", 100)
	bytes("100", 100)
	bytes("1.5 MiB", 3<<19)
	bytes("2GB", 2e9)
	rate := func(in string, want Rate) {
		t.Helper()
		if got, err := ParseRate(in); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v, want %v", in, float64(got), err, float64(want))
		}
	}
	rate("20k/s", 20000)
	rate("1.1k/s", 1100)
	rate("0.5/s", 0.5)
	rate("2000", 2000)
	bits := func(in string, want Bits) {
		t.Helper()
		if got, err := ParseBits(in); err != nil || got != want {
			t.Errorf("ParseBits(%q) = %v, %v, want %v", in, float64(got), err, float64(want))
		}
	}
	bits("10Gb/s", 10e9)
	bits("2.5 Gbit/s", 2.5e9)
	bits("100Mb/s", 100e6)
	bits("64000", 64000)
	if got, err := ParseCount("1.5M"); err != nil || got != 1_500_000 {
		t.Errorf("ParseCount = %d, %v", got, err)
	}
	if got, err := ParseDuration("2d"); err != nil || got != 48*time.Hour {
		t.Errorf("ParseDuration(2d) = %v, %v", got, err)
	}
}

func TestBadUnitsAreRefused(t *testing.T) {
	for _, s := range []string{"", "x", "-1B", "1.5B", "1 KiX", "NaN", "1e300", "Inf"} {
		if v, err := ParseBytes(s); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", s, v)
		}
	}
	for _, s := range []string{"", "0/s", "-5/s", "5/m", "fast", "NaN/s"} {
		if v, err := ParseRate(s); err == nil {
			t.Errorf("ParseRate(%q) = %v, want an error", s, v)
		}
	}
	for _, s := range []string{"", "0Gb/s", "-1Mb/s", "10GB/s", "1Gbps"} {
		if v, err := ParseBits(s); err == nil {
			t.Errorf("ParseBits(%q) = %v, want an error", s, v)
		}
	}
	for _, s := range []string{"", "10", "-1s", "1y"} {
		if v, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, v)
		}
	}
}

func FuzzPrintedUnitsParseBack(f *testing.F) {
	f.Add(int64(1024))
	f.Add(int64(1000))
	f.Fuzz(func(t *testing.T, n int64) {
		n &= 1<<53 - 1
		if got, err := ParseBytes(Bytes(n).String()); err != nil || got != Bytes(n) {
			t.Errorf("%d prints as %s, reads back as %d, %v", n, Bytes(n), got, err)
		}
	})
}

func TestRatesPrintShort(t *testing.T) {
	for in, want := range map[Rate]string{20000: "20k/s", 1.5e6: "1.5M/s", 200: "200/s", 2000: "2000/s"} {
		if in.String() != want {
			t.Errorf("Rate(%v) prints %s, want %s", float64(in), in, want)
		}
	}
}
