package model

import "math"

// Defragmentation of a log-structured device under uniform overwrite. A
// block whose live share falls below the low-water mark m is read, and what
// lives in it is written again.

// WriteAmplification is the bytes written to the device per byte of user
// data, for a low-water mark 0 <= m < 1.
func WriteAmplification(m float64) float64 { return 1 / (1 - m) }

// MaxFill is the largest live share of the device at which blocks below the
// low-water mark m turn up as fast as they are needed.
func MaxFill(m float64) float64 {
	if m <= 0 {
		return 0
	}
	return (1 - m) / math.Log(1/m)
}

// FillReserve is the part of MaxFill that a plan uses. The rest is for keys
// that are not overwritten uniformly.
const FillReserve = 0.9

// Low-water marks that a plan may choose: below a fifth blocks are hardly
// ever worth it, above seven tenths each byte is written more than three
// times.
const (
	MarkLeast = 0.20
	MarkMost  = 0.70
)

// LowWaterMark returns the smallest mark with which a device of the given
// live fill keeps up, within FillReserve; ok is false if none does, and then
// the mark is MarkMost.
func LowWaterMark(fill float64) (mark float64, ok bool) {
	if fill <= FillReserve*MaxFill(MarkLeast) {
		return MarkLeast, true
	}
	if fill > FillReserve*MaxFill(MarkMost) {
		return MarkMost, false
	}
	low, high := MarkLeast, MarkMost
	for range 30 {
		mid := (low + high) / 2
		if FillReserve*MaxFill(mid) < fill {
			low = mid
		} else {
			high = mid
		}
	}
	return high, true
}
