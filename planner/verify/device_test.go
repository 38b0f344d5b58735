package verify

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"headroom/node/disk/profile"
	"headroom/planner/model"
	"headroom/planner/plan"
)

// row is a catalog with one type: 200,000 reads per second.
const row = `type,vcpu,ram_gib,nvme_n,nvme_gb,read_iops,write_iops,net_base_gbps,net_burst_gbps,od_usd_h,ri3y_usd_h,confidence,source,date,note,read_mbps,write_mbps,dwpd
t,64,256,1,400,200000,110000,25,25,0.62,,measured,test,undated,,1400,820,3
`

// flashPlan is planOf with its records on devices of the type above.
func flashPlan(t *testing.T, resource string, fewer float64) *plan.Plan {
	t.Helper()
	file := filepath.Join(t.TempDir(), "catalog.csv")
	if err := os.WriteFile(file, []byte(row), 0o644); err != nil {
		t.Fatal(err)
	}
	p := planOf(resource, fewer)
	p.Requirements.Catalogs = []string{file}
	p.Requirements.Namespaces[0].Flash = true
	p.Requirements.Namespaces[0].Reads = model.Point(4e5)
	return p
}

func TestDevicesAreEmulatedAtThePlansUtilisation(t *testing.T) {
	p := flashPlan(t, "device_iops", 1.2)
	card, c := verdict(t, p, map[int]bool{5: true})
	if len(c.loads) != 2 || card.Verdict != plan.Confirmed {
		t.Fatalf("%d trials, %s: %s", len(c.loads), card.Verdict, card.Text)
	}
	if card.Miniature.Dilation != 410 || card.Miniature.Rates != card.Miniature.Dilation {
		t.Errorf("miniature %+v: want rates divided by the dilation, 410", card.Miniature)
	}
	device := strings.TrimPrefix(c.loads[0].Device, "emulated:")
	file, ok := strings.CutSuffix(device, "@410")
	if !ok || c.loads[1].Device != c.loads[0].Device {
		t.Fatalf("devices %q and %q: want one, dilated 410 times", c.loads[0].Device, c.loads[1].Device)
	}
	d, err := profile.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	// What is read from memory does not get there.
	size, _ := strconv.ParseInt(strings.TrimPrefix(c.loads[0].Set[1], "device-size="), 10, 64)
	cached := model.CachedBytes(size, writeBlock) / (48 << 20 / flashShare)
	want := 200e3 * p.Requirements.Limits.IOPS.P50 * (1 - cached)
	if got := d.MaxRate(profile.Read, smallRead); math.Abs(got/want-1) > 0.01 {
		t.Errorf("the device serves %.0f reads/s, the plan allows itself %.0f", got, want)
	}
	for _, key := range []string{"device-size=", "write-block-size=131072", "commit-to-device=false"} {
		if set := strings.Join(c.loads[0].Set, " "); !strings.Contains(set, key) {
			t.Errorf("nodes with %s, want %s", set, key)
		}
	}
	if !slices.ContainsFunc(card.Compared, func(c plan.Compared) bool { return c.Name == "p99 of reads, healthy, dilated x410" }) {
		t.Errorf("no p99 of reads with its dilation in %+v", card.Compared)
	}
}

func TestAPercentileIsHeldAgainstTheDilatedTarget(t *testing.T) {
	p := flashPlan(t, "read_p99", 1.2)
	p.Requirements.Targets.ReadP99, p.Requirements.Targets.DegradedReadP99 = 1e-3, 2e-3
	cfg := Config{Plan: p, Dir: t.TempDir()}.withDefaults()
	m, err := shrink(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{healthy: times{readP99: 0.4}, lost: times{readP99: 0.9}}
	late := m.late(s)
	if len(late) != 1 || !strings.Contains(late[0], "after the loss") || !strings.Contains(late[0], "dilated x410") {
		t.Errorf("late %q: want 0.9 s against 2 ms times 410, and the 0.4 s against 1 ms times 410 let through", late)
	}
}

func TestFewerThatFailOnALateHostProveNothing(t *testing.T) {
	m := &miniature{cfg: &Config{}, best: &flashPlan(t, "device_iops", 1.2).Candidates[0], kind: devices, device: &device{}}
	var card plan.Verification
	m.judge(&card, &seen{Trial: plan.Trial{Nodes: 5, Holds: true}}, &seen{Trial: plan.Trial{Nodes: 4}, offSchedule: true})
	if card.Verdict != plan.NotDistinguishable {
		t.Errorf("%s: %s", card.Verdict, card.Text)
	}
}

func TestAMixOfStoragesIsRefused(t *testing.T) {
	p := flashPlan(t, "device_iops", 1.2)
	second := p.Requirements.Namespaces[0]
	second.Name, second.Flash = "memory", false
	p.Requirements.Namespaces = append(p.Requirements.Namespaces, second)
	_, err := Run(t.Context(), Config{Plan: p, Dir: t.TempDir(), Start: (&cluster{t: t}).start})
	if err == nil || !strings.Contains(err.Error(), "on devices alone") {
		t.Errorf("error %v", err)
	}
}

func TestAQueueThatHadNoTimeToGrowProvesNothing(t *testing.T) {
	f := func(rate float64, want plan.Verdict) {
		t.Helper()
		c := &cluster{t: t, holds: map[int]bool{5: true, 4: true}}
		card, err := Run(t.Context(), Config{Plan: flashPlan(t, "device_iops", 1.2), Dir: t.TempDir(), OpsPerSec: rate, Start: c.start})
		if err != nil {
			t.Fatal(err)
		}
		if card.Verdict != want {
			t.Errorf("at %g/s %s: %s; want %s", rate, card.Verdict, card.Text, want)
		}
	}
	f(4000, plan.Refuted)
	f(420, plan.NotDistinguishable)
}
