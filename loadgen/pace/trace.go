package pace

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// TraceMax bounds the arrivals of a trace: 20 million are 160 MB.
const TraceMax = 20_000_000

// ReadTrace reads intended starts: one a line, seconds since the start of the
// trace with decimals, ascending; what follows the first comma or blank is
// ignored, and so are empty lines and those that begin with '#'. name is used
// in errors.
func ReadTrace(name string, r io.Reader) ([]time.Duration, error) {
	var out []time.Duration
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if i := strings.IndexAny(text, ", \t"); i >= 0 {
			text = text[:i]
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0 && v < math.MaxInt64/1e9) {
			return nil, fmt.Errorf("%s:%d: %q: want the seconds of an intended start, such as 12.000345", name, n, text)
		}
		at := time.Duration(math.Round(v * 1e9))
		if len(out) > 0 && at < out[len(out)-1] {
			return nil, fmt.Errorf("%s:%d: %s comes before the line above it: sort the trace", name, n, text)
		}
		if len(out) == TraceMax {
			return nil, fmt.Errorf("%s: more than %d arrivals: split the trace over shards", name, TraceMax)
		}
		out = append(out, at)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no arrival in it", name)
	}
	return out, nil
}
