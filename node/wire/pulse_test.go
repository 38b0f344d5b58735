package wire

import (
	"bytes"
	"strings"
	"testing"

	"headroom/node/cluster"

	"github.com/google/go-cmp/cmp"
)

func fullPulse() *Pulse {
	return &Pulse{Cluster: 9, To: 2, Node: 3, Inc: 4, Rack: 5, Leaving: true, Ask: true, Addr: "10.0.0.3:3000",
		Called: "seed:1", Seq: 7, Sent: 8, EchoInc: 1, EchoSent: 2, View: cluster.ViewKey{Counter: 1, Proposer: 4, Inc: 1},
		Shared: true, HearsBits: []byte{15}, DoubtBits: []byte{2}, Hears: []cluster.NodeID{9}, Doubts: []cluster.NodeID{9},
		Known: []Endpoint{{Node: 9, Addr: "10.0.0.9:3000"}}}
}

func TestPulseRoundTrips(t *testing.T) {
	for _, p := range []*Pulse{{Node: 1, Inc: 1}, fullPulse(), {Node: 1, Inc: 1, Quiesced: true, Goodbye: true, Frozen: true, Partial: true}} {
		got, err := ParsePulse(p.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, got); d != "" {
			t.Errorf("pulse differs (-want +got):\n%s", d)
		}
	}
}

func TestPulseSizes(t *testing.T) {
	if n := len((&Pulse{Node: 1, Inc: 1}).Append(nil)); n < MinPulse {
		t.Errorf("smallest pulse has %d bytes, want ≥ %d", n, MinPulse)
	}
	// Without gossip, for which the sender keeps what room is left.
	p := fullPulse()
	p.Addr, p.Called, p.Known = strings.Repeat("a", MaxAddr), strings.Repeat("b", MaxAddr), nil
	p.HearsBits, p.DoubtBits = make([]byte, maxBitmap), make([]byte, maxBitmap)
	p.Hears, p.Doubts = make([]cluster.NodeID, MaxListed), make([]cluster.NodeID, MaxDoubted)
	if n := len(p.Append(nil)); n > MaxPulse {
		t.Errorf("largest pulse has %d bytes, want ≤ %d", n, MaxPulse)
	}
}

func FuzzPulse(f *testing.F) {
	f.Add(fullPulse().Append(nil))
	f.Add((&Pulse{Node: 1, Inc: 1}).Append(nil))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePulse(b)
		if err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Errorf("%x decodes and encodes to %x", b, p.Append(nil))
		}
	})
}
