package server

import (
	"encoding/json"

	"headroom/node/transport"
	"headroom/node/wire"
)

// Admin commands, the payload of a KindAdmin frame. The answer is JSON.
const (
	AdminStatus     = "status"       // Status
	AdminSafeToStop = "safe-to-stop" // SafeToStop
)

// SafeToStop is the answer of `headroom-node safe-to-stop`.
type SafeToStop struct {
	Safe   bool   `json:"safe"`
	Reason string `json:"reason"`
}

func (n *Node) admin(c *transport.Conn, h wire.Header, payload []byte) {
	var answer any
	switch string(payload) {
	case AdminStatus:
		answer = n.Status()
	case AdminSafeToStop:
		safe, why := n.SafeToStop()
		answer = SafeToStop{safe, why}
	default:
		answer = map[string]string{"error": "unknown command; this node knows status and safe-to-stop"}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		n.log.Error("encode admin answer", "err", err)
		return
	}
	_ = c.Append(func(buf []byte) []byte { // refused: the asker is gone
		at := len(buf)
		buf = wire.AppendHeader(buf, wire.Header{Kind: wire.KindAdminReply, ID: h.ID})
		buf = append(buf, b...)
		wire.PutLength(buf, at)
		return buf
	})
}
