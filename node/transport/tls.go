package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quic-go/quic-go"

	"headroom/node/cluster"
	"headroom/node/transport/certs"
)

// serverTLS accepts every class; the dialing side must have a certificate of
// the cluster's CA whose role fits the class.
func serverTLS(cr *certs.Credentials, st *Stats) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{cr.Certificate},
		NextProtos:             alpns[:],
		ClientAuth:             tls.RequireAnyClientCert, // proven in VerifyConnection
		SessionTicketsDisabled: true,                     // every connection proves itself anew
		VerifyConnection: func(cs tls.ConnectionState) error {
			class, ok := classOf(cs.NegotiatedProtocol)
			if !ok {
				return count(st, fmt.Errorf("%w: protocol %q", ErrPeer, cs.NegotiatedProtocol))
			}
			id, err := identify(cr, cs, x509.ExtKeyUsageClientAuth)
			// A node may use the client class too: it can do anything a client
			// may, and tools on a node's machine have only its certificate.
			if err == nil && id.Role != class.role() && id.Role != certs.RoleNode {
				err = fmt.Errorf("%w: %v may not open a %v connection", ErrPeer, id, class)
			}
			return count(st, err)
		},
	}
}

// clientTLS opens a connection of one class; the other end must be a node,
// and the expected one unless expect is zero.
func clientTLS(cr *certs.Credentials, st *Stats, class Class, expect cluster.NodeID) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cr.Certificate},
		NextProtos:   []string{alpns[class]},
		// Not insecure: VerifyConnection checks the chain and the role URI.
		// Host names are no identity here, see package certs.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			id, err := identify(cr, cs, x509.ExtKeyUsageServerAuth)
			switch {
			case err != nil:
			case id.Role != certs.RoleNode:
				err = fmt.Errorf("%w: %v is no node", ErrPeer, id)
			case expect != 0 && id.Node != expect:
				err = fmt.Errorf("%w: found %v where %v should be", ErrPeer, id, expect)
			}
			return count(st, err)
		},
	}
}

func count(st *Stats, err error) error {
	if err != nil {
		st.RefusedPeers.Add(1)
	}
	return err
}

// identify proves whom the peer's certificate names.
func identify(cr *certs.Credentials, cs tls.ConnectionState, usage x509.ExtKeyUsage) (certs.Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return certs.Identity{}, fmt.Errorf("%w: no certificate", ErrPeer)
	}
	leaf := cs.PeerCertificates[0]
	if !cr.Insecure {
		if err := certs.Verify(leaf, cs.PeerCertificates[1:], cr.Roots, usage); err != nil {
			return certs.Identity{}, errors.Join(ErrPeer, err)
		}
	}
	id, err := certs.IdentityOf(leaf)
	if err != nil {
		return id, errors.Join(ErrPeer, err)
	}
	return id, nil
}

// derive makes a key for one purpose from the cluster secret, so that no two
// uses share a key.
func derive(secret []byte, purpose string, id cluster.NodeID) (key [sha256.Size]byte) {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("headroom " + purpose))
	m.Write(binary.LittleEndian.AppendUint64(nil, uint64(id)))
	m.Sum(key[:0])
	return key
}

// quicConfig is the QUIC configuration of one side of a class. Accepting
// sides set no keep-alive and the long idle timeout: the smaller of both ends
// counts (RFC 9000 §10.1), so the dialing side decides.
func quicConfig(class Class, dialing bool) *quic.Config {
	c := &quic.Config{
		HandshakeIdleTimeout:           handshakeIdle,
		MaxIdleTimeout:                 clientIdle,
		InitialStreamReceiveWindow:     1 << 20,
		MaxStreamReceiveWindow:         4 << 20,
		InitialConnectionReceiveWindow: 1 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
		MaxIncomingStreams:             1, // the request stream
		MaxIncomingUniStreams:          -1,
		EnableDatagrams:                false,
	}
	if !dialing {
		return c
	}
	c.MaxIncomingStreams = -1
	c.KeepAlivePeriod = clientKeepAlive
	if class != ClassClient {
		c.MaxIdleTimeout, c.KeepAlivePeriod = meshIdle, meshKeepAlive
	}
	return c
}
