package drive

import "time"

// rest is the pause of a closed client, which holds a slot meanwhile.
type rest struct {
	slot  uint32
	until time.Duration
}

// rests are pauses in order of their ends, which is the order of their begins
// since all are equally long: a ring of as many places as there are slots.
type rests struct {
	ring    []rest
	head, n int
}

func (r *rests) add(x rest) {
	r.ring[(r.head+r.n)%len(r.ring)] = x
	r.n++
}

// first is the one that ends first; false when nobody rests.
func (r *rests) first() (rest, bool) {
	if r.n == 0 {
		return rest{}, false
	}
	return r.ring[r.head], true
}

func (r *rests) drop() {
	r.head = (r.head + 1) % len(r.ring)
	r.n--
}
