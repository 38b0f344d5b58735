package certs

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"headroom/node/cluster"
)

func TestDevCredentialsAreMadeOnceAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	a, err := EnsureDev(dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	b, err := EnsureDev(dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Certificate.Leaf.Equal(b.Certificate.Leaf) {
		t.Error("second EnsureDev made another certificate")
	}
	if got, want := a.Identity, (Identity{Role: RoleNode, Node: 3}); got != want {
		t.Errorf("identity = %v, want %v", got, want)
	}
	walk(t, dir)
	c, err := Load(DevClient(dir))
	if err != nil {
		t.Fatal(err)
	}
	if c.Identity.Role != RoleClient || c.Secret != nil {
		t.Errorf("client credentials = %v with %d bytes of secret, want a client without", c.Identity, len(c.Secret))
	}
}

func walk(t *testing.T, dir string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		private := d.IsDir() || strings.HasSuffix(path, ".key") || d.Name() == fileSecret
		if private && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, want nothing for others", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".certs-") {
			t.Errorf("%s was left behind", path)
		}
		seen++
		return nil
	})
	if err != nil || seen < 10 {
		t.Errorf("walk saw %d files: %v", seen, err)
	}
}

func TestConcurrentFirstStartsShareOneAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	const nodes = 8
	creds := make([]Credentials, 2*nodes)
	var wg sync.WaitGroup
	for i := range creds {
		wg.Go(func() {
			var err error
			if creds[i], err = EnsureDev(dir, cluster.NodeID(i%nodes+1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, c := range creds {
		if err := Verify(c.Certificate.Leaf, nil, creds[0].Roots, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("node %d is signed by another CA: %v", i, err)
		}
		if string(c.Secret) != string(creds[0].Secret) {
			t.Errorf("node %d has another secret", i)
		}
	}
	walk(t, dir)
}

func TestWrongAuthorityIsRefused(t *testing.T) {
	a, err := EnsureDev(t.TempDir()+"/a", 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := EnsureDev(t.TempDir()+"/b", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(b.Certificate.Leaf, nil, a.Roots, x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("a certificate of another CA was accepted")
	}
}

func TestClientCertificateIsNoServer(t *testing.T) {
	dir := t.TempDir() + "/d"
	a, err := EnsureDev(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(DevClient(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(c.Certificate.Leaf, nil, a.Roots, x509.ExtKeyUsageServerAuth); err == nil {
		t.Error("a client's certificate was accepted as a server's")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrNoCredentials) || !strings.Contains(err.Error(), "headroom-node certs init") {
		t.Errorf("Load of an empty directory = %v", err)
	}
	if err := IssueNode(dir, dir+"/n", 1, nil); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("IssueNode without a CA = %v", err)
	}
	ca := dir + "/ca"
	if err := InitCA(ca); err != nil {
		t.Fatal(err)
	}
	if err := InitCA(ca); err == nil {
		t.Error("InitCA overwrote a CA")
	}
	if err := IssueClient(ca, dir+"/c", "no/slash"); err == nil {
		t.Error("a client name with a slash was accepted")
	}
	if err := IssueNode(ca, dir+"/n", 7, []string{"h.example", "10.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if err := IssueNode(ca, dir+"/n", 7, nil); err == nil {
		t.Error("IssueNode overwrote credentials")
	}
	if err := os.Truncate(dir+"/n/secret", 5); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir + "/n"); err == nil || !strings.Contains(err.Error(), "secret has 5 bytes") {
		t.Errorf("Load with a short secret = %v", err)
	}
}

func TestThrowawayNamesItsHolder(t *testing.T) {
	want := Identity{Role: RoleNode, Node: 0x1234567890abcdef}
	c, err := Throwaway(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := IdentityOf(c.Certificate.Leaf)
	if err != nil || got != want || !c.Insecure {
		t.Errorf("IdentityOf = %v, %v, want %v", got, err, want)
	}
}
