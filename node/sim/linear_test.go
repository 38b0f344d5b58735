package sim

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// linearLimit bounds the search for one key; a key has some hundred
// operations, and most take microseconds.
const linearLimit = 2 * time.Minute

// touch is what one operation does to a key.
type touch struct {
	read bool
	id   uint64 // of the write that is seen or done; zero: absent
	may  bool   // a write that may have had no effect
}

// register is the model of a key: the id of the write that it holds. A write
// without a certain outcome, and each further sending of one, may have had an
// effect or not.
var register = porcupine.NondeterministicModel{
	Init: func() []any { return []any{uint64(0)} },
	Step: func(state, input, _ any) []any {
		t := input.(touch)
		switch {
		case t.read && state.(uint64) != t.id:
			return nil
		case t.read:
			return []any{state}
		case t.may:
			return []any{state, t.id}
		}
		return []any{t.id}
	},
}

// checkLinear asserts that what happened to each key can be put in one order
// that every answer agrees with. Operations in doubt stay open to the end.
func (d *Data) checkLinear() error {
	model := register.ToModel()
	for _, k := range d.keys {
		switch porcupine.CheckOperationsTimeout(model, k.history(), linearLimit) {
		case porcupine.Illegal:
			d.W.fail("the history of key %d in partition %d is not linearizable: %v; %v", k.index, k.pid(), k.writes, k.reads)
		case porcupine.Unknown:
			d.W.fail("the history of key %d in partition %d is not judged within %v", k.index, k.pid(), linearLimit)
		}
	}
	return d.W.Err
}

func (k *key) history() []porcupine.Operation {
	var h []porcupine.Operation
	add := func(t touch, call, ret int64) {
		h = append(h, porcupine.Operation{ClientId: len(h), Input: t, Call: call, Return: ret})
	}
	for _, r := range k.reads {
		add(touch{read: true, id: r.id}, int64(r.start), int64(r.end))
	}
	for _, w := range k.writes {
		t := touch{id: w.id}
		if w.absent {
			t.id = 0
		}
		end := int64(math.MaxInt64)
		if w.acked {
			end = int64(w.end)
			add(t, int64(w.start), end)
		}
		again := w.sent
		if w.acked {
			again--
		}
		if t.may = true; w.id == 0 || w.none {
			continue
		}
		for range min(again, maxAgain) {
			add(t, int64(w.start), end)
		}
	}
	return h
}

// maxAgain bounds how often one write is taken to have had an effect.
const maxAgain = 3
