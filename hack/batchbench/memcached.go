package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// memcached loads a memcached over its text protocol, one request in flight
// on each connection: what redis-benchmark does for Redis, and Debian packages
// no such program for memcached.
type memcached struct {
	c     *config
	conns []net.Conn
	value []byte
}

func openMemcached(c *config) (*memcached, error) {
	m := &memcached{c: c, value: bytes.Repeat([]byte("v"), c.valueSize)}
	for range c.inFlight {
		conn, err := net.Dial("tcp", c.target)
		if err != nil {
			m.close()
			return nil, err
		}
		m.conns = append(m.conns, conn)
	}
	return m, nil
}

func (m *memcached) close() error {
	for _, c := range m.conns {
		c.Close()
	}
	return nil
}

func memcachedKey(b []byte, i int) []byte {
	return strconv.AppendInt(append(b, "key:"...), int64(i), 10)
}

// prepare sets every record without waiting for each answer, and then waits
// until the last can be read.
func (m *memcached) prepare(ctx context.Context) error {
	w := bufio.NewWriterSize(m.conns[0], 64<<10)
	var b []byte
	for i := range m.c.records {
		b = memcachedKey(append(b[:0], "set "...), i)
		b = fmt.Appendf(b, " 0 0 %d noreply\r\n%s\r\n", len(m.value), m.value)
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return m.get(m.conns[0], bufio.NewReader(m.conns[0]), &b, m.c.records-1)
}

// get reads one record and checks that it was there.
func (m *memcached) get(c net.Conn, r *bufio.Reader, b *[]byte, i int) error {
	*b = append(memcachedKey(append((*b)[:0], "get "...), i), "\r\n"...)
	if _, err := c.Write(*b); err != nil {
		return err
	}
	head, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("VALUE ")) {
		return fmt.Errorf("memcached answered %q to a get of key %d", head, i)
	}
	const end = "\r\nEND\r\n"
	_, err = r.Discard(len(m.value) + len(end))
	return err
}

func (m *memcached) run(ctx context.Context, done *atomic.Uint64) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(m.conns)) // one each
	for i, c := range m.conns {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			r := bufio.NewReader(c)
			var b []byte
			for ctx.Err() == nil {
				if err := m.get(c, r, &b, rng.IntN(m.c.records)); err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs // nil when none failed
}
