package plan

import (
	"testing"

	"headroom/planner/catalog"
)

// BenchmarkWholeCatalog plans each example over the whole catalog with 2,000
// draws, tables and all.
func BenchmarkWholeCatalog(b *testing.B) {
	types, err := catalog.Load(catalog.Default())
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"profiles", "sessions", "fraud"} {
		r, err := Load(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Make(b.Context(), Input{Requirements: r, Types: types}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMeasuredCatalog is the same with a measured model: every state of
// every candidate is simulated.
func BenchmarkMeasuredCatalog(b *testing.B) {
	types, err := catalog.Load(catalog.Default())
	if err != nil {
		b.Fatal(err)
	}
	r, err := Load("profiles")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Make(b.Context(), Input{Requirements: r, Model: measured(), Types: types}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkThousandNodes computes what clusters of up to 1000 nodes take.
func BenchmarkThousandNodes(b *testing.B) {
	types, err := catalog.Load(catalog.Default())
	if err != nil {
		b.Fatal(err)
	}
	r, err := Load("sessions")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Reverse(b.Context(), Input{Requirements: r, Types: types}, "i4i.2xlarge", 0, 0, []int{3, 10, 100, 1000}); err != nil {
			b.Fatal(err)
		}
	}
}
