package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func body(t testing.TB, set string, key Value, bins ...Bin) Body {
	t.Helper()
	b, err := AppendBody(nil, set, key, bins)
	if err != nil {
		t.Fatalf("AppendBody(%q, %v, %v): %v", set, key, bins, err)
	}
	if err := Body(b).Validate(); err != nil {
		t.Fatalf("Validate(%x): %v", b, err)
	}
	return b
}

func TestBodyKeepsItsFormat(t *testing.T) {
	f := func(got Body, want string) {
		t.Helper()
		if hex.EncodeToString(got) != want {
			t.Errorf("body = %x, want %s", got, want)
		}
	}
	f(body(t, "", Value{}), "0000")
	f(body(t, "", Value{}, Bin{"a", Int(-2)}), "0001"+"1161"+"feffffffffffffff")
	f(body(t, "st", Int(7)), "427374"+"010700000000000000"+"00")
	f(body(t, "", String("k"), Bin{"b", Bool(true)}, Bin{"a", Float(1)}),
		"40"+"03016b"+"02"+"1261"+"000000000000f03f"+"1562"+"01")
	f(body(t, "s", Bytes([]byte{9}), Bin{"bb", String("xy")}, Bin{"c", Bytes([]byte{0, 1})}),
		"4173"+"040109"+"02"+"236262"+"027879"+"1463"+"020001")
}

func TestBodyGivesBackWhatWentIn(t *testing.T) {
	bins := []Bin{
		{"a", Int(math.MinInt64)}, {"b", Float(math.Inf(-1))}, {"c", String("häß\x00")},
		{"d", Bytes(bytes.Repeat([]byte{7}, 300))}, {"e", Bool(false)}, {strings.Repeat("n", MaxBinName), Bool(true)},
	}
	set := strings.Repeat("s", MaxSet)
	b := body(t, set, String("the key"), bins...)
	if b.Set() != set || b.Key() != String("the key") || b.Count() != len(bins) {
		t.Errorf("got set %q key %v count %d", b.Set(), b.Key(), b.Count())
	}
	if got := slices.Collect(b.All()); !slices.Equal(got, bins) {
		t.Errorf("All = %v, want %v", got, bins)
	}
	for _, bin := range bins {
		if got, ok := b.Get(bin.Name); !ok || got != bin.Value {
			t.Errorf("Get(%q) = %v, %v, want %v", bin.Name, got, ok, bin.Value)
		}
	}
	for _, name := range []string{"", "A", "aa", "zz"} {
		if got, ok := b.Get(name); ok {
			t.Errorf("Get(%q) = %v, want none", name, got)
		}
	}
}

func TestSameContentHasTheSameBytes(t *testing.T) {
	x, y, z := Bin{"x", Int(1)}, Bin{"y", Int(2)}, Bin{"none", Value{}}
	if a, b := body(t, "s", Value{}, x, y), body(t, "s", Value{}, y, z, x); !bytes.Equal(a, b) {
		t.Errorf("order shows: %x and %x", a, b)
	}
}

func TestHundredByteBinCostsAtMostEightBytes(t *testing.T) {
	if n := len(body(t, "", Value{}, Bin{"bin", Bytes(make([]byte, 100))})); n > 108 {
		t.Errorf("body is %d bytes, want <= 108", n)
	}
}

func TestBodyRefusesWhatIsBeyondALimit(t *testing.T) {
	f := func(want error, set string, key Value, bins ...Bin) {
		t.Helper()
		dst := []byte("before")
		got, err := AppendBody(dst, set, key, bins)
		if !errors.Is(err, want) || string(got) != "before" {
			t.Errorf("AppendBody = %d bytes, %v, want %v", len(got), err, want)
		}
	}
	many := make([]Bin, MaxBins+1)
	for i := range many {
		many[i] = Bin{fmt.Sprint("b", i), Bool(true)}
	}
	f(ErrSet, strings.Repeat("s", MaxSet+1), Value{})
	f(ErrKey, "", Bool(true))
	f(ErrBinName, "", Value{}, Bin{"", Int(1)})
	f(ErrBinName, "", Value{}, Bin{strings.Repeat("n", MaxBinName+1), Int(1)})
	f(ErrBinTwice, "", Value{}, Bin{"a", Int(1)}, Bin{"a", Int(2)})
	f(ErrBins, "", Value{}, many...)
	f(ErrTooBig, "", Value{}, Bin{"a", Bytes(make([]byte, MaxSize))})
	f(ErrTooBig, "", String(string(make([]byte, MaxSize))))
	body(t, "", Value{}, many[1:]...)
	body(t, "", Value{}, Bin{"a", Bytes(make([]byte, MaxSize-7))})
}

func TestDamagedBodiesAreRefused(t *testing.T) {
	f := func(what, in string) {
		t.Helper()
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := Body(b).Validate(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Validate(%s) = %v, want ErrCorrupt", what, in, err)
		}
	}
	f("no bins section", "00")
	f("reserved bit", "8000")
	f("set cut off", "0561")
	f("key of a float", "4002000000000000000000")
	f("key cut off", "4003056b")
	f("count not shortest", "008000")
	f("trailing byte", "000000")
	f("bin cut off", "00011161")
	f("empty bin name", "00010501")
	f("absent value", "00011061")
	f("unknown kind", "00011f6100")
	f("bool of 2", "0001156102")
	f("names descend", "0002156200156100")
	f("name twice", "0002156100156100")
	f("length beyond the end", "0001146105")
}

func TestReadingABodyDoesNotAllocate(t *testing.T) {
	b := body(t, "set", Int(1), Bin{"a", Int(1)}, Bin{"b", String("two")}, Bin{"c", Bytes([]byte{3})})
	var found int
	n := testing.AllocsPerRun(100, func() {
		_ = b.Validate()
		for bin := range b.All() {
			found += len(bin.Name)
		}
		v, _ := b.Get("c")
		got, _ := v.Bytes()
		found += len(got) + len(b.Set())
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestValuesPrintAndCompare(t *testing.T) {
	f := func(v Value, kind, want string) {
		t.Helper()
		if v.String() != want || v.Kind().String() != kind || !v.Equal(v.Clone()) {
			t.Errorf("got %v of kind %v, want %s of kind %s", v, v.Kind(), want, kind)
		}
	}
	f(Value{}, "none", "none")
	f(Int(-5), "int", "-5")
	f(Float(0.5), "float", "0.5")
	f(Float(math.NaN()), "float", "NaN")
	f(String("a\"b"), "string", `"a\"b"`)
	f(Bytes([]byte{0, 255}), "bytes", "0x00ff")
	f(Bool(true), "bool", "true")
	if String("a").Equal(Bytes([]byte("a"))) || Int(0).Equal(Bool(false)) {
		t.Error("values of different kinds are equal")
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(body(f, "", Value{})))
	f.Add([]byte(body(f, "set", String("key"), Bin{"a", Int(1)}, Bin{"b", Float(2)})))
	f.Add([]byte(body(f, "set", Int(1), Bin{"a", Bool(true)}, Bin{"b", String("s")}, Bin{"c", Bytes([]byte{1, 2})})))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := Body(in)
		if b.Validate() != nil || len(b) == 0 {
			return
		}
		again, err := AppendBody(nil, b.Set(), b.Key(), slices.Collect(b.All()))
		if err != nil || !bytes.Equal(again, in) {
			t.Errorf("body %x encodes again as %x, %v", in, again, err)
		}
		if got := len(slices.Collect(b.All())); got != b.Count() {
			t.Errorf("%d bins, count says %d", got, b.Count())
		}
	})
}
