package server

import (
	"fmt"

	"headroom/node/transport"
	"headroom/node/wire"
)

// handler implements transport.Handler for a Node: it routes frames by kind,
// and closes a connection whose class has no business with a kind.
type handler struct{ n *Node }

// Opened implements transport.Handler.
func (h handler) Opened(c *transport.Conn) {
	c.State = &connState{}
	h.n.dialedUs.opened(c)
}

// Drained implements transport.Handler.
func (h handler) Drained(*transport.Conn) {}

// Closed implements transport.Handler.
func (h handler) Closed(c *transport.Conn, err error) {
	n := h.n
	n.dialedUs.closed(c)
	if c.Peer().Class == transport.ClassClient {
		n.goodbyeClient(c)
		return
	}
	n.log.Debug("connection closed", "peer", c.Peer().Node.String(), "class", c.Peer().Class.String(), "err", err)
	if c.Peer().Class == transport.ClassReplication && !c.Accepted() {
		n.sweepForwards(n.mono(), c.Peer().Node)
	}
}

// Frames implements transport.Handler.
func (h handler) Frames(c *transport.Conn, f wire.Header, payload []byte) {
	n, st := h.n, c.State.(*connState)
	ok := false
	switch c.Peer().Class {
	case transport.ClassClient:
		ok = n.clientFrame(c, st, f, payload)
	case transport.ClassReplication:
		ok = n.replicationFrame(c, st, f, payload)
	case transport.ClassBulk:
		if ok = f.Kind == wire.KindMigrate; ok {
			n.migrateFrame(c, st, payload)
		}
	case transport.ClassControl:
		if ok = f.Kind == wire.KindProgress; ok {
			n.heardProgress(c, payload)
		} else if ok = f.Kind == wire.KindLosses || f.Kind == wire.KindLossesKnown; ok {
			n.heardLosses(c, f.Kind, payload)
		} else if ok = f.Kind >= wire.KindPrepare && f.Kind <= wire.KindWant; ok {
			n.viewMessage(c, f, payload)
		}
	}
	if !ok {
		c.Close(fmt.Errorf("%w: kind %d on a %v connection", wire.ErrFrame, f.Kind, c.Peer().Class))
	}
}

func (n *Node) clientFrame(c *transport.Conn, st *connState, f wire.Header, payload []byte) bool {
	f.Flags &= wire.FlagStages // only nodes forward
	switch f.Kind {
	case wire.KindHello:
		n.hello(c, payload)
	case wire.KindAdmin:
		n.admin(c, f, payload)
	case wire.KindGet, wire.KindGetHeader, wire.KindPut, wire.KindDelete, wire.KindTouch, wire.KindOperate:
		n.request(c, st, f, payload)
	case wire.KindBatchGet, wire.KindBatchPut:
		n.batch(c, st, f, payload)
	case wire.KindScan:
		if !n.scanLater(c, f, payload) {
			n.scan(c, st, f, payload, n.asked(c, f))
		}
	default:
		return false
	}
	return true
}

func (n *Node) replicationFrame(c *transport.Conn, st *connState, f wire.Header, payload []byte) bool {
	switch f.Kind {
	case wire.KindReplicate, wire.KindAdopt, wire.KindResolve:
		n.replicate(c, st, f, payload)
	case wire.KindReplicated, wire.KindResolved:
		n.replicated(c, f, payload)
	case wire.KindReply:
		n.forwardReply(c, f, payload)
	case wire.KindGet, wire.KindGetHeader, wire.KindPut, wire.KindDelete, wire.KindTouch, wire.KindOperate:
		f.Flags |= wire.FlagForwarded
		n.request(c, st, f, payload)
	default:
		return false
	}
	return true
}

// badFrame is the reason to close a connection that sent something that
// parses and yet cannot be.
func badFrame(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: names something this node does not have", wire.ErrFrame)
}
