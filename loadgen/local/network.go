package local

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// network is what this host's interfaces and UDP buffers have seen so far.
type network struct {
	at      time.Time
	links   map[string]traffic
	dropped uint64 // datagrams that found a full buffer, either way
}

// traffic of one interface, in bytes since boot.
type traffic struct {
	received, sent uint64
	bitsPerS       int64 // 0: it does not tell
}

// readNetwork reads /proc/net; what it cannot read is left out. speed, unless
// zero, is that of every interface but loopback.
func readNetwork(speed int64) network {
	n := network{at: time.Now(), links: map[string]traffic{}}
	each("/proc/net/dev", func(line string) {
		name, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if !ok || len(words) < 9 {
			return // the two lines of headings
		}
		t := traffic{received: number(words[0]), sent: number(words[8])}
		name = strings.TrimSpace(name)
		if t.bitsPerS = speed; name == "lo" {
			t.bitsPerS = 0
		}
		// Megabits a second; loopback has none, a virtual one says -1 or nothing.
		if mbit, err := strconv.ParseInt(firstLine(filepath.Join("/sys/class/net", name, "speed")), 10, 64); err == nil && speed == 0 {
			t.bitsPerS = max(0, mbit) * 1e6
		}
		n.links[name] = t
	})
	var names []string
	each("/proc/net/snmp", func(line string) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "Udp:" {
			return
		}
		if names == nil { // a line of names, then one of figures
			names = words
			return
		}
		for i := range min(len(words), len(names)) {
			if names[i] == "RcvbufErrors" || names[i] == "SndbufErrors" {
				n.dropped += number(words[i])
			}
		}
	})
	return n
}

// busyPct is the share of the speed of the busiest interface that was used
// since an earlier look, in its fuller direction; -1 when none tells its speed.
func (n *network) busyPct(before *network) float64 {
	share, length := -1.0, n.at.Sub(before.at).Seconds()
	for name, t := range n.links {
		b, ok := before.links[name]
		if !ok || t.bitsPerS == 0 || length <= 0 {
			continue
		}
		bytes := max(float64(t.received)-float64(b.received), float64(t.sent)-float64(b.sent))
		share = max(share, 800*bytes/length/float64(t.bitsPerS))
	}
	return share
}

func number(s string) uint64 {
	v, _ := strconv.ParseUint(s, 10, 64)
	return v
}

// each calls f with the lines of a file, none if there is no such file.
func each(path string, f func(line string)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		f(lines.Text())
	}
}
