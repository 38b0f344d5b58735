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
