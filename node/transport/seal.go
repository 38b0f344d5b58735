package transport

import (
	"crypto/hmac"
	"crypto/sha256"
)

const (
	// pulseMagic begins every pulse. The two top bits are zero, which tells
	// the datagram from QUIC on the same port (RFC 9000 §17: fixed bit).
	pulseMagic = 0x01
	pulseMAC   = 16 // bytes of HMAC-SHA-256 that are sent
	sealSize   = 1 + pulseMAC
	// MaxDatagram bounds a sealed pulse: it fits into any path that carries
	// QUIC comfortably, without IP fragments.
	MaxDatagram = 1400
	// MaxPulse bounds the payload of a pulse.
	MaxPulse = MaxDatagram - sealSize
)

// Seal returns payload as a signed datagram: a magic byte, 16 bytes of
// HMAC-SHA-256 under secret, the payload. It is authentic, not secret, and
// carries nothing against replay: the payload must.
func Seal(secret, payload []byte) []byte {
	d := make([]byte, sealSize, sealSize+len(payload))
	d[0] = pulseMagic
	d = append(d, payload...)
	mac := pulseSum(secret, payload)
	copy(d[1:], mac[:pulseMAC])
	return d
}

// Open returns the payload of a datagram that Seal made under the same
// secret, and false for anything else. The payload aliases datagram.
func Open(secret, datagram []byte) (payload []byte, ok bool) {
	if len(datagram) < sealSize || len(datagram) > MaxDatagram || datagram[0] != pulseMagic {
		return nil, false
	}
	payload = datagram[sealSize:]
	mac := pulseSum(secret, payload)
	return payload, hmac.Equal(mac[:pulseMAC], datagram[1:sealSize])
}

func pulseSum(secret, payload []byte) (mac [sha256.Size]byte) {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte{pulseMagic})
	m.Write(payload)
	m.Sum(mac[:0])
	return mac
}
