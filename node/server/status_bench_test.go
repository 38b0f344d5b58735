package server

import (
	"context"
	"encoding/json"
	"testing"
)

func BenchmarkStatus(b *testing.B) {
	n, err := Start(context.Background(), Config{DataDir: b.TempDir(), Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for n.view.Load() == nil {
	}
	for b.Loop() {
		if _, err := json.Marshal(n.Status()); err != nil {
			b.Fatal(err)
		}
	}
}
