// Package hlog reads the interval logs of a run folder fast: an hour of twenty
// operations is 216,000 histograms, for which the library's dense decoder
// needs half a minute of CPU and this one two seconds. It also owns the dense
// Counts into which intervals are added up. It knows nothing of run folders
// beyond the shape of their histograms (result.NewHistogram) and judges
// nothing.
//
// The invariant to know: Counts.Quantile gives exactly what result.Quantile
// gives on the library's histogram of the same samples; a test holds both
// together. A log of another shape is read through the library and recorded
// anew, so that everything adds up in one shape.
//
// Start reading at Reader.Next.
package hlog

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/klauspost/compress/zlib"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds on what a damaged or hostile log can ask for.
const (
	maxLine    = 1 << 20 // bytes of one interval's line; a full histogram of this shape is 60 KB
	maxPayload = 1 << 20 // bytes of one decompressed histogram
	headerSize = 40      // of a decompressed V2 histogram
	cookieV2   = 0x1c849303
	cookieV2Z  = 0x1c849304
)

// Bin is one non-empty bucket of a histogram.
type Bin struct {
	Index int32 // see Value
	Count int64
}

// Interval is one line of a log. Bins are in rising order and valid until the
// reader's next call of Next.
type Interval struct {
	FromMS, ToMS int64 // Unix milliseconds
	Total        int64 // samples
	Beyond       int64 // samples too long for the shape, not in Bins
	Bins         []Bin
}

// Reader reads one interval log.
type Reader struct {
	f       *os.File
	in      *bufio.Reader
	base    float64 // seconds added to every time stamp
	raw     []byte  // base64-decoded line
	payload bytes.Buffer
	z       io.ReadCloser
	iv      Interval
}

// Open opens a log. The caller closes it.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Reader{f: f, in: bufio.NewReaderSize(f, 256<<10)}, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }

// Next returns the next interval, io.EOF after the last. After any other
// error the reader is of no further use.
func (r *Reader) Next() (*Interval, error) {
	for {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		switch {
		case len(line) == 0 || line[0] == '"':
			continue // the legend
		case line[0] == '#':
			if err := r.comment(line); err != nil {
				return nil, err
			}
			continue
		}
		if bytes.HasPrefix(line, []byte("Tag=")) {
			_, line, _ = bytes.Cut(line, []byte(","))
		}
		return r.interval(line)
	}
}

// line returns the next line without its end; a last line without an end
// counts as one.
func (r *Reader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := append([]byte(nil), line...)
		for errors.Is(err, bufio.ErrBufferFull) && len(long) <= maxLine {
			line, err = r.in.ReadSlice('\n')
			long = append(long, line...)
		}
		if len(long) > maxLine {
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
		line = long
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

func (r *Reader) comment(line []byte) error {
	const prefix = "#[BaseTime: "
	if !bytes.HasPrefix(line, []byte(prefix)) {
		return nil
	}
	text, _, _ := bytes.Cut(line[len(prefix):], []byte(" "))
	base, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("base time %q is no number", text)
	}
	r.base = base
	return nil
}

// interval parses "start,length,max,histogram".
func (r *Reader) interval(line []byte) (*Interval, error) {
	parts := bytes.SplitN(line, []byte(","), 4)
	if len(parts) != 4 {
		return nil, errors.New("a line that is no interval")
	}
	from, err1 := strconv.ParseFloat(string(parts[0]), 64)
	length, err2 := strconv.ParseFloat(string(parts[1]), 64)
	if err1 != nil || err2 != nil || !(math.Abs(from) < 1e12) || !(length >= 0 && length < 1e9) {
		return nil, fmt.Errorf("time stamps %q, %q are none", parts[0], parts[1])
	}
	r.iv = Interval{FromMS: int64(math.Round((from + r.base) * 1000)), ToMS: int64(math.Round((from + r.base + length) * 1000)), Bins: r.iv.Bins[:0]}
	if err := r.histogram(parts[3]); err != nil {
		return nil, err
	}
	return &r.iv, nil
}

func (r *Reader) histogram(text []byte) error {
	if n := base64.StdEncoding.DecodedLen(len(text)); cap(r.raw) < n {
		r.raw = make([]byte, 2*n)
	}
	n, err := base64.StdEncoding.Decode(r.raw[:cap(r.raw)], text)
	if err != nil {
		return err
	}
	raw := r.raw[:n]
	if n < 8 || binary.BigEndian.Uint32(raw)&^0xf0 != cookieV2Z {
		return errors.New("not a compressed V2 histogram")
	}
	if err := r.inflate(raw[8:]); err != nil {
		return err
	}
	p := r.payload.Bytes()
	if len(p) < headerSize || binary.BigEndian.Uint32(p)&^0xf0 != cookieV2 {
		return errors.New("not a V2 histogram")
	}
	if int64(binary.BigEndian.Uint32(p[12:])) != digits || int64(binary.BigEndian.Uint64(p[16:])) != lowest || int64(binary.BigEndian.Uint64(p[24:])) != highest {
		return r.reshape(text)
	}
	size := int(binary.BigEndian.Uint32(p[4:]))
	if size < 0 || size > len(p)-headerSize {
		return fmt.Errorf("histogram of %d bytes is cut to %d", size, len(p)-headerSize)
	}
	return r.counts(p[headerSize : headerSize+size])
}

func (r *Reader) inflate(data []byte) (err error) {
	src := bytes.NewReader(data)
	if r.z == nil {
		r.z, err = zlib.NewReader(src)
	} else {
		err = r.z.(zlib.Resetter).Reset(src, nil)
	}
	if err != nil {
		return err
	}
	r.payload.Reset()
	n, err := r.payload.ReadFrom(io.LimitReader(r.z, maxPayload+1))
	if err == nil && n > maxPayload {
		err = fmt.Errorf("a histogram of more than %d bytes", maxPayload)
	}
	return err
}

// counts decodes zigzag LEB128: a positive number is a count, a negative one a
// run of empty buckets.
func (r *Reader) counts(p []byte) error {
	at := int64(0)
	for len(p) > 0 {
		u, n := uvarint(p)
		if n <= 0 {
			return errors.New("a cut or overlong number")
		}
		p = p[n:]
		v := int64(u>>1) ^ -int64(u&1)
		if v < 0 {
			if at -= v; at > buckets || at < 0 {
				return errors.New("more buckets than the shape has")
			}
			continue
		}
		if at >= buckets {
			return errors.New("more buckets than the shape has")
		}
		if v > 0 {
			if v > math.MaxInt64-r.iv.Total {
				return errors.New("more samples than can be counted")
			}
			r.iv.Bins = append(r.iv.Bins, Bin{int32(at), v})
			r.iv.Total += v
		}
		at++
	}
	return nil
}

// uvarint is the LEB128 of HdrHistogram: like the one of encoding/binary, but
// its ninth byte holds eight bits.
func uvarint(p []byte) (v uint64, n int) {
	for i := 0; i < len(p) && i < 9; i++ {
		if i == 8 {
			return v | uint64(p[i])<<56, 9
		}
		v |= uint64(p[i]&0x7f) << (7 * i)
		if p[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// reshape records a histogram of another shape anew in ours.
func (r *Reader) reshape(text []byte) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library indexes into what it decodes
			err = fmt.Errorf("damaged histogram: %v", p)
		}
	}()
	h, err := hdr.Decode(text)
	if err != nil {
		return err
	}
	sum := NewCounts()
	for _, b := range h.Distribution() {
		if b.Count == 0 {
			continue
		}
		i := Index(b.To)
		if int64(i) >= buckets {
			r.iv.Beyond += b.Count
			continue
		}
		sum.add(i, b.Count)
	}
	r.iv.Bins, r.iv.Total = sum.Sparse(r.iv.Bins), sum.Total
	return nil
}
