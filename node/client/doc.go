// Package client is the Go SDK of a Headroom cluster. A Client keeps one
// connection to every member, knows from the maps that the members push which
// of them masters each partition, sends every request straight there, and
// carries a call over a failure or a change of masters inside the call's
// deadline. It owns routing, retries and the outcome a caller is told; it
// does not own sockets (package transport), layouts (package wire) or what an
// operation does to a record (package record).
//
//	c, err := client.Dial(ctx, client.Config{Seeds: []string{"127.0.0.1:4300"}})
//	...
//	key := client.Key{Set: "users", Value: record.Int(7)}
//	err = c.Put(ctx, key, []record.Bin{{Name: "name", Value: record.String("Ada")}})
//	rec, err := c.Get(ctx, key)
//
// # Outcomes
//
// Every call ends in one of three ways: done (nil, or ErrNotFound, which is
// an answer), failed and not applied (ErrTimeout, ErrUnavailable,
// ErrGeneration, …), or ErrInDoubt: a write that may have taken effect, now
// or a moment later. Errors are *OpError; compare with errors.Is.
//
// # Repeated writes
//
// A write whose connection died after it was sent, or that a node answered as
// in doubt, may or may not have been applied. A put, delete or touch without a generation check is then sent
// again inside the same call: it may be applied twice, which bumps the
// generation twice, but it is one write that takes effect between call and
// return. Where a split leaves both sides writable and the client moves from one
// to the other, each side has it in its own time: what was sent to the first may
// still come out of the network there, after writes that came later. An
// operate or a generation-checked write is never sent twice; it
// ends as ErrInDoubt. While the node that got a write is still a member and
// connected, the client waits for its answer even if the partition has moved:
// that node may be forwarding the write, and a forwarded copy that arrives
// late must not overwrite a newer write.
//
// The invariant to know: a Call is in exactly one place (a connection's
// in-flight table, the parked list, or the hands of the goroutine that took
// it out), and only who takes it out may finish or resend it. So every Call
// is completed exactly once and late replies find nothing.
//
// Lock order: Client.mu, then conn.mu or Client.parkMu, then the link's own.
// No lock is held while Call.Done runs.
//
// Start reading at Client, then Submit in call.go (the life of one
// operation), conn.go (the in-flight table), steward.go (deadlines, retries,
// failover) and router.go (which map to believe).
package client
