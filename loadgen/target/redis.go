package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// DialRedis connects to one Redis server (RESP 2). Records are strings; a
// batch is one MGET or MSET (SETs in one write when records expire), operate an
// INCR of a key beside the record.
func DialRedis(ctx context.Context, cfg StreamConfig) (*Stream, error) {
	s := &Stream{cfg: cfg, refuse: refuseRedis, codec: func() codec { return &redis{cfg: cfg} }}
	return s.open(ctx)
}

func refuseRedis(k Kind) error {
	if k == Scan {
		return errors.New("redis has no ranges of records, SCAN only walks the whole key space by cursor")
	}
	return nil
}

// redis is the codec of one connection.
type redis struct{ cfg StreamConfig }

// hello logs in, selects the database and asks for a sign of life.
func (c *redis) hello(rw *bufio.ReadWriter) error {
	var lines [][]string
	switch {
	case c.cfg.User != "":
		lines = append(lines, []string{"AUTH", c.cfg.User, c.cfg.Password})
	case c.cfg.Password != "":
		lines = append(lines, []string{"AUTH", c.cfg.Password})
	}
	if c.cfg.DB != 0 {
		lines = append(lines, []string{"SELECT", strconv.Itoa(c.cfg.DB)})
	}
	for _, words := range append(lines, []string{"PING"}) {
		b := appendArray(nil, len(words))
		for _, w := range words {
			b = append(appendBulkHead(b, len(w)), w...)
			b = append(b, '\r', '\n')
		}
		if _, err := rw.Write(b); err != nil {
			return err
		}
		if err := rw.Flush(); err != nil {
			return err
		}
		line, err := readLine(rw.Reader)
		switch {
		case err != nil:
			return err
		case len(line) > 0 && line[0] == '-':
			return fmt.Errorf("redis refuses %s: %s", words[0], line[1:])
		case string(line) != "+OK" && string(line) != "+PONG":
			return fmt.Errorf("this is no redis server: it answers %.40q to %s", line, words[0])
		}
	}
	return nil
}

func appendArray(b []byte, n int) []byte {
	return append(appendUint(append(b, '*'), uint64(n)), '\r', '\n')
}

func appendBulkHead(b []byte, n int) []byte {
	return append(appendUint(append(b, '$'), uint64(n)), '\r', '\n')
}

func appendRedisKey(b []byte, key uint64) []byte {
	return append(appendKey(appendBulkHead(b, keyLen(key)), key), '\r', '\n')
}

func appendBulk(b []byte, v []byte) []byte {
	return append(append(appendBulkHead(b, len(v)), v...), '\r', '\n')
}

// encode implements codec.
func (c *redis) encode(b []byte, op *Op) []byte {
	switch op.Kind {
	case Read:
		b = appendRedisKey(append(b, "*2\r\n$3\r\nGET\r\n"...), op.Key)
	case Write:
		b = appendSet(b, op.Key, op.Value, op.TTL)
	case Delete:
		b = appendRedisKey(append(b, "*2\r\n$3\r\nDEL\r\n"...), op.Key)
	case Operate:
		b = append(b, "*2\r\n$4\r\nINCR\r\n"...)
		b = appendKey(appendBulkHead(b, keyLen(op.Key)+len(counterSuffix)), op.Key)
		b = append(b, counterSuffix+"\r\n"...)
	case Touch:
		if op.TTL == 0 {
			b = appendRedisKey(append(b, "*2\r\n$5\r\nTOUCH\r\n"...), op.Key)
			break
		}
		b = appendRedisKey(append(b, "*3\r\n$7\r\nPEXPIRE\r\n"...), op.Key)
		b = appendMillis(b, op.TTL)
	case BatchRead:
		b = append(appendArray(b, 1+len(op.Keys)), "$4\r\nMGET\r\n"...)
		for _, k := range op.Keys {
			b = appendRedisKey(b, k)
		}
	case BatchWrite:
		if op.TTL > 0 { // MSET cannot give a time to live
			for i, k := range op.Keys {
				b = appendSet(b, k, op.Values[i], op.TTL)
			}
			break
		}
		b = append(appendArray(b, 1+2*len(op.Keys)), "$4\r\nMSET\r\n"...)
		for i, k := range op.Keys {
			b = appendBulk(appendRedisKey(b, k), op.Values[i])
		}
	}
	return b
}

func appendSet(b []byte, key uint64, value []byte, ttl time.Duration) []byte {
	words := 3
	if ttl > 0 {
		words = 5
	}
	b = append(appendArray(b, words), "$3\r\nSET\r\n"...)
	b = appendBulk(appendRedisKey(b, key), value)
	if ttl > 0 {
		b = appendMillis(append(b, "$2\r\nPX\r\n"...), ttl)
	}
	return b
}

// appendMillis appends a duration as a bulk string of milliseconds.
func appendMillis(b []byte, d time.Duration) []byte {
	var digits [20]byte
	return appendBulk(b, appendUint(digits[:0], uint64(max(d.Milliseconds(), 1))))
}

// decode implements codec.
func (c *redis) decode(in *bufio.Reader, kind Kind, n int, buf []byte, r *Result, item func(*Result)) ([]byte, error) {
	r.Outcome = OK
	switch {
	case kind == BatchRead:
		return c.decodeArray(in, n, buf, r, item)
	case kind == batchExpiring:
		for i := range n {
			one := Result{Token: r.Token, More: true, Item: i}
			var err error
			if buf, err = c.one(in, Write, buf, &one); err != nil {
				return buf, err
			}
			if one.Outcome == Failed {
				r.Outcome, r.Err = Failed, one.Err
			}
			item(&one)
		}
		return buf, nil
	}
	return c.one(in, kind, buf, r)
}

// one reads a reply that is no array.
func (c *redis) one(in *bufio.Reader, kind Kind, buf []byte, r *Result) ([]byte, error) {
	line, err := readLine(in)
	if err != nil {
		return buf, err
	}
	if len(line) == 0 {
		return buf, errors.New("redis: an empty reply")
	}
	r.Outcome = OK
	switch line[0] {
	case '-':
		r.Outcome, r.Err = Failed, redisError(line[1:])
	case '+':
	case ':':
		if string(line) == ":0" && (kind == Delete || kind == Touch) {
			r.Outcome = NotFound
		}
	case '$':
		if string(line) == "$-1" {
			r.Outcome = NotFound
			return buf, nil
		}
		size, ok := parseUint(line[1:])
		if !ok {
			return buf, fmt.Errorf("redis: a value of length %.40q", line[1:])
		}
		if buf, err = readValue(in, size, buf); err != nil {
			return buf, err
		}
		r.Value = buf
	default:
		return buf, fmt.Errorf("redis: a reply that begins with %.40q", line)
	}
	return buf, nil
}

// decodeArray reads the n values of an MGET.
func (c *redis) decodeArray(in *bufio.Reader, n int, buf []byte, r *Result, item func(*Result)) ([]byte, error) {
	line, err := readLine(in)
	if err != nil {
		return buf, err
	}
	if len(line) > 0 && line[0] == '-' {
		r.Outcome, r.Err = Failed, redisError(line[1:])
		return buf, nil
	}
	if got, ok := parseUint(line[min(1, len(line)):]); !ok || got != n || line[0] != '*' {
		return buf, fmt.Errorf("redis: %.40q where an array of %d was due", line, n)
	}
	for i := range n {
		one := Result{Token: r.Token, More: true, Item: i}
		if buf, err = c.one(in, Read, buf, &one); err != nil {
			return buf, err
		}
		item(&one)
	}
	return buf, nil
}

// redisError keeps the class of an error, which says enough and is the same
// for all keys, but for the details of the general class.
func redisError(text []byte) error {
	class, _, _ := cutByte(text, ' ')
	switch string(class) {
	case "MOVED", "ASK":
		return errors.New("redis: " + string(class) + ": this is a node of a Redis Cluster; this driver loads single servers")
	case "ERR":
		return errors.New("redis: " + string(text))
	}
	return errors.New("redis: " + string(class))
}

func cutByte(b []byte, sep byte) (before, after []byte, found bool) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}
