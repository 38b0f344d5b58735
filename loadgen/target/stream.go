package target

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"
)

// StreamConfig says which server of a pipelined protocol to load.
type StreamConfig struct {
	Addr           string // host:port
	User, Password string // empty: none
	DB             int    // Redis database
	// Connections per lane, default 1. With as many as there are operations in
	// flight, nothing is pipelined.
	Connections int
}

// Stream is a server behind pipelined connections: Redis or memcached.
type Stream struct {
	cfg    StreamConfig
	refuse func(Kind) error
	codec  func() codec // one for each connection
}

// open checks that the server answers.
func (s *Stream) open(ctx context.Context) (*Stream, error) {
	s.cfg.Connections = max(s.cfg.Connections, 1)
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Second)
	}
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if err := s.codec().hello(bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))); err != nil {
		return nil, fmt.Errorf("%s: %w", s.cfg.Addr, err)
	}
	return s, nil
}

func (s *Stream) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.cfg.Addr)
}

// Refuse implements Refuser.
func (s *Stream) Refuse(k Kind) error { return s.refuse(k) }

// Linearizable implements the interface: it is one server.
func (s *Stream) Linearizable() bool { return true }

// Close implements Target.
func (s *Stream) Close() error { return nil }

// NewLane implements Target.
func (s *Stream) NewLane(inFlight int, complete func(*Result)) (Lane, error) {
	n := min(s.cfg.Connections, inFlight)
	l := &streamLane{}
	for range n {
		l.pipes = append(l.pipes, newPipe(s.codec(), s.dial, (inFlight+n-1)/n, complete))
	}
	return l, nil
}

// streamLane spreads its operations over its connections in turn.
type streamLane struct {
	pipes []*pipe
	next  int
}

// Submit implements Lane.
func (l *streamLane) Submit(op *Op) error {
	for range l.pipes {
		p := l.pipes[l.next]
		if l.next++; l.next == len(l.pipes) {
			l.next = 0
		}
		if err := p.submit(op); err != ErrFull {
			return err
		}
	}
	return ErrFull
}

// Flush implements Lane.
func (l *streamLane) Flush() {
	for _, p := range l.pipes {
		p.flush()
	}
}

// Close implements Lane.
func (l *streamLane) Close() error {
	for _, p := range l.pipes {
		p.close()
	}
	return nil
}

// appendKey appends the name of a record: "headroom:17".
func appendKey(b []byte, key uint64) []byte {
	return appendUint(append(b, keyPrefix...), key)
}

const (
	keyPrefix = "headroom:"
	// counterSuffix names the counter of a record, which operate adds to: these
	// stores have no fields beside the value that could be changed in place.
	counterSuffix = ":n"
)

func appendUint(b []byte, v uint64) []byte {
	if v < 10 {
		return append(b, byte('0'+v))
	}
	var digits [20]byte
	i := len(digits)
	for ; v > 0; v /= 10 {
		i--
		digits[i] = byte('0' + v%10)
	}
	return append(b, digits[i:]...)
}

// keyLen is the length of what appendKey appends.
func keyLen(key uint64) int {
	n := len(keyPrefix) + 1
	for ; key >= 10; key /= 10 {
		n++
	}
	return n
}

// readLine reads a line of a protocol without its end. It is valid until the
// next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("a line that does not end as the protocol wants: %.40q", line)
	}
	return line[:len(line)-2], nil
}

// parseUint reads a whole number of at most 18 digits.
func parseUint(b []byte) (int, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	v := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + int(c-'0')
	}
	return v, true
}

// replyMax bounds a value in a reply: twice the largest that is ever written.
const replyMax = 2 << 20

// readValue reads n bytes and the end of the line into buf.
func readValue(in *bufio.Reader, n int, buf []byte) ([]byte, error) {
	if n > replyMax {
		return buf, fmt.Errorf("a value of %d bytes in a reply, more than was ever written", n)
	}
	if cap(buf) < n+2 {
		buf = make([]byte, n+2)
	}
	buf = buf[:n+2]
	for at := 0; at < len(buf); {
		m, err := in.Read(buf[at:])
		if err != nil {
			return buf, err
		}
		at += m
	}
	if buf[n] != '\r' || buf[n+1] != '\n' {
		return buf, fmt.Errorf("a value of %d bytes that does not end there", n)
	}
	return buf[:n], nil
}
