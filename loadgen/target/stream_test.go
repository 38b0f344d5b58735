package target

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeServer speaks just enough of Redis and memcached to be loaded, and
// misbehaves on request.
type fakeServer struct {
	l     net.Listener
	proto string

	mu    sync.Mutex // guards all below
	data  map[string][]byte
	conns []net.Conn
	hold  chan struct{} // replies wait until it is closed
	junk  bool
	wg    sync.WaitGroup
}

func newFakeServer(t *testing.T, proto string) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{l: l, proto: proto, data: map[string][]byte{}}
	s.wg.Go(s.accept)
	t.Cleanup(func() { s.release(); l.Close(); s.cut(); s.wg.Wait() })
	return s
}

func (s *fakeServer) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.wg.Go(func() { defer c.Close(); s.serve(c) })
	}
}

func (s *fakeServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func (s *fakeServer) stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = make(chan struct{})
}

func (s *fakeServer) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		close(s.hold)
		s.hold = nil
	}
}

func (s *fakeServer) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		words, err := s.request(in)
		if err != nil {
			return
		}
		s.mu.Lock()
		hold := s.hold
		s.mu.Unlock()
		if hold != nil {
			<-hold
		}
		s.mu.Lock()
		reply := s.answer(words)
		if s.junk {
			reply, s.junk = "?!\r\n", false
		}
		s.mu.Unlock()
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

// request reads the words of a request; the last word of an ms is its value.
func (s *fakeServer) request(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSpace(line)
	if s.proto == "memcached" {
		words := strings.Fields(line)
		if words[0] == "ms" {
			n, _ := strconv.Atoi(words[2])
			value := make([]byte, n+2)
			if _, err := io.ReadFull(in, value); err != nil {
				return nil, err
			}
			words = append(words, string(value[:n]))
		}
		return words, nil
	}
	if !strings.HasPrefix(line, "*") {
		return nil, nil
	}
	n, _ := strconv.Atoi(line[1:])
	words := make([]string, n)
	for i := range words {
		head, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _ := strconv.Atoi(strings.TrimSpace(head)[1:])
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, nil
}

func (s *fakeServer) answer(w []string) string {
	bulk := func(key string) string {
		v, ok := s.data[key]
		if !ok {
			return "$-1\r\n"
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(v), v)
	}
	num := func(key string, drop bool) string {
		_, ok := s.data[key]
		if drop {
			delete(s.data, key)
		}
		if ok {
			return ":1\r\n"
		}
		return ":0\r\n"
	}
	add := func(key string) []byte {
		n, _ := strconv.Atoi(string(s.data[key]))
		s.data[key] = strconv.AppendInt(nil, int64(n+1), 10)
		return s.data[key]
	}
	if len(w) == 0 {
		return "-ERR empty\r\n"
	}
	switch w[0] {
	case "PING":
		return "+PONG\r\n"
	case "AUTH", "SELECT":
		return "+OK\r\n"
	case "GET":
		return bulk(w[1])
	case "SET":
		s.data[w[1]] = []byte(w[2])
		return "+OK\r\n"
	case "DEL":
		return num(w[1], true)
	case "TOUCH", "PEXPIRE":
		return num(w[1], false)
	case "INCR":
		return fmt.Sprintf(":%s\r\n", add(w[1]))
	case "MGET":
		out := fmt.Sprintf("*%d\r\n", len(w)-1)
		for _, k := range w[1:] {
			out += bulk(k)
		}
		return out
	case "MSET":
		for i := 1; i+1 < len(w); i += 2 {
			s.data[w[i]] = []byte(w[i+1])
		}
		return "+OK\r\n"
	}
	return s.answerMeta(w, num, add)
}

// answerMeta answers memcached's commands.
func (s *fakeServer) answerMeta(w []string, num func(string, bool) string, add func(string) []byte) string {
	switch w[0] {
	case "mn":
		return "MN\r\n"
	case "ms":
		s.data[w[1]] = []byte(w[len(w)-1])
		return "HD\r\n"
	case "md":
		if num(w[1], true) == ":0\r\n" {
			return "NF\r\n"
		}
		return "HD\r\n"
	case "mg":
		v, ok := s.data[w[1]]
		switch {
		case !ok:
			return "EN\r\n"
		case slices.Contains(w, "v"):
			return fmt.Sprintf("VA %d\r\n%s\r\n", len(v), v)
		}
		return "HD\r\n"
	case "ma":
		v := add(w[1])
		return fmt.Sprintf("VA %d\r\n%s\r\n", len(v), v)
	}
	return "-ERR unknown command\r\n"
}

// door is a lane that remembers how its operations ended.
type door struct {
	Lane
	mu   sync.Mutex // guards ends and more
	ends map[uint64]Result
	more map[uint64][]Result
	new  chan struct{}
}

func newDoor(t *testing.T, to Target, inFlight int) *door {
	t.Helper()
	d := &door{ends: map[uint64]Result{}, more: map[uint64][]Result{}, new: make(chan struct{}, 1<<16)}
	var err error
	d.Lane, err = to.NewLane(inFlight, func(r *Result) {
		kept := *r
		kept.Value = bytes.Clone(r.Value)
		d.mu.Lock()
		defer d.mu.Unlock()
		if r.More {
			d.more[r.Token] = append(d.more[r.Token], kept)
			return
		}
		if _, twice := d.ends[r.Token]; twice {
			t.Errorf("operation %d completed twice", r.Token)
		}
		d.ends[r.Token] = kept
		d.new <- struct{}{}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// do submits op and waits for its end.
func (d *door) do(t *testing.T, op Op) Result {
	t.Helper()
	if op.Budget == 0 {
		op.Budget = 2 * time.Second
	}
	if err := d.Submit(&op); err != nil {
		t.Fatal(err)
	}
	d.Flush()
	return d.await(t, op.Token)
}

func (d *door) await(t *testing.T, token uint64) Result {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		d.mu.Lock()
		r, ok := d.ends[token]
		d.mu.Unlock()
		if ok {
			return r
		}
		select {
		case <-d.new:
		case <-limit:
			t.Fatalf("operation %d never ended", token)
		}
	}
}

func dialStream(t *testing.T, proto, addr string, connections int) Target {
	t.Helper()
	spec, err := ParseSpec(fmt.Sprintf("%s://%s?connections=%d", proto, addr, connections))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	to, err := spec.Open(ctx, HeadroomConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

var protos = []string{"redis", "memcached"}

// everyKind is the contract of a store, whoever keeps it.
func everyKind(t *testing.T, to Target) {
	t.Helper()
	d := newDoor(t, to, 8)
	token := uint64(0)
	f := func(op Op, outcome Outcome, value string) {
		t.Helper()
		token++
		op.Token = token
		if r := d.do(t, op); r.Outcome != outcome || string(r.Value) != value && value != "*" {
			t.Errorf("kind %d: outcome %d, value %q, %v; want %d and %q", op.Kind, r.Outcome, r.Value, r.Err, outcome, value)
		}
	}
	v := []byte("binary \r\n\x00 value")
	f(Op{Kind: Delete, Key: 7}, NotFound, "")
	f(Op{Kind: Read, Key: 7}, NotFound, "")
	f(Op{Kind: Write, Key: 7, Value: v}, OK, "")
	f(Op{Kind: Read, Key: 7}, OK, string(v))
	f(Op{Kind: Touch, Key: 7}, OK, "")
	f(Op{Kind: Touch, Key: 7, TTL: time.Hour}, OK, "")
	f(Op{Kind: Operate, Key: 7}, OK, "*")
	f(Op{Kind: Operate, Key: 7}, OK, "*")
	f(Op{Kind: Read, Key: 7}, OK, string(v)) // the counter is beside the value
	f(Op{Kind: Write, Key: 8, Value: []byte{}, TTL: 60 * 24 * time.Hour}, OK, "")
	f(Op{Kind: Read, Key: 8}, OK, "")
	f(Op{Kind: BatchWrite, Keys: []uint64{1, 2, 3}, Values: [][]byte{{'a'}, {'b'}, {'c'}}}, OK, "")
	f(Op{Kind: BatchWrite, Keys: []uint64{4, 5}, Values: [][]byte{{'d'}, {'e'}}, TTL: time.Hour}, OK, "")
	f(Op{Kind: BatchRead, Keys: []uint64{5, 99, 1}}, OK, "")
	items := map[int]string{}
	for _, r := range d.more[token] {
		items[r.Item] = fmt.Sprint(r.Outcome, string(r.Value))
	}
	if want := map[int]string{0: fmt.Sprint(OK, "e"), 1: fmt.Sprint(NotFound, ""), 2: fmt.Sprint(OK, "a")}; fmt.Sprint(items) != fmt.Sprint(want) {
		t.Errorf("batch read gave %v, want %v", items, want)
	}
	f(Op{Kind: Delete, Key: 7}, OK, "")
	f(Op{Kind: Touch, Key: 7}, NotFound, "")
	big := bytes.Repeat([]byte("x"), 900_000)
	f(Op{Kind: Write, Key: 9, Value: big}, OK, "")
	f(Op{Kind: Read, Key: 9}, OK, string(big))
}

func TestEveryKindWorksOnAFakeServer(t *testing.T) {
	for _, proto := range protos {
		everyKind(t, dialStream(t, proto, newFakeServer(t, proto).l.Addr().String(), 1))
	}
}

// TestEveryKindWorksOnRealServers needs redis-server and memcached.
func TestEveryKindWorksOnRealServers(t *testing.T) {
	for _, proto := range protos {
		t.Run(proto, func(t *testing.T) { everyKind(t, dialStream(t, proto, realServer(t, proto), 2)) })
	}
}

// realServer starts a server of Debian's package on a free port.
func realServer(t *testing.T, proto string) string {
	t.Helper()
	program := map[string]string{"redis": "redis-server", "memcached": "memcached"}[proto]
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed: apt-get install %s", program, program)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // another may take it: then the server does not start and the test fails
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir()}
	if proto == "memcached" {
		args = []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "nobody"}
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("%s does not listen on %s", program, addr)
	return ""
}

func TestPipelinedRepliesFindTheirRequests(t *testing.T) {
	for _, proto := range protos {
		d := newDoor(t, dialStream(t, proto, newFakeServer(t, proto).l.Addr().String(), 3), 100)
		const n = 5000
		for i := range uint64(2 * n) {
			op := Op{Kind: Write, Key: i % n, Value: strconv.AppendUint(nil, i%n, 10), Token: i, Budget: 5 * time.Second}
			if i >= n {
				op.Kind = Read
			}
			if i == n {
				for k := range uint64(n) { // writes and reads of a key may take different connections
					d.await(t, k)
				}
			}
			for d.Submit(&op) == ErrFull {
				d.Flush()
				<-d.new
			}
		}
		d.Flush()
		for i := uint64(n); i < 2*n; i++ {
			if r := d.await(t, i); r.Outcome != OK || string(r.Value) != strconv.FormatUint(i-n, 10) {
				t.Fatalf("%s: read of %d gave %d %q %v", proto, i-n, r.Outcome, r.Value, r.Err)
			}
		}
	}
}

func TestABrokenConnectionLeavesWritesInDoubtAndIsReplaced(t *testing.T) {
	for _, proto := range protos {
		s := newFakeServer(t, proto)
		d := newDoor(t, dialStream(t, proto, s.l.Addr().String(), 1), 10)
		d.do(t, Op{Kind: Write, Key: 1, Value: []byte("a"), Token: 1})
		s.stall()
		for token, kind := range map[uint64]Kind{2: Read, 3: Write, 4: Delete} {
			if err := d.Submit(&Op{Kind: kind, Key: 1, Value: []byte("b"), Token: token, Budget: time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		d.Flush()
		s.cut()
		for token, want := range map[uint64]Outcome{2: Failed, 3: InDoubt, 4: InDoubt} {
			if r := d.await(t, token); r.Outcome != want || r.Err == nil {
				t.Errorf("%s: operation %d ended as %d, %v, want %d", proto, token, r.Outcome, r.Err, want)
			}
		}
		s.release()
		if r := d.do(t, Op{Kind: Write, Key: 5, Value: []byte("c"), Token: 9}); r.Outcome != OK {
			t.Errorf("%s: after the cut: %d %v", proto, r.Outcome, r.Err)
		}
	}
}

func TestAStallEndsOperationsAtTheirDeadlineAndLateRepliesAreDropped(t *testing.T) {
	for _, proto := range protos {
		s := newFakeServer(t, proto)
		d := newDoor(t, dialStream(t, proto, s.l.Addr().String(), 1), 4)
		d.do(t, Op{Kind: Write, Key: 1, Value: []byte("old"), Token: 1})
		s.stall()
		began := time.Now()
		d.Submit(&Op{Kind: Write, Key: 1, Value: []byte("new"), Token: 2, Budget: 50 * time.Millisecond})
		d.Submit(&Op{Kind: Read, Key: 1, Token: 3, Budget: 50 * time.Millisecond})
		d.Flush()
		if w, r := d.await(t, 2), d.await(t, 3); w.Outcome != InDoubt || r.Outcome != Failed || time.Since(began) > time.Second {
			t.Errorf("%s: write ended as %d, read as %d after %v", proto, w.Outcome, r.Outcome, time.Since(began))
		}
		s.release()
		if r := d.do(t, Op{Kind: Read, Key: 1, Token: 4}); r.Outcome != OK || string(r.Value) != "new" {
			t.Errorf("%s: after the stall: %d %q %v", proto, r.Outcome, r.Value, r.Err)
		}
	}
}

func TestWhatWasNeverSentIsNotInDoubt(t *testing.T) {
	for _, proto := range protos {
		s := newFakeServer(t, proto)
		to := dialStream(t, proto, s.l.Addr().String(), 1)
		d := newDoor(t, to, 4)
		d.do(t, Op{Kind: Write, Key: 1, Value: []byte("a"), Token: 1})
		s.l.Close()
		s.cut()
		for i := uint64(2); ; i++ { // until the loss is noticed an operation may be in doubt
			r := d.do(t, Op{Kind: Write, Key: 1, Value: []byte("b"), Token: i, Budget: 100 * time.Millisecond})
			if r.Outcome == Failed && r.Err != nil {
				break
			}
			if i > 20 {
				t.Fatalf("%s: with the server gone a write ends as %d, %v", proto, r.Outcome, r.Err)
			}
		}
	}
}

func TestReplyThatMakesNoSenseCostsTheConnectionOnly(t *testing.T) {
	for _, proto := range protos {
		s := newFakeServer(t, proto)
		d := newDoor(t, dialStream(t, proto, s.l.Addr().String(), 1), 4)
		d.do(t, Op{Kind: Delete, Key: 2, Token: 9}) // the connection is there
		s.mu.Lock()
		s.junk = true
		s.mu.Unlock()
		if r := d.do(t, Op{Kind: Write, Key: 1, Value: []byte("a"), Token: 1}); r.Outcome != InDoubt {
			t.Errorf("%s: %d %v", proto, r.Outcome, r.Err)
		}
		if r := d.do(t, Op{Kind: Read, Key: 1, Token: 2}); r.Outcome != OK || string(r.Value) != "a" {
			t.Errorf("%s: afterwards: %d %q %v", proto, r.Outcome, r.Value, r.Err)
		}
	}
}

func TestAnotherServerBehindTheAddressIsNamed(t *testing.T) {
	for _, proto := range protos {
		s := newFakeServer(t, protos[1-slices.Index(protos, proto)])
		spec, _ := ParseSpec(proto + "://" + s.l.Addr().String())
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := spec.Open(ctx, HeadroomConfig{}); err == nil {
			t.Errorf("%s: connected to a %s", proto, s.proto)
		}
	}
}

func TestNothingIsAllocatedPerPipelinedOperation(t *testing.T) {
	s := newFakeServer(t, "redis") // it allocates: only Submit and Flush are measured, with the replies held
	to := dialStream(t, "redis", s.l.Addr().String(), 1)
	l, err := to.NewLane(4000, func(*Result) {})
	if err != nil {
		t.Fatal(err)
	}
	op := Op{Kind: Write, Value: make([]byte, 100), Budget: time.Minute}
	for range 1000 { // the buffers grow
		op.Key++
		l.Submit(&op)
	}
	s.stall()
	got := testing.AllocsPerRun(1000, func() { op.Key++; l.Submit(&op) })
	s.release()
	if got > 0.1 {
		t.Errorf("%v allocations per operation", got)
	}
	l.Close()
}

func FuzzDecodeNeverPanics(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n$-1\r\n"), uint8(BatchRead), true)
	f.Add([]byte("$3\r\nabc\r\n"), uint8(Read), true)
	f.Add([]byte("VA 3\r\nabc\r\n"), uint8(Read), false)
	f.Add([]byte("-ERR x\r\n:0\r\n"), uint8(batchExpiring), true)
	f.Fuzz(func(t *testing.T, text []byte, kind uint8, resp bool) {
		var c codec = memcached{}
		if resp {
			c = &redis{}
		}
		in := bufio.NewReader(bytes.NewReader(text))
		var buf []byte
		for range 10 {
			var r Result
			var err error
			if buf, err = c.decode(in, Kind(kind), 2, buf, &r, func(*Result) {}); err != nil {
				return
			}
			if r.Outcome == 0 || len(r.Value) > len(text) {
				t.Errorf("outcome %d, %d bytes of %d", r.Outcome, len(r.Value), len(text))
			}
		}
	})
}

func TestSpecsAreReadOrExplained(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		spec, err := ParseSpec(text)
		got := fmt.Sprint(spec.Scheme, spec.Addrs, spec.Namespace, spec.DB, spec.Connections)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("ParseSpec(%q) = %s, want %q", text, got, want)
		}
	}
	f("quic://a:1,b:2", "quic[a:1 b:2]")
	f("quic://a:1,quic://b:2", "quic[a:1 b:2]")
	f("redis://h:1/3?connections=5", "redis[h:1]3 5")
	f("redis://h", "[h:6379]")
	f("memcached://[::1]:11", "memcached[[::1]:11]")
	f("aerospike://h/test", "aerospike[h:3000]test")
	f("null", "null")
	f("null:", "null")
	f("aerospike://h:3000", "want a namespace")
	f("redis://h:1/x", "not a number")
	f("redis://h:1?conns=5", `unknown setting "conns"`)
	f("redis://h:1?connections=0", "want 1 to 4096")
	f("memcached://h:1/x", "nothing may follow")
	f("rediss://h:1", "TLS to Redis is not supported")
	f("tcp://h:1", `unknown kind of target "tcp"`)
	f("h:1", "quic://HOST:PORT")
	f("quic://h", "not HOST:PORT")
	f("redis://h:99999", "not HOST:PORT")
}
