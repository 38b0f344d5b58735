package strict

import (
	"errors"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// read reads a file with the keys a, b and list.
func read(text string) (got map[string]string, err error) {
	got = map[string]string{}
	f, err := Read("f.yaml", []byte(text), Kind{What: "a test file", Limit: 200})
	if err != nil {
		return got, err
	}
	return got, f.Versioned("a test file", func(key *token.Token, v ast.Node) error {
		s, ok := Scalar(v)
		switch {
		case key.Value == "block":
			return f.Block(v, Label{Block: "block: ", Key: "block."}, func(inner *token.Token, v ast.Node) error {
				got["block."+inner.Value], _ = Scalar(v)
				return nil
			})
		case key.Value != "a" && key.Value != "b":
			return f.Fault(key, "unknown key %q", key.Value)
		case !ok:
			return f.Fault(v.GetToken(), "%s: want a single value", key.Value)
		}
		got[key.Value] = s
		return nil
	})
}

func TestFilesAreReadWhole(t *testing.T) {
	got, err := read("version: 1\na: 'x y'\nb: |\n  two\n  lines\nblock:\n  n: 3\n")
	if err != nil || got["a"] != "x y" || got["b"] != "two\nlines\n" || got["block.n"] != "3" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFaultsHaveTheirPlace(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := read(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if at := new(Error); !strings.HasPrefix(want, "f.yaml: ") && !errors.As(err, &at) {
			t.Errorf("%q: %T, want *Error", text, err)
		}
	}
	f("", `f.yaml:1:1: empty, want "version: 1" and the keys of a test file`)
	f("a: 1\n", `f.yaml:1:1: no version, want "version: 1"`)
	f("version: 2\n", "f.yaml:1:1: version: this program reads version 1")
	f("version: 1\na: 1\n---\na: 2\n", "f.yaml:3:1: a second document, want one")
	f("version: 1\n---\n", "f.yaml:2:1: a second document, want one")
	f("version: 1\nc: 1\n", `f.yaml:2:1: unknown key "c"`)
	f("version: 1\na: [1]\n", "f.yaml:2:4: a: want a single value")
	f("version: 1\na:\n", "f.yaml:2:")
	f("version: 1\nblock: 5\n", `f.yaml:2:8: block: want "key: value" lines`)
	f("[1]\n", `f.yaml:1:1: want "key: value" lines`)
	f("version: 1\na: 1\na: 2\n", "f.yaml:3:1: ")
	f("version: 1\nblock:\n  n: 1\n  n: 2\n", "f.yaml:4:3: ")
	f("a: [1\n", "f.yaml:1:")
	f(strings.Repeat("#", 201), "f.yaml: 201 bytes, a test file has at most 200")
}

func TestTheNearestNameIsWithinHalfItsLetters(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if n := Nearest(got, []string{"records", "rate", "mix"}); n != want {
			t.Errorf("nearest to %q is %q, want %q", got, n, want)
		}
	}
	f("recrods", "records")
	f("rte", "rate")
	f("mx", "mix")
	f("duration", "")
	f("", "")
}

func FuzzRead(f *testing.F) {
	f.Add("version: 1\na: 1\nblock: {n: 3}\n")
	f.Add("version: 1\na: &x 1\nb: *x\n<<: {a: 2}\n")
	f.Add("a: !!str 1\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := read(text); err != nil && !strings.HasPrefix(err.Error(), "f.yaml") {
			t.Errorf("an error without the file's name: %v", err)
		}
	})
}
