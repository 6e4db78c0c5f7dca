package storage

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"
)

// deflaters hold compressors: each has tables of more than half a megabyte.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // fails only for an unknown level
	return w
}}

// Deflate makes the content of a column smaller.
func Deflate(body []byte) []byte {
	var packed bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&packed)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	return packed.Bytes()
}

// Inflate returns what Deflate took, but no more than most bytes. So a damaged column
// cannot fill the memory.
func Inflate(packed []byte, most int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), most))
}
