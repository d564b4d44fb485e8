package parquet

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// bitmapOf returns bits as a bitmap.
func bitmapOf(bits []bool) bitmap {
	var b bitmap
	for i, bit := range bits {
		if bit {
			b.set(i)
		}
	}
	return b
}

// randomBits returns n bits in which equal ones follow each other run times on
// average.
func randomBits(r *rand.Rand, n, run int) []bool {
	bits := make([]bool, n)
	for i := range bits {
		bits[i] = i > 0 && bits[i-1]
		if r.IntN(run) == 0 {
			bits[i] = !bits[i]
		}
	}
	return bits
}

func TestBitmap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		bits := randomBits(r, 1+r.IntN(300), 1+r.IntN(80))
		b := bitmapOf(bits)
		from := r.IntN(len(bits))
		to := from + r.IntN(len(bits)-from+1)
		n := 0
		for i := from; i < to; i++ {
			if bits[i] {
				n++
				if got := b.after(from, n); got != i+1 {
					t.Fatalf("after(%d, %d) = %d, want %d", from, n, got, i+1)
				}
			}
		}
		if got := b.count(from, to); got != n {
			t.Fatalf("count(%d, %d) = %d, want %d", from, to, got, n)
		}
	}
	// Past the end, where trailing zeros were never stored.
	if got := (bitmap{}).count(0, 1000); got != 0 {
		t.Errorf("count of nothing = %d, want 0", got)
	}
}

// checkHybridBits encodes bits[from:] and compares what parquet-go decodes.
func checkHybridBits(t *testing.T, bits []bool, from int) {
	t.Helper()
	enc := appendHybridBits(nil, bitmapOf(bits), from, len(bits))
	got, err := (&rle.Encoding{BitWidth: 1}).DecodeLevels(nil, enc)
	if err != nil {
		t.Fatalf("decode the %d bits from %d: %v", len(bits)-from, from, err)
	}
	want := make([]byte, len(bits)-from)
	for i, bit := range bits[from:] {
		if bit {
			want[i] = 1
		}
	}
	if len(got) < len(want) {
		t.Fatalf("decoded %d bits from %d, want %d", len(got), from, len(want))
	}
	if got = got[:len(want)]; !bytes.Equal(got, want) { // without padding
		t.Errorf("bits from %d (-want +got):\n%s", from, cmp.Diff(want, got))
	}
}

func TestHybridBits(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000, 5000} {
		for _, run := range []int{1, 2, 50, 1000} {
			bits := randomBits(r, n, run)
			checkHybridBits(t, bits, 0)
			checkHybridBits(t, bits, n/3)
		}
		checkHybridBits(t, make([]bool, n), 0)
	}
	// Long runs cost nothing: a header, and a byte.
	if got := len(appendHybridBits(nil, nil, 0, 1_000_000)); got > 5 {
		t.Errorf("a million nulls take %d bytes, want at most 5", got)
	}
}

func FuzzHybridBits(f *testing.F) {
	f.Add([]byte{}, uint16(0), false)
	f.Add([]byte{0xAA, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF}, uint16(3), true)
	f.Add(make([]byte, 100), uint16(64), true)
	f.Fuzz(func(t *testing.T, p []byte, from uint16, stretch bool) {
		var bits []bool
		for _, b := range p {
			for k := range 8 {
				bits = append(bits, b>>k&1 != 0)
			}
			if stretch { // by a run of the last bit
				for range int(b) {
					bits = append(bits, b>>7 != 0)
				}
			}
		}
		checkHybridBits(t, bits, min(int(from), len(bits)))
	})
}

// checkHybrid encodes v and compares what parquet-go decodes.
func checkHybrid(t *testing.T, v []uint32, width int) {
	t.Helper()
	got, err := (&rle.Encoding{BitWidth: width}).DecodeInt32(nil, appendHybrid(nil, v, width))
	if err != nil {
		t.Fatalf("decode %d values of %d bits: %v", len(v), width, err)
	}
	if len(got) < len(v) {
		t.Fatalf("decoded %d values of %d bits, want %d", len(got), width, len(v))
	}
	for i, x := range v {
		if uint32(got[i]) != x {
			t.Fatalf("value %d of %d, %d bits = %d, want %d", i, len(v), width, uint32(got[i]), x)
		}
	}
}

func TestHybrid(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for width := 1; width <= 32; width++ {
		for range 30 {
			var v []uint32
			for range r.IntN(20) {
				x := uint32(r.Uint64() & lowBits(width))
				for range 1 + r.IntN(1+r.IntN(40)) {
					v = append(v, x)
				}
			}
			checkHybrid(t, v, width)
		}
	}
}

func FuzzHybrid(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 0, 0}, uint8(3))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, uint8(31))
	f.Fuzz(func(t *testing.T, p []byte, width uint8) {
		w := 1 + int(width%32)
		v := make([]uint32, 0, len(p))
		for i, b := range p {
			x := uint32(uint64(b) * 0x01010101 & lowBits(w))
			v = append(v, x)
			for range i % 11 * int(b%3) {
				v = append(v, x)
			}
		}
		checkHybrid(t, v, w)
	})
}

func checkDelta64(t *testing.T, v []int64) {
	t.Helper()
	got, err := new(delta.BinaryPackedEncoding).DecodeInt64(nil, appendDelta(nil, v))
	if err != nil {
		t.Fatalf("decode %v: %v", v, err)
	}
	if !slices.Equal(got, v) {
		t.Errorf("64-bit values (-want +got):\n%s", cmp.Diff(v, got))
	}
}

func checkDelta32(t *testing.T, v []int32) {
	t.Helper()
	enc := appendDelta(nil, v)
	got, err := new(delta.BinaryPackedEncoding).DecodeInt32(nil, enc)
	if err != nil {
		t.Fatalf("decode %v: %v", v, err)
	}
	if !slices.Equal(got, v) {
		t.Errorf("32-bit values (-want +got):\n%s", cmp.Diff(v, got))
	}
	if limit := 32 + (len(v)+31)*4 + (len(v)/blockValues+1)*14 + 128; len(enc) > limit {
		t.Errorf("%d values of 32 bits take %d bytes, want at most %d: a width above 32", len(v), len(enc), limit)
	}
}

func TestDelta(t *testing.T) {
	for _, v := range [][]int64{
		nil,
		{0},
		{math.MinInt64},
		{math.MinInt64, math.MaxInt64, math.MinInt64, 0, -1, math.MaxInt64},
		{5, 5, 5, 5},
		{3, 2, 1, 0, -1, -2},
	} {
		checkDelta64(t, v)
	}
	for _, v := range [][]int32{
		nil,
		{0},
		{math.MinInt32, math.MaxInt32, math.MinInt32, 0, -1, math.MaxInt32},
		{-7, -7, -7},
	} {
		checkDelta32(t, v)
	}
	r := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{1, 2, 32, 33, 34, 127, 128, 129, 130, 160, 161, 256, 257, 258, 1000} {
		for bits := 0; bits <= 64; bits++ {
			wide, narrow := make([]int64, n), make([]int32, n)
			for i := range wide {
				wide[i] = int64(r.Uint64() & lowBits(bits))
				narrow[i] = int32(wide[i])
			}
			checkDelta64(t, wide)
			checkDelta32(t, narrow)
		}
	}
}

func FuzzDelta(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1<<63), 1<<63-1), uint8(200))
	f.Fuzz(func(t *testing.T, p []byte, repeat uint8) {
		var v []int64
		for ; len(p) >= 8; p = p[8:] {
			v = append(v, int64(binary.LittleEndian.Uint64(p)))
		}
		for i := range int(repeat) * min(1, len(v)) {
			v = append(v, v[i]+int64(i))
		}
		narrow := make([]int32, len(v))
		for i, x := range v {
			narrow[i] = int32(x)
		}
		checkDelta64(t, v)
		checkDelta32(t, narrow)
	})
}
