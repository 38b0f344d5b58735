package sim

import (
	"headroom/node/cluster"
	"headroom/node/wire"
)

// Mix is the shares of the acts that workers do; the rest are gets.
type Mix struct {
	Header, Put, Delete, Touch, Add float64
	Batch, Scan                     float64
	Check                           float64 // of the writes that ask for the generation seen last
	Mortal                          float64 // of the puts and touches that give the record a time to live
	TTL                             uint32  // which is this many seconds at most
}

// batchMost bounds the records of one batch of the load.
const batchMost = 12

// doubtMost is how many writes of a record may have ended in doubt before it is
// only read. Each may have had its effect at any time since, so the search for an
// order takes twice as long with each: minutes with a dozen.
const doubtMost = 8

// mixed does one operation of the client's mix; done is called when it ended.
func (c *Client) mixed(k *key, done func()) {
	m := c.Load.Mix
	if k.doubts() >= doubtMost {
		c.Act(k, c.d.newAct(k, verbGet), done)
		return
	}
	x := c.rand.Float64()
	pick := func(share float64) bool {
		x -= share
		return x < 0
	}
	switch {
	case pick(m.Header):
		c.Act(k, c.d.newAct(k, verbHeader), done)
	case pick(m.Put):
		c.write(k, verbPut, done)
	case pick(m.Delete):
		c.write(k, verbDelete, done)
	case pick(m.Touch):
		c.write(k, verbTouch, done)
	case pick(m.Add):
		c.write(k, verbAdd, done)
	case pick(m.Batch):
		c.batch(k, done)
	case pick(m.Scan):
		c.Scan(k.space, k.slot, 1+c.rand.IntN(16), done)
	default:
		c.Act(k, c.d.newAct(k, verbGet), done)
	}
}

// doubts counts the acts on a key that ended in doubt.
func (k *key) doubts() (n int) {
	for _, a := range k.acts {
		if a.fate == fateDoubt && a.end != cluster.Never {
			n++
		}
	}
	return n
}

// write does a single write of the mix.
func (c *Client) write(k *key, v verb, done func()) {
	m := c.Load.Mix
	a := c.d.newAct(k, v)
	a.delta = 1 + c.rand.Int64N(1000)
	if v == verbAdd {
		a.ttl = wire.TTLKeep
	}
	if v != verbTouch && c.rand.Float64() < m.Check {
		a.check, a.gen = true, k.gen
	}
	if v != verbDelete && c.rand.Float64() < m.Mortal {
		a.ttl = 1 + c.rand.Uint32N(m.TTL)
	}
	c.Act(k, a, func() {
		if a.fate != fateDoubt {
			k.gen = a.saw.gen
		}
		done()
	})
}

// batch reads or writes some keys of k's namespace, k among them.
func (c *Client) batch(k *key, done func()) {
	kind := wire.KindBatchGet
	if c.rand.IntN(3) == 0 {
		kind = wire.KindBatchPut
	}
	keys := []*key{k}
	for range c.rand.IntN(batchMost) {
		o := c.d.keys[c.rand.IntN(len(c.d.keys))]
		if o.space == k.space && !contained(keys, o) {
			keys = append(keys, o)
		}
	}
	c.Batch(kind, keys, done)
}

func contained(keys []*key, k *key) bool {
	for _, o := range keys {
		if o == k {
			return true
		}
	}
	return false
}

// padDefault is how long a put's padding is at most, in bytes.
const padDefault = 64

func (c *Client) pad() int {
	if c.Load.Pad > 0 {
		return c.Load.Pad - c.rand.IntN(padDefault)
	}
	return c.rand.IntN(padDefault)
}

// FillActs puts every key once, and waits until all are acknowledged.
func (d *Data) FillActs(c *Client) error { return d.doAll(c, verbPut, d.keys) }

// doAll does the same with each key once, and waits until all of it is
// acknowledged.
func (d *Data) doAll(c *Client, v verb, keys []*key) error {
	left := len(keys)
	var put func(k *key)
	put = func(k *key) {
		a := d.newAct(k, v)
		c.Act(k, a, func() {
			if a.fate == fateDone || a.fate == fateAbsent {
				left--
			} else {
				put(k)
			}
		})
	}
	for _, k := range keys {
		put(k)
	}
	return d.Await("all keys are written or deleted", 40*opTimeout, func() bool { return left == 0 })
}

// ReadActs reads every key once; all answers must come.
func (d *Data) ReadActs(c *Client) error {
	d.prompt = true
	defer func() { d.prompt = false }()
	failed, left := c.Failed, len(d.keys)
	for _, k := range d.keys {
		c.Act(k, d.newAct(k, verbGet), func() { left-- })
	}
	if err := d.Await("every key is read", 2*opTimeout, func() bool { return left == 0 }); err != nil {
		return err
	}
	if c.Failed != failed {
		d.W.fail("%d of the last reads got no answer; %s", c.Failed-failed, d.describe())
	}
	return d.W.Err
}
