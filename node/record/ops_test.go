package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestOperationsActInOrder(t *testing.T) {
	start := body(t, "set", Int(9), Bin{"f", Float(1.5)}, Bin{"n", Int(40)}, Bin{"s", String("mid")})
	ops := []Op{
		{OpRead, "n", Value{}},
		{OpAdd, "n", Int(2)},
		{OpRead, "n", Value{}},
		{OpAdd, "f", Float(0.5)},
		{OpAppend, "s", String("-end")},
		{OpPrepend, "s", String("start-")},
		{OpWrite, "new", Bytes([]byte{1})},
		{OpAppend, "new", Bytes([]byte{2})},
		{OpPrepend, "fresh", String("x")},
		{OpAdd, "count", Int(1)},
		{OpRead, "gone", Value{}},
		{OpWrite, "fresh", Value{}},
		{OpRead, "", Value{}},
	}
	got, results, changed, err := Apply(start, ops, []byte("dst"))
	if err != nil || !changed {
		t.Fatalf("Apply: changed %v, %v", changed, err)
	}
	after := []Bin{{"count", Int(1)}, {"f", Float(2)}, {"n", Int(42)}, {"new", Bytes([]byte{1, 2})}, {"s", String("start-mid-end")}}
	want := append([]byte("dst"), body(t, "set", Int(9), after...)...)
	if !bytes.Equal(got, want) {
		t.Errorf("body = %q, want %q", got, want)
	}
	if want := append([]Bin{{"n", Int(40)}, {"n", Int(42)}, {"gone", Value{}}}, after...); !slices.Equal(results, want) {
		t.Errorf("results = %v, want %v", results, want)
	}
}

func TestReadsChangeNothing(t *testing.T) {
	start := body(t, "", Value{}, Bin{"a", Int(1)})
	got, results, changed, err := Apply(start, []Op{{OpRead, "a", Value{}}}, nil)
	if got != nil || changed || err != nil || !slices.Equal(results, []Bin{{"a", Int(1)}}) {
		t.Errorf("Apply = %x, %v, %v, %v", got, results, changed, err)
	}
}

func TestOperationsOnAnAbsentRecordMakeOne(t *testing.T) {
	got, _, changed, err := Apply(nil, []Op{{OpAdd, "a", Int(1)}}, nil)
	if want := body(t, "", Value{}, Bin{"a", Int(1)}); !bytes.Equal(got, want) || !changed || err != nil {
		t.Errorf("Apply = %x, %v, %v, want %x", got, changed, err, want)
	}
}

func TestFailedOperationsLeaveNoTrace(t *testing.T) {
	full := []Bin{{"b", Bool(true)}, {"i", Int(math.MaxInt64)}, {"s", String("x")}}
	for n := len(full); n < MaxBins; n++ {
		full = append(full, Bin{fmt.Sprint("z", n), Bool(true)})
	}
	start := body(t, "set", Value{}, full...)
	before := slices.Clone(start)
	f := func(want error, ops ...Op) {
		t.Helper()
		ops = append([]Op{{OpWrite, "s", String("other")}, {OpRead, "s", Value{}}}, ops...)
		got, results, changed, err := Apply(start, ops, []byte("dst"))
		if !errors.Is(err, want) || string(got) != "dst" || results != nil || changed {
			t.Errorf("Apply = %d bytes, %v, %v, %v, want %v", len(got), results, changed, err, want)
		}
		if !bytes.Equal(start, before) {
			t.Fatal("the old body changed")
		}
	}
	f(ErrBinType, Op{OpAdd, "s", Int(1)})
	f(ErrBinType, Op{OpAdd, "i", Float(1)})
	f(ErrBinType, Op{OpAdd, "b", Bool(true)})
	f(ErrBinType, Op{OpAdd, "i", Value{}})
	f(ErrBinType, Op{OpAppend, "s", Bytes([]byte("x"))})
	f(ErrBinType, Op{OpPrepend, "i", String("x")})
	f(ErrBinType, Op{99, "i", Int(1)})
	f(ErrOverflow, Op{OpAdd, "i", Int(1)})
	f(ErrBinName, Op{OpWrite, "", Int(1)})
	f(ErrBinName, Op{OpWrite, strings.Repeat("n", MaxBinName+1), Int(1)})
	f(ErrBinName, Op{OpRead, strings.Repeat("n", MaxBinName+1), Value{}})
	f(ErrBins, Op{OpWrite, "one more", Int(1)})
	f(ErrBins, Op{OpRead, "", Value{}})
	f(ErrOps, make([]Op, MaxOps)...)
	f(ErrTooBig, Op{OpAppend, "s", String(string(make([]byte, MaxSize)))})
	f(ErrTooBig, Op{OpWrite, "s", String(string(make([]byte, MaxSize)))})
}

func TestSumsDoNotWrap(t *testing.T) {
	f := func(a, b int64, want error) {
		t.Helper()
		got, err := sum(Int(a), Int(b))
		if !errors.Is(err, want) || err == nil && got != Int(a+b) {
			t.Errorf("sum(%d, %d) = %v, %v, want %v", a, b, got, err, want)
		}
	}
	f(1, 2, nil)
	f(5, 0, nil)
	f(0, 0, nil)
	f(-5, 3, nil)
	f(math.MaxInt64, math.MinInt64, nil)
	f(math.MaxInt64, 1, ErrOverflow)
	f(math.MinInt64, -1, ErrOverflow)
	f(math.MinInt64, math.MinInt64, ErrOverflow)
}

func TestReadingALargeBinTwiceIsRefused(t *testing.T) {
	start := body(t, "", Value{}, Bin{"a", Bytes(make([]byte, MaxSize/2+1))})
	read := Op{OpRead, "a", Value{}}
	if _, results, _, err := Apply(start, []Op{read}, nil); err != nil || len(results) != 1 {
		t.Errorf("one read: %d results, %v", len(results), err)
	}
	if _, results, _, err := Apply(start, []Op{read, read}, nil); !errors.Is(err, ErrTooBig) || results != nil {
		t.Errorf("two reads: %d results, %v, want ErrTooBig", len(results), err)
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	start := body(t, "set", Int(9), Bin{"f", Float(1.5)}, Bin{"n", Int(40)})
	ops := []Op{{OpAdd, "n", Int(2)}, {OpWrite, "m", Bool(true)}}
	bins := []Bin{{"z", Int(1)}, {"a", Int(2)}}
	dst := make([]byte, 0, 256)
	n := testing.AllocsPerRun(100, func() {
		if _, _, _, err := Apply(start, ops, dst); err != nil {
			t.Error(err)
		}
		if _, err := AppendBody(dst, "set", Int(9), bins); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("Apply and AppendBody allocate %v times, want 0", n)
	}
}

// What ops do must not depend on how they are cut into calls.
func FuzzApply(f *testing.F) {
	f.Add([]byte(body(f, "s", Int(1), Bin{"a", Int(1)}, Bin{"b", String("x")})), "a", byte(OpAdd), int64(3), "b", byte(OpAppend), "y")
	f.Add([]byte(body(f, "", Value{})), "a", byte(OpWrite), int64(3), "a", byte(OpRead), "")
	f.Fuzz(func(t *testing.T, in []byte, bin1 string, kind1 byte, n int64, bin2 string, kind2 byte, s string) {
		start := Body(in)
		if start.Validate() != nil {
			return
		}
		ops := []Op{{OpKind(kind1), bin1, Int(n)}, {OpKind(kind2), bin2, String(s)}}
		both, _, changed, err := Apply(start, ops, nil)
		if err != nil {
			if both != nil || changed {
				t.Errorf("error %v with a body of %d bytes", err, len(both))
			}
			return
		}
		if err := Body(both).Validate(); err != nil {
			t.Errorf("body after ops: %v", err)
		}
		for _, op := range ops {
			next, _, changed, err := Apply(start, []Op{op}, nil)
			if err != nil {
				return // each alone may pass a limit that both together respect
			}
			if changed {
				start = next
			}
		}
		if changed && !bytes.Equal(start, both) {
			t.Errorf("one by one %x, together %x", start, both)
		}
	})
}
