package client

import (
	"errors"
	"fmt"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Outcomes of operations. All but ErrInDoubt mean that nothing was applied.
var (
	ErrNotFound    = errors.New("client: no such record")
	ErrInDoubt     = errors.New("client: in doubt, the write may or may not take effect")
	ErrTimeout     = errors.New("client: deadline passed, nothing was applied")
	ErrUnavailable = errors.New("client: no member of the cluster can serve the record now")
	ErrBusy        = errors.New("client: too many requests are waiting, send fewer at a time")
	ErrGeneration  = errors.New("client: the record has another generation, read it again")
	ErrTooBig      = errors.New("client: record is larger than 1 MiB")
	ErrBinType     = errors.New("client: operation does not fit the type of the bin")
	ErrStopWrites  = errors.New("client: the node has no room for writes, reads and deletes go on")
	ErrNoNamespace = errors.New("client: the cluster has no such namespace")
	ErrBadRequest  = errors.New("client: the node refuses the request as malformed")
	ErrClosed      = errors.New("client: closed")
)

// errOf gives the error of a final status, nil for OK. It does not allocate.
func errOf(s wire.Status) error {
	switch s {
	case wire.StatusOK:
		return nil
	case wire.StatusNotFound:
		return ErrNotFound
	case wire.StatusInDoubt:
		return ErrInDoubt
	case wire.StatusTimeout:
		return ErrTimeout
	case wire.StatusBusy:
		return ErrBusy
	case wire.StatusGeneration:
		return ErrGeneration
	case wire.StatusTooBig:
		return ErrTooBig
	case wire.StatusBinType:
		return ErrBinType
	case wire.StatusStopWrites:
		return ErrStopWrites
	case wire.StatusNamespace:
		return ErrNoNamespace
	case wire.StatusUnavailable, wire.StatusNotMaster, wire.StatusStaleView, wire.StatusShuttingDown:
		return ErrUnavailable
	}
	return ErrBadRequest
}

// OpError is the error of a synchronous operation. errors.Is sees Err, and
// for a timeout also what the last answer was: a call that waited in vain for
// an unavailable partition is both ErrTimeout and ErrUnavailable.
type OpError struct {
	Op       string         // "put", "get", …
	Node     cluster.NodeID // the node asked last; zero if none was
	Status   wire.Status    // the outcome
	Last     wire.Status    // the last status a node answered; StatusOK if none did
	Attempts int            // how often the request was sent
	Elapsed  time.Duration  // from call to return
	Err      error          // one of the Err variables, or a context's error beside one
}

// Error gives everything needed to see which node answered what, and when.
func (e *OpError) Error() string {
	text := fmt.Sprintf("%s: %v", e.Op, e.Err)
	if e.Node != 0 {
		text += fmt.Sprintf(" (%v, sent %d times, after %v)", e.Node, e.Attempts, e.Elapsed.Round(time.Millisecond))
	}
	if e.Last != wire.StatusOK && e.Last != e.Status {
		text += fmt.Sprintf("; last answer: %v", e.Last)
	}
	return text
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// Is reports whether target is what the last answer stood for.
func (e *OpError) Is(target error) bool {
	return e.Last != wire.StatusOK && e.Last.Retryable() && errOf(e.Last) == target
}
