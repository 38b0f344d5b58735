package record

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"headroom/node/cluster"
)

// The hex digests of set "set" are facts published in the tests of
// aerospike-client-go (key_test.go).
func TestDigestsAreThoseOfTheEcosystem(t *testing.T) {
	f := func(key Value, want string) {
		t.Helper()
		got, err := NewDigest("set", key)
		if err != nil || hex.EncodeToString(got[:]) != want {
			t.Errorf("NewDigest(set, %.20v) = %x, %v, want %s", key, got, err, want)
		}
	}
	f(Int(math.MinInt64), "7185c2a47fb02c996daed26b4e01b83240aee9d4")
	f(Int(math.MaxInt64), "1698328974afa62c8e069860c1516f780d63dbb8")
	f(Int(-1), "22116d253745e29fc63fdf760b6e26f7e197e01d")
	f(Int(0), "93d943aae37b017ad7e011b0c1d2e2143c2fb37d")
	f(String(""), "2819b1ff6e346a43b4f5f6b77a88bc3eaac22a83")
	f(String("s"), "607cddba7cd111745ef0a3d783d57f0e83c8f311")
	f(String(strings.Repeat("m", 100)), "f00ad7dbcb4bd8122d9681bca49b8c2ffd4beeed")
	f(String(strings.Repeat("-", 10000)), "b42e64afbfccb05912a609179228d9249ea1c1a0")
	f(Bytes(nil), "327e2877b8815c7aeede0d5a8620d4ef8df4a4b4")
	f(Bytes([]byte("s")), "ca2d96dc9a184d15a7fa2927565e844e9254e001")
	f(Bytes([]byte(strings.Repeat("t", 1000))), "5a32b507518a49bf47fdaa3deca53803f5b2e8c3")
}

// Vectors of the RIPEMD-160 authors' page. DigestOf puts a type byte between
// set and key, so the message is cut around one of its own bytes.
func TestDigestIsRIPEMD160(t *testing.T) {
	f := func(message, want string) {
		t.Helper()
		if got := DigestOf(message[:1], message[1], []byte(message[2:])); hex.EncodeToString(got[:]) != want {
			t.Errorf("RIPEMD-160 of %q = %x, want %s", message, got, want)
		}
	}
	f("abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc")
	f("message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36")
	f("abcdefghijklmnopqrstuvwxyz", "f71c27109c692c1b56bbdceb5b9d2865b3708dbc")
	f(strings.Repeat("1234567890", 8), "9b752e45573d4b39f4dbd3323cab82bf63326bfb")
}

func TestDigestRefusesOddKeysAndLongSets(t *testing.T) {
	f := func(set string, key Value, want error) {
		t.Helper()
		if _, err := NewDigest(set, key); !errors.Is(err, want) {
			t.Errorf("NewDigest(%q, %v) = %v, want %v", set, key, err, want)
		}
	}
	f("s", Value{}, ErrKey)
	f("s", Float(1), ErrKey)
	f("s", Bool(true), ErrKey)
	f(strings.Repeat("s", MaxSet), Int(1), nil)
	f(strings.Repeat("s", MaxSet+1), Int(1), ErrSet)
}

func TestDigestsSpreadOverAllPartitions(t *testing.T) {
	var n [cluster.Partitions]int
	const records = 64 * cluster.Partitions
	for i := range int64(records) {
		d, err := NewDigest("spread", Int(i))
		if err != nil {
			t.Fatal(err)
		}
		n[d.Partition()]++
	}
	// Mean 64, standard deviation 8: beyond 6 of them, once in 10^6 runs.
	for p, c := range n {
		if c < 16 || c > 112 {
			t.Errorf("partition %d has %d records, want 64±48", p, c)
		}
	}
}

func TestNewDigestDoesNotAllocate(t *testing.T) {
	key := String("user4839281")
	if n := testing.AllocsPerRun(100, func() { _, _ = NewDigest("users", key) }); n > 0.1 {
		t.Errorf("NewDigest allocates %v times, want 0", n)
	}
}

func BenchmarkNewDigest(b *testing.B) {
	b.ReportAllocs()
	key := String("user4839281")
	for b.Loop() {
		_, _ = NewDigest("users", key)
	}
}
