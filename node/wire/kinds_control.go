package wire

// Kinds of the control plane: 1 to 31. A number is never reused for another
// meaning, because two releases may talk to each other.
const (
	KindPulse    Kind = 1 // heartbeat datagram
	KindPrepare  Kind = 2 // membership, see view.go
	KindPromise  Kind = 3
	KindNack     Kind = 4
	KindAccept   Kind = 5
	KindAccepted Kind = 6
	KindCommit   Kind = 7
	// KindCommitPart is a piece of a commit that is too large for a frame.
	KindCommitPart Kind = 8
	KindWant       Kind = 9
)
