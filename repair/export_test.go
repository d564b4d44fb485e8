package repair

// Limited returns o with other limits than [MaxRepairs] and [MaxFileBytes]; 0 leaves
// one as it is.
func (o Options) Limited(repairs int, bytes int64) Options {
	o.repairs, o.bytes = repairs, bytes
	return o
}
