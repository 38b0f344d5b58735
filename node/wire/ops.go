package wire

import "headroom/node/record"

// AppendOps appends the body of an operate request: the record to make if
// there is none (a flat body with set and key but no bins, as a byte string),
// then per op its kind u8, the bin's name as a string, and its value as
// record.AppendBin writes a bin named "v".
func AppendOps(b []byte, set string, key record.Value, ops []record.Op) ([]byte, error) {
	head, err := record.AppendBody(nil, set, key, nil)
	if err != nil {
		return b, err
	}
	out := AppendBytes(b, head)
	for _, op := range ops {
		out = AppendString(append(out, byte(op.Kind)), op.Bin)
		if out, err = record.AppendBin(out, record.Bin{Name: "v", Value: op.Value}); err != nil {
			return b, err
		}
	}
	return out, nil
}

// ParseOps reads what AppendOps wrote. The results alias p.
func ParseOps(p []byte) (ops []record.Op, set string, key record.Value, err error) {
	r := NewReader(p)
	head := record.Body(r.Bytes(record.MaxSize))
	if r.Err() == nil && len(head) > 0 && head.Validate() == nil && head.Count() == 0 {
		set, key = head.Set(), head.Key()
	} else {
		r.Fail("ops do not begin with a record head")
	}
	for r.Len() > 0 && len(ops) < record.MaxOps {
		op := record.Op{Kind: record.OpKind(r.U8()), Bin: r.String(record.MaxBinName)}
		bin, rest, err := record.ReadBin(r.b)
		if r.err != nil || err != nil || bin.Name != "v" {
			r.Fail("damaged op")
			break
		}
		r.b, op.Value = rest, bin.Value
		ops = append(ops, op)
	}
	return ops, set, key, r.Done()
}

// AppendResults appends the results of an operate as Reply.Bins carries them:
// the bins one behind the other as record.AppendBin writes them, in the order
// of the reads, absent bins with an absent value.
func AppendResults(b []byte, bins []record.Bin) ([]byte, error) {
	var err error
	for _, bin := range bins {
		if b, err = record.AppendBin(b, bin); err != nil {
			return b, err
		}
	}
	return b, nil
}

// ParseResults reads what AppendResults wrote; the bins alias p.
func ParseResults(p []byte) (bins []record.Bin, err error) {
	for len(p) > 0 {
		var bin record.Bin
		if bin, p, err = record.ReadBin(p); err != nil {
			return nil, err
		}
		bins = append(bins, bin)
	}
	return bins, nil
}
