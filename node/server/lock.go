package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockName is the file that a running node holds locked in its data-dir; the
// kernel unlocks it however the process ends.
const lockName = "lock"

// lockDir keeps a second process from running as the same node, which would
// split one identity and one set of ballots between two. The caller closes the
// file to unlock.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data-dir: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("data-dir %s is in use by a running node: stop that one, or choose another --data-dir", dir)
	}
	return nil, fmt.Errorf("lock data-dir %s: %w", dir, err)
}

// unlockDir lets another process have the data-dir.
func (n *Node) unlockDir() {
	if n.lock != nil {
		n.lock.Close()
	}
}
