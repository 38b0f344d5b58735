package server

import (
	"encoding/json"
	"strings"
	"time"

	"headroom/node/transport"
	"headroom/node/wire"
)

// Admin commands, the payload of a KindAdmin frame. The answer is JSON.
const (
	AdminStatus     = "status"       // Status
	AdminSafeToStop = "safe-to-stop" // SafeToStop
	AdminQuiesce    = "quiesce"      // Outcome
	AdminUnquiesce  = "unquiesce"    // Outcome
	AdminRevive     = "revive"       // Outcome; a space and the namespace follow
	AdminClock      = "clock"        // Clock
)

// Clock is a node's wall clock when it answered: load generators that share a
// load compare theirs with it.
type Clock struct {
	Node   string `json:"node"`
	UnixNS int64  `json:"unix_ns"`
}

// Outcome is the answer to a command that changes something.
type Outcome struct {
	Node  string `json:"node"`
	Done  string `json:"done,omitempty"`  // what was done, in words
	Error string `json:"error,omitempty"` // why nothing was, and what to do
	Ask   string `json:"ask,omitempty"`   // host:port of the node that can do it
}

// SafeToStop is the answer of `headroom-node safe-to-stop`.
type SafeToStop struct {
	Safe   bool   `json:"safe"`
	Reason string `json:"reason"`
}

func (n *Node) outcome(done string, err error) Outcome {
	o := Outcome{Node: n.id.String(), Done: done}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

func (n *Node) admin(c *transport.Conn, h wire.Header, payload []byte) {
	var answer any
	command, argument, _ := strings.Cut(string(payload), " ")
	switch command {
	case AdminStatus:
		answer = n.Status()
	case AdminClock:
		answer = Clock{n.id.String(), time.Now().UnixNano()}
	case AdminSafeToStop:
		safe, why := n.SafeToStop()
		answer = SafeToStop{safe, why}
	case AdminQuiesce, AdminUnquiesce:
		answer = n.outcome(n.Quiesce(command == AdminQuiesce))
	case AdminRevive:
		answer = n.Revive(argument)
	default:
		answer = Outcome{Node: n.id.String(), Error: "unknown command; this node knows status, safe-to-stop, quiesce, unquiesce, revive and clock: are both programs of one version?"}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		n.log.Error("encode admin answer", "err", err)
		return
	}
	c.Reply(func(buf []byte) []byte {
		at := len(buf)
		buf = wire.AppendHeader(buf, wire.Header{Kind: wire.KindAdminReply, ID: h.ID})
		buf = append(buf, b...)
		wire.PutLength(buf, at)
		return buf
	})
}
