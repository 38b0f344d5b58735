package catalog

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestShippedCatalogsParse(t *testing.T) {
	types, err := Load(Shipped())
	if err != nil {
		t.Fatal(err)
	}
	if len(types) < 38 {
		t.Errorf("%d types, want the 37 of the clouds and the examples", len(types))
	}
	for _, ty := range types {
		if ty.Source == "" || ty.Date == "" || ty.Confidence == "" {
			t.Errorf("%s has no source, date or confidence", ty.Name)
		}
	}
	for _, name := range Default() {
		if strings.HasSuffix(name, "-example") {
			t.Errorf("the example %s is in the default catalog", name)
		}
	}
}

const good = "type,vcpu,ram_gib,nvme_n,nvme_gb,read_iops,write_iops,net_base_gbps,net_burst_gbps,od_usd_h,confidence,source,date\n"

func TestEmptyCellIsUnknownNotZero(t *testing.T) {
	types, err := Parse("x.csv", strings.NewReader(good+"a,4,32,1,1000,,,,10,,published,me,undated\n"))
	if err != nil {
		t.Fatal(err)
	}
	a := types[0]
	if !math.IsNaN(a.ReadIOPS) || !math.IsNaN(a.NetBase) || !math.IsNaN(a.USDPerHour) || a.NetBurst != 10e9/8 || a.Bytes() != 1e12 {
		t.Errorf("%+v", a)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := Parse("x.csv", strings.NewReader(text))
		if err == nil {
			t.Errorf("%q: no error", text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q does not say %q", err, w)
			}
		}
	}
	f("", "x.csv", "empty")
	f(good, "no types")
	f(strings.Replace(good, ",ram_gib", "", 1)+"a,4\n", "x.csv:1", "ram_gib", "missing")
	f(strings.Replace(good, "ram_gib", "ram_gb", 1), "unknown column", "did you mean \"ram_gib\"")
	f(good+"a,4,32,1,1000,,,,10,,published,me\n", "x.csv", "wrong number of fields")
	f(good+"a,four,32,1,1000,,,,10,,published,me,undated\n", "x.csv:2", "vcpu", "four")
	f(good+"a,4,32,1,1000,-1,,,10,,published,me,undated\n", "read_iops")
	f(good+"a,4,32,1,1000,,,,10,,perhaps,me,undated\n", "confidence")
	f(good+"a,4,32,1,1000,,,,10,,published,,\n", "source and date")
	f(good+"a,,32,1,1000,,,,10,,published,me,undated\n", "vcpu", "empty")
	f(good+"a,4,32,1,,,,,10,,published,me,undated\n", "nvme_gb")
	f(good+"a,4,32,0,,,,,10,,published,me,undated\na,4,32,0,,,,,10,,published,me,undated\n", "x.csv:3", "twice")
	f(good+"a,NaN,32,0,,,,,10,,published,me,undated\n", "vcpu")
	f(good+"a,4,1e300,0,,,,,10,,published,me,undated\n", "ram_gib", "1e+12")
	rows := ""
	for i := range maxRows + 1 {
		rows += fmt.Sprintf("t%d,4,32,0,,,,,10,,published,me,undated\n", i)
	}
	f(good+rows, "at most 10000 types")
	f(good+"# "+strings.Repeat("x", maxFile)+"\na,4,32,0,,,,,10,,published,me,undated\n", "4 MiB")
}

func TestOwnRowsOverrideShippedOnes(t *testing.T) {
	if _, err := Load([]string{"aws", "no-such-catalog"}); err == nil || !strings.Contains(err.Error(), "aws") {
		t.Errorf("error %v does not list the shipped catalogs", err)
	}
	types, err := Load([]string{"aws", "aws"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(types); n != 33 {
		t.Errorf("%d types, want each once", n)
	}
}

func TestPatternsSelectTypes(t *testing.T) {
	ty := Type{Name: "i4i.4xlarge"}
	for p, want := range map[string]bool{"i4i.*": true, "i4i.4xlarge": true, "i3*": false, "*": true, "": false} {
		if got := ty.Match([]string{p}); got != want {
			t.Errorf("Match(%q) = %v", p, got)
		}
	}
	if !ty.Match(nil) {
		t.Error("no pattern must match all")
	}
}
