package parquet

import (
	"hash/maphash"
	"slices"
)

// Limits of a dictionary. It is given up when it does not pay by the time it has
// reached a limit to prove itself, and frozen at maxDictBytes even if it pays, so
// that readers can hold it.
const (
	proveDictValues = 1024
	proveDictBytes  = 1 << 20
	maxDictBytes    = 4 << 20
)

// dictEntryBytes is about what a text in a dictionary takes in memory besides its
// bytes: its end, and two to four slots.
const dictEntryBytes = 4 + 3*8

// dictionary numbers distinct texts in the order in which they first appear.
//
// It is an open-addressing hash table over texts that lie back to back, so that
// it needs no allocation for an entry, is emptied by clearing one array, and its
// texts are in the order of the dictionary page. A slot holds the low half of the
// hash next to the index: almost all probes are decided within one cache line.
//
// Hashes are seeded at random, so no input can be made to collide. That does not
// show in the file, where only the order of appearance counts.
type dictionary struct {
	texts
	slots []uint64 // hash << 32 | index+1; 0 is empty; the length is a power of 2
	seed  maphash.Seed
}

func newDictionary() dictionary { return dictionary{seed: maphash.MakeSeed()} }

func (d *dictionary) reset() {
	d.texts.reset()
	clear(d.slots)
}

// find returns the index of v, or the number of texts if there is none, and the
// hash of v.
func (d *dictionary) find(v string) (index int, hash uint32) {
	hash = uint32(maphash.String(d.seed, v))
	if len(d.slots) == 0 {
		return d.len(), hash
	}
	mask := len(d.slots) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		s := d.slots[i]
		if s == 0 {
			return d.len(), hash
		}
		if uint32(s>>32) == hash && string(d.at(int(uint32(s))-1)) == v {
			return int(uint32(s)) - 1, hash
		}
	}
}

// add appends v, which is not in d and has the given hash.
func (d *dictionary) add(v string, hash uint32) {
	d.append(v)
	if 2*d.len() > len(d.slots) {
		d.grow()
	}
	d.put(uint64(hash)<<32 | uint64(d.len()))
}

func (d *dictionary) put(slot uint64) {
	mask := len(d.slots) - 1
	i := int(slot>>32) & mask
	for d.slots[i] != 0 {
		i = (i + 1) & mask
	}
	d.slots[i] = slot
}

func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]uint64, max(64, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			d.put(s)
		}
	}
}

// narrowDict is the dictionary of a column of integers that lie close together.
// Small counters repeat the same few sequences; as indexes of whole bits they
// compress better than as differences. It is found by arithmetic instead of
// hashing, when the column is complete.
type narrowDict struct {
	ok     bool
	low    int32
	values []int32 // ascending
	index  [narrowRange]uint32
}

// narrowRange is how far the values of a column may lie apart: a byte for each is
// enough.
const narrowRange = 256

// build makes d the dictionary of v, if v has few enough values.
func (d *narrowDict) build(v []int32) bool {
	d.ok, d.values = false, d.values[:0]
	if len(v) == 0 {
		return false
	}
	low := slices.Min(v)
	if int64(slices.Max(v))-int64(low) >= narrowRange {
		return false
	}
	var seen [narrowRange]bool
	for _, x := range v {
		seen[x-low] = true
	}
	for i, ok := range seen {
		if ok {
			d.index[i] = uint32(len(d.values))
			d.values = append(d.values, low+int32(i))
		}
	}
	d.low, d.ok = low, len(v) >= 2*len(d.values)
	return d.ok
}

// appendIndexes appends the index of each of v to dst.
func (d *narrowDict) appendIndexes(dst []uint32, v []int32) []uint32 {
	for _, x := range v {
		dst = append(dst, d.index[x-d.low])
	}
	return dst
}
