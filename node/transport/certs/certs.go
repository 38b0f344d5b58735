// Package certs owns who is who on the wire: the cluster's certificate
// authority, the certificates of nodes and clients, the cluster secret that
// signs heartbeats, and the plain directories they live in. It opens no
// socket; package transport asks it whom a certificate names.
//
// The invariant to know: a certificate carries exactly one role URI,
// headroom://node/ID or headroom://client/NAME, and that URI, under the
// cluster's CA, is the whole identity. Host names and addresses are never
// checked: addresses come from the View and change, identities do not.
//
// A credentials directory can be copied to another machine as it is:
//
//	CA       ca.crt ca.key secret
//	node     ca.crt node.crt node.key secret
//	client   ca.crt client.crt client.key
//
// Start reading at Credentials, then Load; ca.go makes them.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"headroom/node/cluster"
)

// SecretSize is the length of the cluster secret in bytes: the key size of
// HMAC-SHA-256 beyond which nothing is gained.
const SecretSize = 32

// File names in a credentials directory.
const (
	fileCA        = "ca.crt"
	fileCAKey     = "ca.key"
	fileNode      = "node.crt"
	fileNodeKey   = "node.key"
	fileClient    = "client.crt"
	fileClientKey = "client.key"
	fileSecret    = "secret"
)

// maxFile bounds what is read from a credentials file: certificates are
// about 1 KB, a CA bundle for a rotation a few.
const maxFile = 1 << 20

// scheme is the scheme of role URIs.
const scheme = "headroom"

// ErrNoCredentials is wrapped when a directory holds no credentials at all.
var ErrNoCredentials = errors.New("no credentials")

// ErrIdentity is wrapped when a certificate does not name a headroom node or
// client.
var ErrIdentity = errors.New("certificate names no headroom node or client")

// Role says what the holder of a certificate may be.
type Role uint8

// The roles. The zero Role is none.
const (
	RoleNode Role = iota + 1
	RoleClient
)

// String gives "node" or "client".
func (r Role) String() string {
	switch r {
	case RoleNode:
		return "node"
	case RoleClient:
		return "client"
	}
	return "unknown"
}

// Identity is whom a certificate names: a node by its id, a client by a name.
type Identity struct {
	Role Role
	Node cluster.NodeID // of a node, else zero
	Name string         // of a client, else empty
}

// String gives "node3" or "client/NAME".
func (i Identity) String() string {
	if i.Role == RoleNode {
		return i.Node.String()
	}
	return "client/" + i.Name
}

// Validate reports whether i can be put into a certificate.
func (i Identity) Validate() error {
	switch {
	case i.Role == RoleNode && i.Node != 0 && i.Name == "":
		return nil
	case i.Role == RoleClient && i.Node == 0:
		return validName(i.Name)
	}
	return fmt.Errorf("identity %+v is neither a node nor a client", i)
}

// maxName bounds a client's name; it appears in logs and status output.
const maxName = 64

func validName(s string) error {
	ok := len(s) > 0 && len(s) <= maxName
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	if !ok || s == "." || s == ".." {
		return fmt.Errorf("client name %q: want 1 to %d letters, digits, '-', '_' or '.'", s, maxName)
	}
	return nil
}

func (i Identity) uri() *url.URL {
	u := &url.URL{Scheme: scheme, Host: i.Role.String(), Path: "/" + i.Name}
	if i.Role == RoleNode {
		u.Path = "/" + i.Node.String()
	}
	return u
}

// IdentityOf reads the role URI of a certificate. It checks no signature. The
// error wraps ErrIdentity.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	var found []*url.URL
	for _, u := range cert.URIs {
		if u.Scheme == scheme {
			found = append(found, u)
		}
	}
	if len(found) != 1 {
		return Identity{}, fmt.Errorf("%w: %d role URIs", ErrIdentity, len(found))
	}
	id, err := parseURI(found[0])
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return id, nil
}

func parseURI(u *url.URL) (Identity, error) {
	rest := strings.TrimPrefix(u.Path, "/")
	switch u.Host {
	case "node":
		n, err := cluster.ParseNodeID(rest)
		return Identity{Role: RoleNode, Node: n}, err
	case "client":
		return Identity{Role: RoleClient, Name: rest}, validName(rest)
	}
	return Identity{}, fmt.Errorf("role %q is unknown", u.Host)
}

// Credentials are what a process shows to others and what it trusts. The
// zero value is none. They are read-only once made and may be shared.
type Credentials struct {
	Identity    Identity
	Certificate tls.Certificate
	Roots       *x509.CertPool
	// Secret is the cluster secret, SecretSize bytes; nil for a client.
	Secret []byte
	// Insecure marks throwaway credentials: peers are believed without proof
	// and Secret is a public constant.
	Insecure bool
}

// Load reads the credentials of a node (node.crt) or a client (client.crt)
// from dir. The error wraps ErrNoCredentials if there are neither.
func Load(dir string) (Credentials, error) {
	crt, key := fileNode, fileNodeKey
	if _, err := os.Stat(filepath.Join(dir, fileNode)); errors.Is(err, fs.ErrNotExist) {
		crt, key = fileClient, fileClientKey
	}
	crtPEM, err := readFile(dir, crt)
	if errors.Is(err, fs.ErrNotExist) {
		return Credentials{}, fmt.Errorf("%w in %s: run `headroom-node certs init` and `headroom-node certs node` (or `client`), or name the right directory with --credentials", ErrNoCredentials, dir)
	}
	if err != nil {
		return Credentials{}, err
	}
	keyPEM, err := readFile(dir, key)
	if err != nil {
		return Credentials{}, err
	}
	pair, err := tls.X509KeyPair(crtPEM, keyPEM)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials %s: %w", filepath.Join(dir, crt), err)
	}
	return complete(dir, pair)
}

// complete adds identity, roots and secret to a key pair read from dir, and
// checks that they belong together.
func complete(dir string, pair tls.Certificate) (Credentials, error) {
	id, err := IdentityOf(pair.Leaf)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials in %s: %w", dir, err)
	}
	caPEM, err := readFile(dir, fileCA)
	if err != nil {
		return Credentials{}, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return Credentials{}, fmt.Errorf("%s holds no certificate", filepath.Join(dir, fileCA))
	}
	c := Credentials{Identity: id, Certificate: pair, Roots: roots}
	if err := Verify(pair.Leaf, nil, roots, x509.ExtKeyUsageClientAuth); err != nil {
		return Credentials{}, fmt.Errorf("credentials of %v in %s: %w; issue them again with `headroom-node certs`", id, dir, err)
	}
	if id.Role != RoleNode {
		return c, nil
	}
	if c.Secret, err = readSecret(dir); err != nil {
		return Credentials{}, err
	}
	return c, nil
}

// Verify checks that leaf was signed by one of roots, is valid now and may be
// used as usage says. A node's certificate serves both as server and client.
func Verify(leaf *x509.Certificate, rest []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage) error {
	inter := x509.NewCertPool()
	for _, c := range rest {
		inter.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func readSecret(dir string) ([]byte, error) {
	b, err := readFile(dir, fileSecret)
	if err == nil && len(b) != SecretSize {
		err = fmt.Errorf("%s has %d bytes, want %d: copy it again from the CA directory", filepath.Join(dir, fileSecret), len(b), SecretSize)
	}
	return b, err
}

func readFile(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, limit %d", path, st.Size(), maxFile)
	}
	return os.ReadFile(path)
}
