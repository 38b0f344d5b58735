//go:build !linux

package transport

// Socket returns the state of the endpoint's UDP socket; false when the system
// does not tell.
func (h *host) Socket() (Socket, bool) { return Socket{}, false }
