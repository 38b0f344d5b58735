package drive

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"headroom/workloads"
)

// values makes n values as a load of that many records would.
func values(f *filler, n int) (all []byte) {
	buf, at := make([]byte, f.size.Max), int64(1_790_000_000e9)
	r := rand.New(rand.NewPCG(1, 1))
	for k := range n {
		at += int64(40_000 * r.ExpFloat64())
		all = append(all, f.put(buf, header{writer: 77, seq: 1, key: uint64(k), intended: at})...)
	}
	return all
}

func TestValuesCompressToTheAskedRatio(t *testing.T) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for _, size := range []string{"300B", "1KiB", "uniform(200B..2KiB)", "20KiB"} {
		for _, ratio := range []float64{1, 1.5, 2, 4} {
			w := mixOf(t, "put:100")
			if w.ValueSize, err = workloads.ParseSize(size); err != nil {
				t.Fatal(err)
			}
			w.CompressionRatio = ratio
			f := newFiller(w, 1)
			total := 1 << 20
			if size == "1KiB" {
				total = poolSize + poolSize/2
			}
			all := values(f, total/int(f.size.Mean()))
			// In blocks, as a storage engine compresses, and all at once, where
			// the pool behind the values would show.
			blocks := 0
			for at := 0; at < len(all); at += 128 << 10 {
				blocks += len(enc.EncodeAll(all[at:min(at+128<<10, len(all))], nil))
			}
			for how, got := range map[string]int{"blocks of 128 KiB": blocks, "one piece": len(enc.EncodeAll(all, nil))} {
				r := float64(len(all)) / float64(got)
				// The audit's header compresses even when nothing else does.
				if math.Abs(r-ratio) > 0.06*ratio && !(ratio == 1 && r > 1 && r < 1.15) {
					t.Errorf("%s values in %s compress %.2f times, want %v", size, how, r, ratio)
				}
			}
		}
	}
}

func TestAValueIsAFunctionOfKeyAndSequence(t *testing.T) {
	w := mixOf(t, "put:100")
	w.ValueSize, _ = workloads.ParseSize("uniform(40B..5000B)")
	a, b := newFiller(w, 1), newFiller(w, 1)
	sizes := map[int]bool{}
	one, two := make([]byte, 5000), make([]byte, 5000)
	for i := range uint64(300) {
		h := header{writer: 1, seq: uint32(i % 7), key: i, intended: 5}
		x, y := a.put(one, h), b.put(two, h)
		if !bytes.Equal(x, y) {
			t.Fatalf("two makers differ for %+v", h)
		}
		sizes[len(x)] = true
		if got, ok := parse(x); !ok || got != h {
			t.Fatalf("parse = %+v, %v, want %+v", got, ok, h)
		}
	}
	if len(sizes) < 250 {
		t.Errorf("300 values have %d sizes", len(sizes))
	}
}

func TestAnyFlippedByteIsSeen(t *testing.T) {
	w := mixOf(t, "put:100")
	w.CompressionRatio = 2
	v := newFiller(w, 1).put(make([]byte, 100), header{writer: 3, seq: 4, key: 5, intended: 6})
	for i := range v {
		v[i] ^= 1
		if h, ok := parse(v); ok {
			t.Errorf("byte %d flipped and not seen: %+v", i, h)
		}
		v[i] ^= 1
	}
	if _, ok := parse(v[:len(v)-1]); ok {
		t.Error("a value cut by one byte is not seen")
	}
}

func BenchmarkPut(b *testing.B) {
	for _, ratio := range []float64{1, 2} {
		w := mixOf(b, "put:100")
		w.ValueSize, w.CompressionRatio = workloads.FixedSize(1000), ratio
		f, buf := newFiller(w, 1), make([]byte, 1000)
		b.Run(fmt.Sprintf("ratio=%v", ratio), func(b *testing.B) {
			b.SetBytes(1000)
			for b.Loop() {
				f.put(buf, header{seq: 1})
			}
		})
	}
}
