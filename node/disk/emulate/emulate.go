// Package emulate makes a device as slow as another one: it puts the queue of
// a profile (node/disk/profile) before any backing device, so that a laptop
// holds a rack of disks it does not have. It slows the device, not the CPU.
//
// The invariant to know: the queue is a pure schedule in virtual time that
// knows no clock; the wrapper completes each request when its slot ends, or
// later when the host was late, and keeps both times, so that a run in which
// the host could not follow says so.
//
// Start reading at Schedule.
package emulate
