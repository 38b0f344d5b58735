package server

import (
	"errors"
	"syscall"
	"time"

	"headroom/node/storage"
)

const (
	// storeRetry is how often a node without room in its data-dir tries again.
	storeRetry = 250 * time.Millisecond
	// storeSay is how often it says so.
	storeSay = time.Minute
)

// untilStored repeats do, which keeps what this node is about to promise, until
// there is room for it. Meanwhile the control plane stands still: no pulse, no
// message, no lease, so that the others go on without this node, and it comes
// back by itself. It reports false if the node ends first, or cannot go on: then
// nothing may be promised.
func (n *Node) untilStored(do func() error) bool {
	err := do()
	if err == nil {
		return true
	}
	t := time.NewTicker(storeRetry)
	defer t.Stop()
	said := time.Time{}
	for err != nil {
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			n.log.Error("metadata not stored: this node ends", "err", err)
			n.fail(err.Error())
			return false
		}
		if time.Since(said) > storeSay {
			said = time.Now()
			n.log.Error("no room for metadata: this node takes no part until there is; free some in data-dir", "dir", n.cfg.DataDir, "err", err)
			text := "no room for metadata in data-dir " + n.cfg.DataDir + ": free some (" + err.Error() + ")"
			n.unstored.Store(&text)
			n.lease.Store(0)
		}
		select {
		case <-n.ctl.done:
			return false
		case <-t.C:
		}
		err = do()
	}
	n.unstored.Store(nil)
	n.ctl.starved = true
	n.log.Info("there is room for metadata again")
	return true
}

// checkStarved gives up what pulses have proven if the control plane stood
// still: for the others this node was silent all the while.
func (n *Node) checkStarved() {
	if !n.ctl.starved {
		return
	}
	n.ctl.starved = false
	n.lease.Store(0)
	n.ctl.hb.Resumed(n.mono())
}

// isDevice reports whether an error is a device's that was given up: what is to
// be stored can wait for the View that follows.
func isDevice(err error) bool {
	var failed *storage.DeviceError
	return errors.As(err, &failed)
}
