package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/wire"
)

// metaFile is what a node must not forget across a restart, beside its
// records. It is written whole: to a spare file, synced, the two names
// exchanged, and the directory synced, so that a crash leaves the old or the new
// one, and a full file system takes it.
//
//	0            8          12        16
//	| magic 8 B  | length   | crc32c  | payload (length bytes)
//	  "HDRMMETA"   u32        u32       format u16, node u64, incarnation u64,
//	                                    promised key 24 B, accepted key 24 B,
//	                                    view (wire.AppendView), history: count
//	                                    uvarint, keys 24 B each
const (
	metaName    = "node.meta"
	metaMagic   = "HDRMMETA"
	metaFormat  = 1
	metaHistory = 256     // keys; membership keeps 32
	metaMaxSize = 1 << 20 // a View of 256 members is 40 KiB
)

// meta is the durable state of a node.
type meta struct {
	Node     cluster.NodeID
	Inc      cluster.Incarnation
	Promised cluster.ViewKey   // highest ballot promised
	Accepted cluster.ViewKey   // highest ballot accepted
	View     cluster.View      // last committed
	History  []cluster.ViewKey // of Views committed, oldest first
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (m *meta) encode() []byte {
	p := wire.AppendU16(nil, metaFormat)
	p = wire.AppendU64(p, uint64(m.Node))
	p = wire.AppendU64(p, uint64(m.Inc))
	p = wire.AppendViewKey(p, m.Promised)
	p = wire.AppendViewKey(p, m.Accepted)
	p = wire.AppendView(p, &m.View)
	p = wire.AppendUvarint(p, uint64(len(m.History)))
	for _, k := range m.History {
		p = wire.AppendViewKey(p, k)
	}
	b := append([]byte(metaMagic), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(p)))
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(p, castagnoli))
	return append(b, p...)
}

func decodeMeta(b []byte) (*meta, error) {
	if len(b) < 16 || string(b[:8]) != metaMagic {
		return nil, errors.New("it is not a headroom metadata file")
	}
	p := b[16:]
	if uint64(binary.LittleEndian.Uint32(b[8:])) != uint64(len(p)) {
		return nil, errors.New("it is truncated")
	}
	if crc32.Checksum(p, castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, errors.New("its checksum does not match")
	}
	r := wire.NewReader(p)
	if f := r.U16(); f != metaFormat {
		return nil, fmt.Errorf("it has format %d, this program reads %d", f, metaFormat)
	}
	m := &meta{Node: cluster.NodeID(r.U64()), Inc: cluster.Incarnation(r.U64())}
	m.Promised, m.Accepted = r.ViewKey(), r.ViewKey()
	m.View = wire.ReadView(&r)
	for range r.Count(metaHistory, 24) {
		m.History = append(m.History, r.ViewKey())
	}
	return m, r.Done()
}

// loadMeta reads the metadata of dir; a directory without any gives nil.
func loadMeta(dir string) (*meta, error) {
	path := filepath.Join(dir, metaName)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if st.Size() > metaMaxSize {
		return nil, fmt.Errorf("read %s: %d bytes is no metadata file", path, st.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := decodeMeta(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; put the right file back, or remove it to start as a new node with no data", path, err)
	}
	return m, nil
}

// storeMeta replaces the metadata of dir and returns when it is durable.
func storeMeta(dir string, m *meta) error {
	if err := disk.Rewrite(disk.OSDir(dir), metaName, m.encode()); err != nil {
		return fmt.Errorf("store %s: %w", filepath.Join(dir, metaName), err)
	}
	return nil
}
