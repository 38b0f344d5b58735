package profile

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"headroom/workloads/units"
)

// YAML prints the profile as Parse reads it. Rates are rounded to whole bytes
// and to hundredths of requests per second.
func (p *Profile) YAML() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("version: 1")
	for _, f := range []struct{ key, value string }{{"name", p.Name}, {"class", p.Class}, {"about", p.About}, {"source", p.Source}} {
		if f.value != "" {
			line("%s: %s", f.key, strconv.Quote(f.value))
		}
	}
	line("channels: %d", p.Channels)
	if p.Capacity > 0 {
		line("capacity: %v", p.Capacity)
	}
	line("service:")
	for _, s := range p.Service {
		line("  - op: %v", s.Op)
		if s.Op != Sync {
			line("    size: %v", s.Size)
		}
		for _, pt := range s.Points {
			line("    p%s: %v", strconv.FormatFloat(math.Round(pt.Q*1e10)/1e8, 'f', -1, 64), pt.Time)
		}
	}
	caps(&b, "bandwidth", p.Bandwidth, func(v float64) string { return units.Bytes(math.Round(v)).String() + "/s" })
	caps(&b, "iops", p.IOPS, func(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + "/s" })
	if p.Stalls.Every > 0 {
		line("stalls: {every: %v, for: %v}", p.Stalls.Every, p.Stalls.For)
	}
	if p.DieAfter > 0 {
		line("die-after: %v", p.DieAfter)
	}
	if p.HangAfter > 0 {
		line("hang-after: %v", p.HangAfter)
	}
	if p.Dilation > 0 {
		line("dilation: %s", strconv.FormatFloat(p.Dilation, 'f', -1, 64))
	}
	return []byte(b.String())
}

func caps(b *strings.Builder, name string, c Caps, form func(float64) string) {
	var parts []string
	for _, f := range []struct {
		key   string
		value float64
	}{{"read", c.Read}, {"write", c.Write}, {"total", c.Total}} {
		if f.value > 0 {
			parts = append(parts, f.key+": "+form(f.value))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "%s: {%s}\n", name, strings.Join(parts, ", "))
	}
}
