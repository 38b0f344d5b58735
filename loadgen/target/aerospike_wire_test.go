package target

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// aeroServer speaks as much of Aerospike's wire protocol as single-record
// requests need (its public protocol description: an 8-byte header of version,
// type and size; info requests are names on lines, record requests a 22-byte
// header, fields, operations). It is one node that owns all partitions.
type aeroServer struct {
	t    *testing.T
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex // guards all below
	recs map[string]map[string]aeroBin
	seen map[string]int // requests by kind
}

// aeroBin is a value with its particle type.
type aeroBin struct {
	kind  byte
	value []byte
}

// Numbers of the protocol.
const (
	aeroInfo, aeroMessage   = 1, 3
	aeroHeaderSize          = 22
	fieldDigest             = 4
	info1Read               = 1
	info2Write, info2Delete = 1, 2
	opRead, opWrite, opAdd  = 1, 2, 5
	opTouch                 = 11
	resultOK, resultMissing = 0, 2
)

func newAeroServer(t *testing.T) *aeroServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &aeroServer{t: t, ln: ln, recs: map[string]map[string]aeroBin{}, seen: map[string]int{}}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); s.wg.Wait() })
	return s
}

// serve answers the requests of a connection until it is closed.
func (s *aeroServer) serve(c net.Conn) {
	defer c.Close()
	for {
		var head [8]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size := binary.BigEndian.Uint64(head[:]) & (1<<48 - 1)
		if head[0] != 2 || size > 1<<20 {
			s.t.Errorf("a header of version %d, %d bytes", head[0], size)
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		var out []byte
		switch head[1] {
		case aeroInfo:
			out = s.info(string(body))
		case aeroMessage:
			out = s.message(body)
		default:
			s.t.Errorf("a message of type %d", head[1])
			return
		}
		binary.BigEndian.PutUint64(head[:], 2<<56|uint64(head[1])<<48|uint64(len(out)))
		if _, err := c.Write(append(head[:], out...)); err != nil {
			return
		}
	}
}

// info answers names on lines with "name\tvalue" lines.
func (s *aeroServer) info(names string) []byte {
	all := make([]byte, aerospikePartitions/8)
	for i := range all {
		all[i] = 0xff
	}
	host, port, _ := net.SplitHostPort(s.ln.Addr().String())
	values := map[string]string{"build": "6.4.0.1", "node": "BB9020011AC4202", "partition-generation": "1", "peers-generation": "1",
		"peers-clear-std": "1," + port + ",[]", "service-clear-std": host + ":" + port, "features": "",
		"replicas": "test:1,1," + base64.StdEncoding.EncodeToString(all) + ";"}
	var b bytes.Buffer
	for name := range strings.Lines(names) {
		name = strings.TrimSpace(name)
		b.WriteString(name + "\t" + values[name] + "\n")
	}
	return b.Bytes()
}

// message executes a record request.
func (s *aeroServer) message(b []byte) []byte {
	info1, info2 := b[1], b[2]
	fields, ops := int(binary.BigEndian.Uint16(b[18:])), int(binary.BigEndian.Uint16(b[20:]))
	b = b[aeroHeaderSize:]
	digest := ""
	for range fields {
		n := binary.BigEndian.Uint32(b)
		if b[4] == fieldDigest {
			digest = string(b[5 : 4+n])
		}
		b = b[4+n:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.recs[digest]
	switch {
	case info2&info2Delete != 0:
		s.seen["delete"]++
		delete(s.recs, digest)
		return reply(result(rec != nil), nil)
	case info2&info2Write == 0:
		s.seen["read"]++
	default:
		s.seen["write"]++
	}
	answer := map[string]aeroBin{}
	for range ops {
		n := binary.BigEndian.Uint32(b)
		op, kind, name := b[4], b[5], string(b[8:8+int(b[7])])
		value := bytes.Clone(b[8+int(b[7]) : 4+n])
		b = b[4+n:]
		switch op {
		case opWrite, opAdd:
			if rec == nil {
				rec = map[string]aeroBin{}
				s.recs[digest] = rec
			}
			if old, ok := rec[name]; ok && op == opAdd {
				value = binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(value)+binary.BigEndian.Uint64(old.value))
			}
			rec[name] = aeroBin{kind, value}
		case opRead:
			if v, ok := rec[name]; ok {
				answer[name] = v
			}
		case opTouch:
		default:
			s.t.Errorf("operation %d", op)
		}
	}
	if info1&info1Read == 0 && rec != nil {
		answer = nil
	}
	return reply(result(rec != nil), answer)
}

func result(found bool) byte {
	if found {
		return resultOK
	}
	return resultMissing
}

func reply(code byte, bins map[string]aeroBin) []byte {
	b := make([]byte, aeroHeaderSize)
	b[0], b[5] = aeroHeaderSize, code
	binary.BigEndian.PutUint32(b[6:], 1) // generation
	binary.BigEndian.PutUint16(b[20:], uint16(len(bins)))
	for name, v := range bins {
		b = binary.BigEndian.AppendUint32(b, uint32(4+len(name)+len(v.value)))
		b = append(b, opRead, v.kind, 0, byte(len(name)))
		b = append(append(b, name...), v.value...)
	}
	return b
}

// TestTheOfficialClientTalksToAServer: the client of the driver shakes hands
// with a server, and single records go over the wire and come back. Batches,
// scans and a real server's behaviour are not shown by this.
func TestTheOfficialClientTalksToAServer(t *testing.T) {
	s := newAeroServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, err := DialAerospike(ctx, StreamConfig{Addr: s.ln.Addr().String()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	d := newDoor(t, a, 8)
	token := uint64(0)
	do := func(op Op, want Outcome) Result {
		t.Helper()
		token++
		op.Token = token
		r := d.do(t, op)
		if r.Outcome != want {
			t.Errorf("%v of key %d ends as %d (%v), want %d", op.Kind, op.Key, r.Outcome, r.Err, want)
		}
		return r
	}
	do(Op{Kind: Read, Key: 7}, NotFound)
	do(Op{Kind: Write, Key: 7, Value: []byte("a value"), TTL: time.Hour}, OK)
	if r := do(Op{Kind: Read, Key: 7}, OK); string(r.Value) != "a value" {
		t.Errorf("read %q", r.Value)
	}
	do(Op{Kind: Touch, Key: 7, TTL: time.Hour}, OK)
	do(Op{Kind: Operate, Key: 7}, OK)
	do(Op{Kind: Operate, Key: 7}, OK)
	do(Op{Kind: Delete, Key: 7}, OK)
	do(Op{Kind: Delete, Key: 7}, NotFound)
	do(Op{Kind: Read, Key: 7}, NotFound)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen["read"] < 3 || s.seen["write"] < 3 || s.seen["delete"] != 2 {
		t.Errorf("the server saw %v", s.seen)
	}
}
