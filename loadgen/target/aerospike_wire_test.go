package target

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// aeroServer speaks as much of Aerospike's wire protocol as this driver needs
// (its public protocol description: an 8-byte header of version, type and size;
// info requests are names on lines, record requests a 22-byte header, fields,
// operations). It is one node that owns all partitions.
type aeroServer struct {
	t    *testing.T
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex // guards all below
	recs map[string]map[string]aeroBin
	seen map[string]int // requests by kind
	// cutAfter many records of a batch the connection is cut; zero: never.
	cutAfter int
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
	fieldPartitions         = 11
	fieldMost, fieldBatch   = 13, 41
	info1Read               = 1
	info2Write, info2Delete = 1, 2
	opRead, opWrite, opAdd  = 1, 2, 5
	opTouch                 = 11
	resultOK, resultMissing = 0, 2
	info3Last               = 1
	info3PartitionDone      = 4
	batchRepeat             = 1
	batchGeneration         = 4
	batchTTL                = 8
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
		if _, err := c.Write(append(head[:], out...)); err != nil || s.cuts(head[1]) {
			return
		}
	}
}

// cuts reports that the connection is to be cut after an answer.
func (s *aeroServer) cuts(kind byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return kind == aeroMessage && s.cutAfter > 0
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

// aeroOp is one operation of a record request.
type aeroOp struct {
	op, kind byte
	name     string
	value    []byte
}

// message answers a request for one record, a batch or a scan.
func (s *aeroServer) message(b []byte) []byte {
	info1, info2 := b[1], b[2]
	fields, ops := int(binary.BigEndian.Uint16(b[18:])), int(binary.BigEndian.Uint16(b[20:]))
	b = b[aeroHeaderSize:]
	of := map[byte][]byte{}
	for range fields {
		n := binary.BigEndian.Uint32(b)
		of[b[4]] = b[5 : 4+n]
		b = b[4+n:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case of[fieldBatch] != nil:
		return s.batchLocked(of[fieldBatch])
	case of[fieldPartitions] != nil:
		return s.scanLocked(of[fieldPartitions], int(binary.BigEndian.Uint64(of[fieldMost])))
	}
	list, _ := aeroOps(b, ops)
	return reply(s.executeLocked(string(of[fieldDigest]), info1, info2, list))
}

// aeroOps reads n operations and returns what follows them.
func aeroOps(b []byte, n int) (list []aeroOp, rest []byte) {
	for range n {
		size, name := binary.BigEndian.Uint32(b), int(b[7])
		list = append(list, aeroOp{b[4], b[5], string(b[8 : 8+name]), bytes.Clone(b[8+name : 4+size])})
		b = b[4+size:]
	}
	return list, b
}

// executeLocked does what is asked of one record.
func (s *aeroServer) executeLocked(digest string, info1, info2 byte, ops []aeroOp) (code byte, answer map[string]aeroBin) {
	rec := s.recs[digest]
	switch {
	case info2&info2Delete != 0:
		s.seen["delete"]++
		delete(s.recs, digest)
		return result(rec != nil), nil
	case info2&info2Write == 0:
		s.seen["read"]++
	default:
		s.seen["write"]++
	}
	answer = map[string]aeroBin{}
	for _, o := range ops {
		switch o.op {
		case opWrite, opAdd:
			if rec == nil {
				rec = map[string]aeroBin{}
				s.recs[digest] = rec
			}
			if old, ok := rec[o.name]; ok && o.op == opAdd {
				o.value = binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(o.value)+binary.BigEndian.Uint64(old.value))
			}
			rec[o.name] = aeroBin{o.kind, o.value}
		case opRead:
			if v, ok := rec[o.name]; ok {
				answer[o.name] = v
			}
		case opTouch:
		default:
			s.t.Errorf("operation %d", o.op)
		}
	}
	if info1&info1Read == 0 && rec != nil {
		answer = nil
	}
	return result(rec != nil), answer
}

// batchLocked answers a batch: a count, flags, and for each record its index,
// digest, and a header of its own (which may repeat the one before).
func (s *aeroServer) batchLocked(b []byte) []byte {
	s.seen["batch"]++
	n, out := binary.BigEndian.Uint32(b), []byte(nil)
	b = b[5:]
	var info1, info2 byte
	var ops []aeroOp
	for i := range n {
		if s.cutAfter > 0 && int(i) == s.cutAfter {
			return out // and the connection is cut
		}
		index, digest, flags := binary.BigEndian.Uint32(b), string(b[4:24]), b[24]
		b = b[25:]
		if flags&batchRepeat == 0 {
			info1, info2 = b[0], b[1]
			b = b[3:]
			if flags&batchGeneration != 0 {
				b = b[2:]
			}
			if flags&batchTTL != 0 {
				b = b[4:]
			}
			fields, count := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
			b = b[4:]
			for range fields {
				b = b[4+binary.BigEndian.Uint32(b):]
			}
			ops, b = aeroOps(b, count)
		}
		one := reply(s.executeLocked(digest, info1, info2, ops))
		binary.BigEndian.PutUint32(one[14:], index)
		out = append(out, one...)
	}
	return append(out, last()...)
}

// scanLocked answers with at most most records of the partitions, which are
// little-endian numbers of two bytes, says that each is done, and ends.
func (s *aeroServer) scanLocked(partitions []byte, most int) []byte {
	s.seen["scan"]++
	var out []byte
	for ; len(partitions) > 0; partitions = partitions[2:] {
		id := binary.LittleEndian.Uint16(partitions)
		for digest, rec := range s.recs {
			if binary.LittleEndian.Uint16([]byte(digest))%aerospikePartitions != id || most == 0 {
				continue
			}
			most--
			s.seen["scanned"]++
			one := reply(resultOK, rec)
			binary.BigEndian.PutUint16(one[18:], 1)
			field := binary.BigEndian.AppendUint32(nil, uint32(1+len(digest)))
			field = append(append(field, fieldDigest), digest...)
			out = append(append(append(out, one[:aeroHeaderSize]...), field...), one[aeroHeaderSize:]...)
		}
		done := reply(resultOK, nil)
		done[3] = info3PartitionDone
		binary.BigEndian.PutUint32(done[6:], uint32(id))
		out = append(out, done...)
	}
	return append(out, last()...)
}

// last ends the answers of a batch or a scan.
func last() []byte {
	b := reply(resultOK, nil)
	b[3] = info3Last
	return b
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
// with a server, and records, batches and scans go over the wire and come back.
// A real server's behaviour is not shown by this.
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
	do(Op{Kind: BatchWrite, Keys: []uint64{1, 2, 3}, Values: [][]byte{{'a'}, {'b'}, {'c'}}, TTL: time.Hour}, OK)
	do(Op{Kind: BatchRead, Keys: []uint64{3, 99, 1}}, OK)
	items := map[int]string{}
	for _, r := range d.more[token] {
		items[r.Item] = fmt.Sprint(r.Outcome, string(r.Value))
	}
	if want := map[int]string{0: fmt.Sprint(OK, "c"), 1: fmt.Sprint(NotFound, ""), 2: fmt.Sprint(OK, "a")}; fmt.Sprint(items) != fmt.Sprint(want) {
		t.Errorf("batch read gave %v, want %v", items, want)
	}
	do(Op{Kind: Scan, Key: 2, ScanLen: 2}, OK)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen["read"] < 6 || s.seen["write"] < 6 || s.seen["delete"] != 2 || s.seen["batch"] != 2 || s.seen["scan"] == 0 || s.seen["scanned"] == 0 {
		t.Errorf("the server saw %v", s.seen)
	}
}

// TestAnAerospikeBatchThatIsCutLeavesTheRestInDoubt: the client marks no record
// of a batch that it had no answer for, although the server may have applied it.
func TestAnAerospikeBatchThatIsCutLeavesTheRestInDoubt(t *testing.T) {
	s := newAeroServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, err := DialAerospike(ctx, StreamConfig{Addr: s.ln.Addr().String()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	d := newDoor(t, a, 8)
	s.mu.Lock()
	s.cutAfter = 1
	s.mu.Unlock()
	r := d.do(t, Op{Kind: BatchWrite, Token: 1, Keys: []uint64{1, 2, 3}, Values: [][]byte{{'a'}, {'b'}, {'c'}}})
	if r.Outcome != InDoubt {
		t.Errorf("the batch ends as %d (%v), want in doubt", r.Outcome, r.Err)
	}
	got := map[int]Outcome{}
	for _, m := range d.more[1] {
		got[m.Item] = m.Outcome
	}
	if want := map[int]Outcome{0: OK, 1: InDoubt, 2: InDoubt}; !maps.Equal(got, want) {
		t.Errorf("its records end as %v, want %v", got, want)
	}
	if r := d.do(t, Op{Kind: BatchRead, Token: 2, Keys: []uint64{1, 2, 3}}); r.Outcome != Failed {
		t.Errorf("a batch of reads that is cut ends as %d (%v), want failed", r.Outcome, r.Err)
	}
}
