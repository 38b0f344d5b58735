package pace

import (
	"fmt"
	"os"
)

// awakePath is the kernel's file for how long a core may take to wake (its
// documentation: Documentation/power/pm_qos_interface.rst). What is written
// holds while the file is open; cyclictest does the same.
const awakePath = "/dev/cpu_dma_latency"

// Awake keeps the cores of this machine from going to sleep. A timer that has
// to wake a sleeping core of a virtual machine waits for the hypervisor, some
// 100 us. Cores that are kept awake spin in the kernel when nothing is to be
// done: that takes no time from any process, but power.
type Awake struct{ file *os.File }

// KeepAwake keeps the cores awake until Close. It needs root and a kernel with
// the file; otherwise the error says what is missing and nothing has changed.
func KeepAwake() (*Awake, error) {
	f, err := os.OpenFile(awakePath, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("keep the cores awake: %w", err)
	}
	if _, err := f.Write(make([]byte, 4)); err != nil { // zero microseconds, 32 bits
		f.Close()
		return nil, fmt.Errorf("keep the cores awake: %w", err)
	}
	return &Awake{file: f}, nil
}

// Close lets the cores sleep again. It may be called on nil.
func (a *Awake) Close() error {
	if a == nil {
		return nil
	}
	return a.file.Close()
}
