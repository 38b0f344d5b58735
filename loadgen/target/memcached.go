package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"
)

// DialMemcached connects to one memcached server, 1.6 or later: it speaks the
// meta commands (mg, ms, md, ma), of which a batch is as many in one write.
// Operate is an ma with J of a key beside the record.
func DialMemcached(ctx context.Context, cfg StreamConfig) (*Stream, error) {
	s := &Stream{cfg: cfg, refuse: refuseMemcached, codec: func() codec { return memcached{} }}
	return s.open(ctx)
}

func refuseMemcached(k Kind) error {
	if k == Scan {
		return errors.New("memcached has no ranges of records")
	}
	return nil
}

// memcached is the codec of one connection.
type memcached struct{}

// hello asks for a sign of life in the meta protocol.
func (memcached) hello(rw *bufio.ReadWriter) error {
	if _, err := rw.WriteString("mn\r\n"); err != nil {
		return err
	}
	if err := rw.Flush(); err != nil {
		return err
	}
	line, err := readLine(rw.Reader)
	if err != nil {
		return err
	}
	if string(line) != "MN" {
		return fmt.Errorf("this is no memcached 1.6 or later: it answers %.40q to mn", line)
	}
	return nil
}

// encode implements codec.
func (memcached) encode(b []byte, op *Op) []byte {
	switch op.Kind {
	case Read:
		b = append(appendKey(append(b, "mg "...), op.Key), " v\r\n"...)
	case Write:
		b = appendMetaSet(b, op.Key, op.Value, op.TTL)
	case Delete:
		b = append(appendKey(append(b, "md "...), op.Key), '\r', '\n')
	case Operate:
		b = append(appendKey(append(b, "ma "...), op.Key), counterSuffix+" N0 J1 v\r\n"...)
	case Touch:
		b = appendMetaTTL(appendKey(append(b, "mg "...), op.Key), op.TTL)
		b = append(b, '\r', '\n')
	case BatchRead:
		for _, k := range op.Keys {
			b = append(appendKey(append(b, "mg "...), k), " v\r\n"...)
		}
	case BatchWrite:
		for i, k := range op.Keys {
			b = appendMetaSet(b, k, op.Values[i], op.TTL)
		}
	}
	return b
}

func appendMetaSet(b []byte, key uint64, value []byte, ttl time.Duration) []byte {
	b = append(appendKey(append(b, "ms "...), key), ' ')
	b = appendMetaTTL(appendUint(b, uint64(len(value))), ttl)
	return append(append(append(b, '\r', '\n'), value...), '\r', '\n')
}

// appendMetaTTL appends the flag of a time to live in seconds. Beyond 30 days
// memcached takes the number for an instant.
func appendMetaTTL(b []byte, ttl time.Duration) []byte {
	const relativeMax = 30 * 24 * 3600
	s := uint64((ttl + time.Second - 1) / time.Second)
	if s > relativeMax {
		s += uint64(time.Now().Unix())
	}
	return appendUint(append(b, " T"...), s)
}

// decode implements codec.
func (c memcached) decode(in *bufio.Reader, kind Kind, n int, buf []byte, r *Result, item func(*Result)) ([]byte, error) {
	if kind != BatchRead && kind != BatchWrite && kind != batchExpiring {
		return c.one(in, buf, r)
	}
	r.Outcome = OK
	for i := range n {
		one := Result{Token: r.Token, More: true, Item: i}
		var err error
		if buf, err = c.one(in, buf, &one); err != nil {
			return buf, err
		}
		if one.Outcome == Failed {
			r.Outcome, r.Err = Failed, one.Err
		}
		item(&one)
	}
	return buf, nil
}

// one reads one reply: VA with a value, HD done, EN and NF not found, NS not
// stored, or an error.
func (memcached) one(in *bufio.Reader, buf []byte, r *Result) ([]byte, error) {
	line, err := readLine(in)
	if err != nil {
		return buf, err
	}
	head, rest, _ := cutByte(line, ' ')
	switch string(head) {
	case "HD":
		r.Outcome = OK
	case "EN", "NF":
		r.Outcome = NotFound
	case "VA":
		digits, _, _ := cutByte(rest, ' ')
		size, ok := parseUint(digits)
		if !ok {
			return buf, fmt.Errorf("memcached: a value of length %.40q", digits)
		}
		if buf, err = readValue(in, size, buf); err != nil {
			return buf, err
		}
		r.Outcome, r.Value = OK, buf
	case "NS", "SERVER_ERROR", "CLIENT_ERROR":
		r.Outcome, r.Err = Failed, errors.New("memcached: "+string(line))
	default:
		return buf, fmt.Errorf("memcached: a reply that begins with %.40q", line)
	}
	return buf, nil
}
