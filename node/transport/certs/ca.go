package certs

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"headroom/node/cluster"
)

const (
	// caLife and leafLife are how long certificates are valid. Long, because
	// an expired mesh certificate is an outage and renewal is by hand.
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 5 * 365 * 24 * time.Hour
	// clockSlack back-dates certificates for machines whose clocks are behind.
	clockSlack = time.Hour

	dirCA     = "ca"     // in a development directory
	dirClient = "client" // in a development directory
	devClient = "dev"    // name of the development client
)

// InitCA makes a certificate authority and a cluster secret in dir (ca.crt,
// ca.key, secret). It refuses to overwrite: a second CA would orphan every
// certificate of the first.
func InitCA(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, fileCA)); err == nil {
		return fmt.Errorf("%s has a certificate authority already: use it, or choose another directory", dir)
	}
	return publish(dir, writeCA)
}

// IssueNode writes the credentials of node id, signed by the CA in dir, to
// the new directory out. hosts are put into the certificate for the benefit
// of foreign tools; headroom itself does not check them.
func IssueNode(dir, out string, id cluster.NodeID, hosts []string) error {
	return issue(dir, out, Identity{Role: RoleNode, Node: id}, hosts)
}

// IssueClient writes the credentials of a client called name, signed by the
// CA in dir, to the new directory out. They hold no cluster secret.
func IssueClient(dir, out, name string) error {
	return issue(dir, out, Identity{Role: RoleClient, Name: name}, nil)
}

// EnsureDev returns the credentials of node id of a development cluster that
// lives in dir, and makes what is missing: the CA in dir/ca, the node in
// dir/nodeN, a client in dir/client. Nodes that start at the same moment on
// the same dir agree: each directory is renamed into place whole, the first
// one wins, and the others use it.
func EnsureDev(dir string, id cluster.NodeID) (Credentials, error) {
	ca, node := filepath.Join(dir, dirCA), filepath.Join(dir, id.String())
	if err := ensure(ca, fileCA, func() error { return InitCA(ca) }); err != nil {
		return Credentials{}, err
	}
	if err := ensure(node, fileNode, func() error { return IssueNode(ca, node, id, []string{"localhost", "127.0.0.1", "::1"}) }); err != nil {
		return Credentials{}, err
	}
	client := DevClient(dir)
	if err := ensure(client, fileClient, func() error { return IssueClient(ca, client, devClient) }); err != nil {
		return Credentials{}, err
	}
	return Load(node)
}

// DevClient is the directory in which EnsureDev leaves a client's
// credentials.
func DevClient(dir string) string { return filepath.Join(dir, dirClient) }

// ensure calls make unless dir/name exists, and forgives that another
// process made it meanwhile.
func ensure(dir, name string, make func() error) error {
	exists := func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	if exists() {
		return nil
	}
	if err := make(); err != nil && !exists() {
		return err
	}
	return nil
}

// Throwaway returns credentials that prove nothing: a self-signed certificate
// of a fresh key and a well-known secret, for machines where anybody who
// reaches the port may do anything.
func Throwaway(id Identity) (Credentials, error) {
	if err := id.Validate(); err != nil {
		return Credentials{}, err
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Credentials{}, err
	}
	tmpl, err := leafTemplate(id, nil)
	if err != nil {
		return Credentials{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	if err != nil {
		return Credentials{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Credentials{}, err
	}
	secret := sha256.Sum256([]byte("headroom insecure mode: anybody knows this"))
	return Credentials{
		Identity:    id,
		Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		Secret:      secret[:],
		Insecure:    true,
	}, nil
}

func issue(dir, out string, id Identity, hosts []string) error {
	if err := id.Validate(); err != nil {
		return err
	}
	a, err := loadCA(dir)
	if err != nil {
		return err
	}
	crt, key := fileNode, fileNodeKey
	if id.Role == RoleClient {
		crt, key = fileClient, fileClientKey
	}
	if _, err := os.Stat(filepath.Join(out, crt)); err == nil {
		return fmt.Errorf("%s has credentials already: choose another directory", out)
	}
	tmpl, err := leafTemplate(id, hosts)
	if err != nil {
		return err
	}
	return publish(out, func(tmp string) error {
		if err := writePair(tmp, crt, key, tmpl, a.cert, a.key); err != nil {
			return err
		}
		if err := writeFile(tmp, fileCA, 0o644, a.pem); err != nil {
			return err
		}
		if id.Role == RoleClient {
			return nil
		}
		return writeFile(tmp, fileSecret, 0o600, a.secret)
	})
}

// authority is a CA as read from its directory.
type authority struct {
	cert   *x509.Certificate
	key    crypto.Signer
	pem    []byte
	secret []byte
}

func loadCA(dir string) (authority, error) {
	caPEM, err := readFile(dir, fileCA)
	if errors.Is(err, fs.ErrNotExist) {
		return authority{}, fmt.Errorf("%w in %s: no certificate authority there, run `headroom-node certs init`", ErrNoCredentials, dir)
	}
	if err != nil {
		return authority{}, err
	}
	keyPEM, err := readFile(dir, fileCAKey)
	if err != nil {
		return authority{}, err
	}
	secret, err := readSecret(dir)
	if err != nil {
		return authority{}, err
	}
	pair, err := tls.X509KeyPair(caPEM, keyPEM)
	if err != nil {
		return authority{}, fmt.Errorf("certificate authority in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return authority{}, fmt.Errorf("%s is not a certificate authority", filepath.Join(dir, fileCA))
	}
	return authority{cert: pair.Leaf, key: key, pem: caPEM, secret: secret}, nil
}

func writeCA(tmp string) error {
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "headroom cluster CA"},
		NotBefore:             time.Now().Add(-clockSlack),
		NotAfter:              time.Now().Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if err := writePair(tmp, fileCA, fileCAKey, tmpl, nil, nil); err != nil {
		return err
	}
	secret := make([]byte, SecretSize)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	return writeFile(tmp, fileSecret, 0o600, secret)
}

func leafTemplate(id Identity, hosts []string) (*x509.Certificate, error) {
	u := id.uri()
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "headroom " + id.String()},
		NotBefore:    time.Now().Add(-clockSlack),
		NotAfter:     time.Now().Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	t.URIs = append(t.URIs, u)
	if id.Role == RoleNode {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range hosts {
		if h == "" {
			return nil, errors.New("empty host name for the certificate")
		}
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t, nil
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	b[0] &= 0x7f // RFC 5280 §4.1.2.2: positive
	return new(big.Int).SetBytes(b)
}

// writePair makes a key and its certificate, signed by parent, or by itself
// without one.
func writePair(dir, crt, key string, tmpl, parent *x509.Certificate, signer crypto.Signer) error {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if parent == nil {
		parent, signer = tmpl, priv
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, signer)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return err
	}
	if err := writeFile(dir, key, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})); err != nil {
		return err
	}
	return writeFile(dir, crt, 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func writeFile(dir, name string, perm fs.FileMode, b []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// publish lets fill write a temporary directory beside dir and renames it
// into place, so that dir is either absent or complete, whoever else does the
// same and wherever a crash falls. An empty dir is replaced.
func publish(dir string, fill func(tmp string) error) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".certs-*") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // nothing is left of it after the rename
	if err := fill(tmp); err != nil {
		return err
	}
	os.Remove(dir) // only succeeds on an empty directory
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("put credentials into %s (it must not exist, or be empty): %w", dir, err)
	}
	return nil
}
