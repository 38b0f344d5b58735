package wire

import (
	"bytes"
	"errors"
	"testing"

	"headroom/node/cluster"

	"github.com/google/go-cmp/cmp"
)

func viewMessages() []ViewMessage {
	k := cluster.ViewKey{Counter: 3, Proposer: 4, Inc: 1}
	ms := []cluster.Member{{Node: 4, Inc: 1, Rack: 2, Addr: "a:1"}, {Node: 1, Inc: 9, Quiesced: true, Addr: "b:2"}}
	return []ViewMessage{
		&Prepare{Ballot: k, Members: ms},
		&Promise{Ballot: k, View: k, Fences: []Fence{{Node: 9, Inc: 2, Wait: 7}}},
		&Nack{Ballot: k, Promised: cluster.ViewKey{Counter: 9}, Outside: true},
		&Accept{Ballot: k, Members: ms},
		&Accepted{Ballot: k, View: k, Fences: []Fence{{Node: 2, Inc: 1, Wait: 5}}, Payload: []byte("versions")},
		&Want{View: k},
		&CommitPart{Key: k, Index: 1, Last: 2, Data: []byte("piece")},
		&Commit{View: cluster.View{Key: k, Members: ms}, Payloads: [][]byte{[]byte("x"), {}}},
	}
}

func TestViewMessagesRoundTrip(t *testing.T) {
	for _, m := range viewMessages() {
		got, err := ParseViewMessage(m.Kind(), m.Append(nil))
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Errorf("%T differs (-want +got):\n%s", m, d)
		}
	}
}

func TestMembersOutOfOrderAreRefused(t *testing.T) {
	m := &Prepare{Members: []cluster.Member{{Node: 1, Inc: 1}, {Node: 4, Inc: 1}}}
	if _, err := ParseViewMessage(KindPrepare, m.Append(nil)); !errors.Is(err, ErrFrame) {
		t.Errorf("error = %v, want ErrFrame", err)
	}
}

func FuzzViewMessage(f *testing.F) {
	for _, m := range viewMessages() {
		f.Add(byte(m.Kind()), m.Append(nil))
	}
	f.Add(byte(KindPulse), []byte{})
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		m, err := ParseViewMessage(Kind(kind), b)
		if err == nil && !bytes.Equal(m.Append(nil), b) {
			t.Errorf("%T: %x decodes and encodes to %x", m, b, m.Append(nil))
		}
	})
}
