package storage

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// deflaters hold compressors: each has tables of more than half a megabyte.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // fails only for an unknown level
	return w
}}

// Deflate makes a content smaller.
func Deflate(body []byte) []byte {
	packed, _ := Deflated(func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}) // a buffer takes everything
	return packed
}

// Deflated is Deflate of what write writes.
func Deflated(write func(io.Writer) error) ([]byte, error) {
	var packed bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&packed)
	err := errors.Join(write(w), w.Close())
	return packed.Bytes(), err
}

// Inflate returns what Deflate took, but no more than most bytes. So a damaged column
// cannot fill the memory.
func Inflate(packed []byte, most int64) ([]byte, error) { return io.ReadAll(Inflated(packed, most)) }

// Inflated is Inflate for those who read one thing after another.
func Inflated(packed []byte, most int64) io.Reader {
	return io.LimitReader(flate.NewReader(bytes.NewReader(packed)), most)
}
