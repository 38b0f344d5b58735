package device

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ACT is the output of act_storage or act_index as it was read.
type ACT struct {
	Unit   time.Duration // of the histograms: microsecond or millisecond
	Slices []ACTSlice
}

// ACTSlice is what happened between two outputs.
type ACTSlice struct {
	FromSec, ToSec int
	Reads          int64
	Over           []float64 // share of reads beyond each limit
	Passed         bool
}

// actBuckets is the most a histogram of ACT has: powers of two of 64 bits.
const actBuckets = 64

var (
	actAfter  = regexp.MustCompile(`^after (\d+) sec`)
	actBucket = regexp.MustCompile(`\((\d+): (\d+)\)`)
)

// ImportACT reads ACT's output and judges its slices by limits. Each must lie
// on a boundary of the histograms: bucket n counts what took above 2^(n-1) to
// 2^n units, so 1 ms is the 1.024 ms of bucket 10 when the unit is 1 us.
func ImportACT(text []byte, limits []Limit) (*ACT, error) {
	a := &ACT{Unit: time.Millisecond}
	if bytes.Contains(text, []byte("microsecond-histograms: yes")) {
		a.Unit = time.Microsecond
	}
	var before, now [actBuckets]int64
	last, at, reading := 0, -1, false
	file := func() error {
		if at >= 0 {
			s, err := actSlice(a.Unit, &before, &now, limits)
			if err != nil {
				return err
			}
			s.FromSec, s.ToSec = last, at
			a.Slices = append(a.Slices, s)
			before, last = now, at
		}
		return nil
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if m := actAfter.FindStringSubmatch(line); m != nil {
			if err := file(); err != nil {
				return nil, err
			}
			at, _ = strconv.Atoi(m[1]) // digits; a number too large is zero
			now, reading = [actBuckets]int64{}, false
			continue
		}
		if at < 0 || line == "" {
			continue
		}
		if line[0] != '(' {
			reading = strings.Fields(line)[0] == "reads"
			a.unit(line, reading)
			continue
		}
		for _, m := range actBucket.FindAllStringSubmatch(line, -1) {
			i, err := strconv.Atoi(m[1])
			n, err2 := strconv.ParseInt(m[2], 10, 64)
			if errors.Join(err, err2) != nil || i >= actBuckets {
				return nil, fmt.Errorf("ACT output: %q is no bucket of a histogram", m[0])
			}
			if reading {
				now[i] = n
			}
		}
	}
	if err := errors.Join(lines.Err(), file()); err != nil {
		return nil, err
	}
	if len(a.Slices) == 0 {
		return nil, errors.New("not ACT's output: no line \"after N sec:\"")
	}
	return a, nil
}

// unit notes the unit in a histogram's headline, if it has one.
func (a *ACT) unit(line string, reading bool) {
	switch {
	case reading && (strings.HasSuffix(line, "usec") || strings.HasSuffix(line, "us")):
		a.Unit = time.Microsecond
	case reading && (strings.HasSuffix(line, "msec") || strings.HasSuffix(line, "ms")):
		a.Unit = time.Millisecond
	}
}

// actSlice judges the difference of two cumulative histograms.
func actSlice(unit time.Duration, before, now *[actBuckets]int64, limits []Limit) (ACTSlice, error) {
	s := ACTSlice{Passed: true}
	var count [actBuckets]int64
	for i := range count {
		if count[i] = now[i] - before[i]; count[i] < 0 {
			return s, errors.New("ACT output: counts go down: two outputs in one file?")
		}
		s.Reads += count[i]
	}
	if s.Reads == 0 {
		return s, errors.New("ACT output: an interval without reads")
	}
	for _, l := range limits {
		over := int64(0)
		for i, n := range count {
			// The bucket is beyond the limit when its lower end is not below
			// it; 1.024 ms is what ACT calls 1 ms.
			if i > 0 && unit<<(i-1) >= l.Over {
				over += n
			}
		}
		share := float64(over) / float64(s.Reads)
		s.Over = append(s.Over, share)
		s.Passed = s.Passed && share < l.Share
	}
	return s, nil
}

// Worst returns the index of the slice that comes nearest to its limits.
func (a *ACT) Worst(limits []Limit) int {
	worst, most := 0, -1.0
	for i := range a.Slices {
		for k, l := range limits {
			if b := a.Slices[i].Over[k] / l.Share; b > most {
				worst, most = i, b
			}
		}
	}
	return worst
}
