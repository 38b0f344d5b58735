package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"unsafe"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/record"
)

// The index file NAME.index is written when the engine is shut down and read
// once, if the state file says that nothing happened since:
//
//	0         8       12    16    24      32
//	| HDRMIDX | format| slots| set | epoch | per slot: blocks u32, then per block seq u64, live u32 ... | crc32c u32
//	| 8       | u32   | u32  | u64 | u64   |
//	then per partition: entries u32 | entries of 64 bytes as in memory, without links | crc32c u32
//
// Each checksum covers what stands before it since the last one.
const (
	indexMagic = "HDRMIDX\x00"
	indexHead  = 32
)

func (e *Engine) storeIndex() error {
	return disk.Replace(e.log.cfg.Dir, e.log.indexName(), func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<20)
		if _, err := out.Write(sealed(e.indexHeader())); err != nil {
			return err
		}
		var b []byte
		for p := range cluster.Partitions {
			b = append(b[:0], 0, 0, 0, 0)
			n := uint32(0)
			e.visitAll(p, func(en *entry) {
				b = append(b, (*[entrySize]byte)(unsafe.Pointer(en))[:]...)
				n++
			})
			binary.LittleEndian.PutUint32(b, n)
			if _, err := out.Write(sealed(b)); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

func sealed(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (e *Engine) indexHeader() []byte {
	l := e.log
	b := append([]byte(indexMagic), make([]byte, indexHead-8)...)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(l.volumes)))
	binary.LittleEndian.PutUint64(b[16:], l.set)
	binary.LittleEndian.PutUint64(b[24:], l.epoch)
	for _, v := range l.volumes {
		if v == nil {
			b = binary.LittleEndian.AppendUint32(b, 0)
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v.blocks)))
		for i := range v.blocks {
			b = binary.LittleEndian.AppendUint64(b, v.blocks[i].seq)
			b = binary.LittleEndian.AppendUint32(b, v.blocks[i].live)
		}
	}
	return b
}

var errIndex = errors.New("storage: index file does not fit")

// loadIndex fills the engine from the index file. After an error the engine
// is empty, and the devices have to be scanned.
func (e *Engine) loadIndex() (err error) {
	f, err := e.log.cfg.Dir.Open(e.log.indexName())
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, f.Size()), 1<<20)
	if err := e.loadBlocks(in); err != nil {
		return err
	}
	parts := make([][]byte, cluster.Partitions)
	for p := range parts {
		if parts[p], err = loadPart(in, f.Size()); err != nil {
			e.forget()
			return err
		}
	}
	var wg sync.WaitGroup
	const workers = 4
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for p := w; p < len(parts) && errs[w] == nil; p += workers {
				errs[w] = e.enterPart(p, parts[p])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		e.forget()
		return err
	}
	return nil
}

func (e *Engine) loadBlocks(in io.Reader) error {
	l := e.log
	want := len(e.indexHeader())
	b := make([]byte, want+4)
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	if crc32.Checksum(b[:want], castagnoli) != binary.LittleEndian.Uint32(b[want:]) || string(b[:8]) != indexMagic ||
		binary.LittleEndian.Uint32(b[8:]) != formatVersion || binary.LittleEndian.Uint64(b[16:]) != l.set || binary.LittleEndian.Uint64(b[24:]) != l.epoch {
		return errIndex
	}
	at := indexHead
	for _, v := range l.volumes {
		n := int(binary.LittleEndian.Uint32(b[at:]))
		at += 4
		if v == nil && n == 0 {
			continue
		}
		if v == nil || n != len(v.blocks) {
			return errIndex
		}
		for i := range v.blocks {
			v.blocks[i] = block{seq: binary.LittleEndian.Uint64(b[at:]), live: binary.LittleEndian.Uint32(b[at+8:])}
			v.live += int64(v.blocks[i].live)
			at += 12
		}
	}
	return nil
}

func loadPart(in io.Reader, most int64) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:])) * entrySize
	if n > most {
		return nil, errIndex
	}
	b := make([]byte, 4+n+4)
	copy(b, head[:])
	if _, err := io.ReadFull(in, b[4:]); err != nil {
		return nil, err
	}
	if crc32.Checksum(b[:4+n], castagnoli) != binary.LittleEndian.Uint32(b[4+n:]) {
		return nil, errIndex
	}
	return b[4 : 4+n], nil
}

func (e *Engine) enterPart(p int, b []byte) error {
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for ; len(b) > 0; b = b[entrySize:] {
		var en entry
		copy((*[entrySize]byte)(unsafe.Pointer(&en))[:], b)
		d := record.Digest(en.digest)
		if d.Partition() != p {
			return fmt.Errorf("partition %d: %w", p, errIndex)
		}
		m := en.meta()
		if err := e.enterLocked(p, &d, &m, en.loc, en.size); err != nil {
			return err
		}
		_, made := e.find(sh, &d)
		made.flags = en.flags &^ flagRaided
	}
	return nil
}

// forget empties index and devices' figures, for a scan to begin with.
func (e *Engine) forget() {
	for p := range e.shards {
		sh := &e.shards[p]
		sh.mu.Lock()
		for _, h := range e.buckets(sh) {
			for h != 0 {
				next := e.entries.at(h).next
				e.entries.free(h)
				e.indexBytes.Add(-entrySize)
				h = next
			}
		}
		e.freeTableLocked(sh)
		e.forgetLocked(sh)
		e.sums[p] = [SubBuckets]uint64{}
		sh.mu.Unlock()
	}
	for _, v := range e.log.volumes {
		if v != nil {
			clear(v.blocks)
			v.live = 0
		}
	}
}
