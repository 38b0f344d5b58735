package ring

import _ "unsafe" // for go:linkname

// yield lets the goroutines that wait for this scheduler slot run before its
// caller goes on. runtime.Gosched would put the caller behind those of all
// slots, and often in another thread, while answers to what this one submitted
// wake this one. The runtime keeps the name for such users
// (go.dev/issue/67401).
//
//go:linkname yield runtime.goyield
func yield()
