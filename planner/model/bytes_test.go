package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headroom/node/disk"
	"headroom/node/hlc"
	"headroom/node/record"
	"headroom/node/storage"
)

// encode makes the record that r describes with the node's own encoder.
func encode(r Record) (record.Body, error) {
	nbins, name := max(r.Bins, 1), max(r.BinName, 1)
	var bins []record.Bin
	for i := range nbins {
		size := r.Value / nbins
		if i < r.Value%nbins {
			size++
		}
		label := strings.Repeat("x", name)
		digits := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
		b := []byte(label)
		b[0] = digits[i%len(digits)]
		if name > 1 {
			b[1] = digits[i/len(digits)%len(digits)]
		}
		bins = append(bins, record.Bin{Name: string(b), Value: record.Bytes(make([]byte, size))})
	}
	var key record.Value
	if r.Key > 0 {
		key = record.String(strings.Repeat("k", r.Key))
	}
	return record.AppendBody(nil, strings.Repeat("s", r.Set), key, bins)
}

func TestBodyBytesAreWhatTheEncoderWrites(t *testing.T) {
	for _, value := range []int{0, 1, 10, 100, 127, 128, 1000, 16383, 16384, 100_000, 1 << 20, 8 << 20} {
		for _, bins := range []int{1, 2, 7, 36} {
			for _, r := range []Record{{Value: value, Bins: bins, BinName: 2}, {Value: value, Bins: bins, BinName: 15, Set: 63, Key: 20}, {Value: value, Bins: bins, BinName: 8, Set: 1, Key: 200}} {
				body, err := encode(r)
				got, gotErr := r.BodyBytes()
				if !errors.Is(gotErr, err) && err != nil || (err == nil) != (gotErr == nil) || err == nil && got != len(body) {
					t.Errorf("%+v: %d bytes, %v; the encoder makes %d, %v", r, got, gotErr, len(body), err)
				}
			}
		}
	}
}

func TestLimitsAreThoseOfTheRecord(t *testing.T) {
	for _, c := range []struct {
		r    Record
		want error
	}{{Record{Set: 64}, record.ErrSet}, {Record{BinName: 16}, record.ErrBinName}, {Record{Bins: 1025}, record.ErrBins}, {Record{Value: 8 << 20}, record.ErrTooBig}} {
		if _, err := c.r.BodyBytes(); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.r, err, c.want)
		}
	}
}

func TestMemoryIsWhatTheEngineUses(t *testing.T) {
	for _, value := range []int{1, 100, 1000, 5000} {
		e, err := storage.Open(storage.Config{})
		if err != nil {
			t.Fatal(err)
		}
		r := Record{Value: value, BinName: 2}
		body, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		const n = 2000
		counts := map[int]int{}
		for i := range int64(n) {
			d, err := record.NewDigest("", record.Int(i))
			if err != nil {
				t.Fatal(err)
			}
			counts[d.Partition()]++
			m := record.Meta{Version: record.Version{Regime: 1, Stamp: hlc.Stamp(i + 1), Node: 1}, Generation: 1}
			if err := e.Put(&d, m, body); err != nil {
				t.Fatal(err)
			}
		}
		index := 0
		for _, c := range counts {
			index += IndexBytes(c)
		}
		size, _ := r.BodyBytes()
		s := e.Stats()
		if int64(index) != s.IndexBytes || int64(n*SlotBytes(size)) != s.DataBytes {
			t.Errorf("value %d: computed index %d and data %d, the engine uses %d and %d", value, index, n*SlotBytes(size), s.IndexBytes, s.DataBytes)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeviceBytesAreWhatTheEngineUses(t *testing.T) {
	for _, value := range []int{1, 100, 5000} {
		e, err := storage.Open(storage.Config{Log: &storage.LogConfig{Name: "test", Node: 1, Serial: true, NewID: func() uint64 { return 7 },
			Devices: []disk.Device{disk.NewMemory("device", 64<<20, 4096)}, Dir: disk.NewMemoryDir()}})
		if err != nil {
			t.Fatal(err)
		}
		body, err := encode(Record{Value: value, BinName: 2})
		if err != nil {
			t.Fatal(err)
		}
		const n = 500
		for i := range int64(n) {
			d, err := record.NewDigest("", record.Int(i))
			if err != nil {
				t.Fatal(err)
			}
			m := record.Meta{Version: record.Version{Regime: 1, Stamp: hlc.Stamp(i + 1), Node: 1}, Generation: 1}
			if err := e.Put(&d, m, body); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := e.Devices()[0].UsedBytes, int64(n*FlashBytes(len(body))); got != want {
			t.Errorf("value %d: the engine uses %d bytes, computed %d", value, got, want)
		}
		if s := e.Stats(); s.DataBytes != 0 {
			t.Errorf("value %d: %d bytes of bodies in memory beside the device", value, s.DataBytes)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIndexOfAClusterIsTheSumOfItsPartitions(t *testing.T) {
	for _, per := range []int{30, 200, 700, 1500, 100_000, 300_000} {
		near(t, "index bytes", ClusterIndexBytes(float64(per)*4096), float64(IndexBytes(per))*4096, 0.001)
	}
	// Just below a doubling a quarter of the partitions are beyond it.
	near(t, "index bytes at 1000", ClusterIndexBytes(1000*4096), float64(1000*64+4096*1.22)*4096, 0.005)
	if v := ClusterIndexBytes(0); v != 0 || math.IsNaN(v) {
		t.Errorf("no records take %g bytes", v)
	}
}

func TestLargeRecordsLeaveBlocksEmpty(t *testing.T) {
	if v := BlockShare(100); v > 1.001 || v < 1 {
		t.Errorf("a small record takes %g of its bytes", v)
	}
	near(t, "two of 400 KB in a block of 1 MiB", BlockShare(400_000), 1<<20/float64(2*FlashBytes(400_000)), 1e-9)
}

func TestReadsTouchThePagesOfTheirRecord(t *testing.T) {
	for _, n := range []int{0, 100, 1039, 4000, 5000, 100_000} {
		sum, offsets := 0, PageBytes/flashUnit
		for i := range offsets {
			sum += (i*flashUnit + FlashBytes(n) + PageBytes - 1) / PageBytes
		}
		near(t, "pages of a read", ReadPages(n), float64(sum)/float64(offsets), 1e-9)
	}
}

func TestFullestIsWhatRandomKeysGive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, nodes := range []int{3, 5, 8} {
		const records, rounds = 10_000, 300
		sum := 0.0
		for range rounds {
			count := make([]float64, nodes)
			for range records {
				count[rng.IntN(nodes)]++
			}
			sum += slices.Max(count)
		}
		near(t, "records of the fullest node", Fullest(records, 1/float64(nodes), nodes), sum/rounds, 0.004)
	}
	near(t, "one node", Fullest(1000, 1, 1), 1000, 1e-9)
}

func TestADeviceLeavesItsLastBlocksInMemory(t *testing.T) {
	near(t, "a small device", CachedBytes(34<<20, 128<<10), 2.5*(128<<10), 1e-9)
	near(t, "a large one", CachedBytes(1<<40, 1<<20), 32.5*(1<<20), 1e-9)
}
