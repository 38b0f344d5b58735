package wire

// Kinds of frames. 1..31 are the control plane (kinds_control.go), 32..63
// travel between nodes, 64.. between client and node; a client's request
// keeps its kind when one node forwards it to another.
const (
	// Between nodes, replication connections. Requests carry an id; the
	// answer comes back on the same stream with the same id.
	KindReplicate  Kind = 32 // Replicate -> KindReplicated
	KindReplicated Kind = 33 // Ack
	KindResolve    Kind = 34 // Resolve -> KindResolved
	KindResolved   Kind = 35 // Resolved
	KindAdopt      Kind = 36 // Replicate, sent to a new master by the old -> KindReplicated

	// Between nodes, bulk connections: migration, one message a partition.
	KindMigrate Kind = 40 // Migrate, in both directions; pairs by Migrate.Step

	// Between nodes, control connections.
	KindProgress    Kind = 41 // Progress
	KindLosses      Kind = 42 // Losses -> KindLossesKnown
	KindLossesKnown Kind = 43 // LossesKnown

	// Client to node.
	KindHello      Kind = 64 // Hello; the node answers with KindMap and pushes it on change
	KindMap        Kind = 65 // Map
	KindReply      Kind = 66 // Reply
	KindGet        Kind = 68 // Request
	KindGetHeader  Kind = 69 // Request: everything but the bins
	KindPut        Kind = 70 // Request with Body: replaces the record
	KindDelete     Kind = 71 // Request
	KindTouch      Kind = 72 // Request: new TTL, generation + 1
	KindOperate    Kind = 73 // Request with Ops
	KindBatchGet   Kind = 74 // Batch -> KindBatchReply
	KindBatchPut   Kind = 75 // Batch -> KindBatchReply
	KindBatchReply Kind = 76
	KindScan       Kind = 77 // Scan -> KindScanReply
	KindScanReply  Kind = 78
	KindAdmin      Kind = 79 // a command in words, see server.Admin* -> KindAdminReply, JSON
	KindAdminReply Kind = 80
)

// FlagForwarded marks a client request that a node has forwarded: it is not
// forwarded again.
const FlagForwarded uint8 = 1

// FlagStages on a request for records asks for the stages of its answer; on a
// reply it says that the payload begins with them. A node that does not know it
// answers with a plain reply, and a client gets only what it asked for. Another
// layout of the stages takes another flag.
const FlagStages uint8 = 2

// Status is the outcome of a request. Three families matter to a caller:
// done (OK, NotFound), failed and certainly not applied, and in doubt.
type Status uint8

// The statuses. Retryable ones resolve by themselves within a view change;
// clients retry them inside the call's deadline.
const (
	StatusOK           Status = iota
	StatusNotFound            // no such record (a definite answer)
	StatusUnavailable         // retryable: no member holds a full copy, or parked too long
	StatusNotMaster           // retryable: this node does not master the partition
	StatusBusy                // retryable: too many requests wait for this record
	StatusInDoubt             // the write may or may not take effect
	StatusTimeout             // deadline passed, not applied
	StatusGeneration          // the generation the caller asked for is not the record's
	StatusTooBig              // record beyond 1 MiB
	StatusBinType             // operation does not fit the bin's type
	StatusStopWrites          // the node has no room; reads and deletes go on
	StatusNamespace           // no such namespace
	StatusBadRequest          // does not parse, or breaks a limit
	StatusStaleView           // between nodes: message of another View; sender re-runs it
	StatusShuttingDown        // retryable: the node is leaving
	statusCount
)

var statusNames = [statusCount]string{"ok", "not found", "unavailable", "not master", "busy", "in doubt", "timeout",
	"generation mismatch", "record too big", "bin type mismatch", "stop writes", "unknown namespace", "bad request",
	"stale view", "shutting down"}

// String names the status.
func (s Status) String() string {
	if s < statusCount {
		return statusNames[s]
	}
	return "unknown status"
}

// Retryable reports whether the same request may succeed a moment later and
// was certainly not applied now.
func (s Status) Retryable() bool {
	return s == StatusUnavailable || s == StatusNotMaster || s == StatusBusy || s == StatusShuttingDown
}
