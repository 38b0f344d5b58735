package result

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxCSVLines bounds what the reader takes from one file: a day of seconds of
// seven operations is 600 thousand lines.
const maxCSVLines = 10_000_000

// csvFile is a CSV file being written.
type csvFile struct {
	f *os.File
	w *csv.Writer
}

func createCSV(path string, header []string) (*csvFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	c := &csvFile{f: f, w: csv.NewWriter(f)}
	_ = c.w.Write(header) // into memory; flush tells
	return c, c.flush()
}

func (c *csvFile) line(cells ...string) error { return c.w.Write(cells) }

func (c *csvFile) flush() error {
	c.w.Flush()
	return c.w.Error()
}

// readCSV calls f for each line after the header. A file may have more columns
// than header names, on the right: newer writers add some. A last line that was
// cut short is left out.
func readCSV(path string, header []string, f func(*cells)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.ReuseRecord = true
	first, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: header: %w", path, err)
	}
	if len(first) < len(header) || !slices.Equal(first[:len(header)], header) {
		return fmt.Errorf("%s: header is %.120q, want %q", path, strings.Join(first, ","), strings.Join(header, ","))
	}
	for n := 0; n < maxCSVLines; n++ {
		line, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if _, next := r.Read(); next == io.EOF {
				return nil // the last line was cut short: a crash, or a full disk
			}
			return fmt.Errorf("%s: %w", path, err)
		}
		c := cells{line: line}
		f(&c)
		if c.err != nil {
			l, _ := r.FieldPos(0)
			return fmt.Errorf("%s:%d: %w", path, l, c.err)
		}
	}
	return fmt.Errorf("%s: more than %d lines", path, maxCSVLines)
}

// cells reads the cells of a line from left to right; the first error sticks.
type cells struct {
	line []string
	at   int
	err  error
}

func (c *cells) text() string {
	c.at++
	return c.line[c.at-1]
}

// number reads a float; an empty cell is empty, "inf" is infinity.
func (c *cells) number(empty float64) float64 {
	s := c.text()
	switch s {
	case "":
		return empty
	case "inf":
		return math.Inf(1)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("column %d: %q is not a number", c.at, s)
	}
	return v
}

// more reads a column that older writers did not have: empty then, and if it is
// empty.
func (c *cells) more(empty int64) int64 {
	if c.at == len(c.line) {
		return empty
	}
	return c.whole(empty)
}

// moreNumber is more for a number.
func (c *cells) moreNumber(empty float64) float64 {
	if c.at == len(c.line) {
		return empty
	}
	return c.number(empty)
}

func (c *cells) whole(empty int64) int64 {
	s := c.text()
	if s == "" {
		return empty
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("column %d: %q is not a whole number", c.at, s)
	}
	return v
}
