package local

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"headroom/loadgen/result"
)

// Machine describes this machine and this program for a run's environment.
// What cannot be read stays empty.
func Machine() result.Environment {
	e := result.Environment{Cores: runtime.NumCPU(), GoVersion: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Flags: map[string]string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		e.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	e.CPUModel = field("/proc/cpuinfo", "model name")
	if kb, err := strconv.ParseUint(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		e.MemBytes = kb << 10
	}
	e.Governor = firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	e.Clock = firstLine("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if load := strings.Fields(firstLine("/proc/loadavg")); len(load) >= 3 {
		e.LoadAvg = strings.Join(load[:3], " ")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				e.GitSHA = s.Value
			case "vcs.modified":
				e.GitDirty = s.Value == "true"
			}
		}
	}
	return e
}

// OnThisMachine reports whether any of the addresses (host:port) is one of this
// machine's own. Names are looked up; one that cannot be is somewhere else.
func OnThisMachine(addrs []string) bool {
	own, _ := net.InterfaceAddrs() // without them loopback is still known
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		list, err := net.LookupIP(host)
		if err != nil {
			continue
		}
		for _, ip := range list {
			if ip.IsLoopback() || slices.ContainsFunc(own, func(o net.Addr) bool {
				n, ok := o.(*net.IPNet)
				return ok && n.IP.Equal(ip)
			}) {
				return true
			}
		}
	}
	return false
}

// field returns the value of the first "name : value" line of a file.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// CPUTicks are the ticks of all cores since boot, those stolen by the
// hypervisor and those spent idle or waiting for a disk.
type CPUTicks struct{ Total, Steal, Idle uint64 }

// ReadCPUTicks reads /proc/stat; zero when it cannot.
func ReadCPUTicks() CPUTicks {
	var t CPUTicks
	words := strings.Fields(firstLine("/proc/stat"))
	for i, w := range words {
		v, err := strconv.ParseUint(w, 10, 64)
		if i == 0 || i > 8 || err != nil { // "cpu", then user … steal; guest is part of user
			continue
		}
		t.Total += v
		switch i {
		case 4, 5:
			t.Idle += v
		case 8:
			t.Steal = v
		}
	}
	return t
}

// StealPct is the share of stolen time since an earlier reading.
func (t CPUTicks) StealPct(earlier CPUTicks) float64 {
	if t.Total <= earlier.Total {
		return 0
	}
	return 100 * float64(t.Steal-earlier.Steal) / float64(t.Total-earlier.Total)
}

// managed are the node flags that the launcher itself sets.
var managed = []string{"node-id", "cluster-name", "listen", "seed", "http", "data-dir", "credentials", "config", "help",
	"advertise", "insecure", "namespace"}

var flagName = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z0-9-]+)`)

// CheckFlags asks the node binary whether it would run with these flags, which
// are those of Config.Flags. A binary that cannot tell is taken to agree.
func CheckFlags(binary string, flags map[string]string) error {
	args := []string{"check"}
	for _, key := range sortedKeys(flags) {
		args = append(args, "--"+key+"="+flags[key])
	}
	out, err := exec.Command(binary, args...).CombinedOutput()
	text := strings.TrimPrefix(strings.TrimSpace(string(out)), "headroom-node: ")
	if err == nil || strings.HasPrefix(text, "unknown command") {
		return nil
	}
	return fmt.Errorf("the nodes refuse this: %s", text)
}

// NodeKeys lists the flags that the node binary has and that may be given in
// Config.Flags.
func NodeKeys(binary string) ([]string, error) {
	// The usage text may come with exit code 0 or 2, on either stream.
	out, err := exec.Command(binary, "run", "--help").CombinedOutput()
	var keys []string
	for _, m := range flagName.FindAllStringSubmatch(string(out), -1) {
		if !slices.Contains(managed, m[1]) {
			keys = append(keys, m[1])
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s run --help lists no flags: %v", binary, err)
	}
	return keys, nil
}
