package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"runtime"
	"slices"
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
	if err = e.loadParts(in, f.Size()); err != nil {
		e.forget()
	}
	return err
}

// part is one partition of the index file.
type part struct {
	p int
	b []byte // entries
}

// loadParts reads the partitions one after the other, and has them entered
// side by side. It holds two of them in memory for each goroutine.
func (e *Engine) loadParts(in io.Reader, most int64) error {
	workers := runtime.GOMAXPROCS(0)
	parts, spare := make(chan part, workers), make(chan []byte, 2*workers)
	errs := make([]error, workers+1)
	var wg sync.WaitGroup
	for w := range workers {
		spare <- nil
		spare <- nil
		wg.Go(func() {
			l := loader{e: e}
			defer l.end()
			for t := range parts {
				if errs[w] == nil {
					errs[w] = l.enterPart(t)
				}
				spare <- t.b
			}
		})
	}
	for p := range cluster.Partitions {
		b, err := loadPart(in, <-spare, most)
		if errs[workers] = err; err != nil {
			break
		}
		parts <- part{p, b}
	}
	close(parts)
	wg.Wait()
	return errors.Join(errs...)
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

// loadPart reads the next partition, sealed, into b or a larger buffer.
func loadPart(in io.Reader, b []byte, most int64) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:])) * entrySize
	if n > most {
		return nil, errIndex
	}
	b = slices.Grow(b[:0], int(4+n+4))[:4+n+4]
	copy(b, head[:])
	_, err := io.ReadFull(in, b[4:])
	return b, err
}

// enterPart verifies a partition of the index file and takes it over.
func (l *loader) enterPart(t part) error {
	end := len(t.b) - 4
	if crc32.Checksum(t.b[:end], castagnoli) != binary.LittleEndian.Uint32(t.b[end:]) {
		return errIndex
	}
	entries := t.b[4:end]
	if len(entries) == 0 {
		return nil
	}
	e := l.e
	sh := &e.shards[t.p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	size := uint8(bits.Len(uint(len(entries)/entrySize - 1)))
	if err := e.resizeLocked(sh, min(max(size, minBits), maxBits), true); err != nil {
		return err
	}
	for ; len(entries) > 0; entries = entries[entrySize:] {
		h, err := l.take(false)
		if err != nil {
			return err
		}
		en := e.entries.at(h)
		copy((*[entrySize]byte)(unsafe.Pointer(en))[:], entries)
		if (*record.Digest)(&en.digest).Partition() != t.p {
			return fmt.Errorf("partition %d: %w", t.p, errIndex)
		}
		l.use()
		en.flags &^= flagRaided
		e.linkLocked(t.p, h, en)
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
