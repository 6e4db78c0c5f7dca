package vulnerabilities

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
)

// file is a CSV file as a scan group takes it: two columns, each row once. It is sorted
// by device and CVE, so the same rows are the same bytes.
type file struct {
	header        [2]string
	devices, cves []string // sorted, each once
	rows          []uint64 // device in the upper half, CVE in the lower; sorted

	digest string // of the bytes
	size   int64
}

// newFile sorts the rows, whose halves count devices and CVEs in their order here.
func newFile(deviceHeader, cveHeader string, devices, cves []string, rows []uint64) (*file, error) {
	f := &file{header: [2]string{deviceHeader, cveHeader}}
	var device, cve []uint32
	f.devices, device = sorted(devices)
	f.cves, cve = sorted(cves)
	f.rows = rows
	for i, r := range rows {
		f.rows[i] = uint64(device[r>>32])<<32 | uint64(cve[uint32(r)])
	}
	slices.Sort(f.rows)
	f.rows = slices.Compact(f.rows)
	sum := measure{hash: sha256.New()}
	if err := f.write(&sum); err != nil {
		return nil, err
	}
	f.digest, f.size = hex.EncodeToString(sum.hash.Sum(nil)[:16]), sum.size
	return f, nil
}

// sorted returns the distinct texts in order, and where each text went.
func sorted(texts []string) (distinct []string, place []uint32) {
	distinct = slices.Compact(slices.Sorted(slices.Values(texts)))
	place = make([]uint32, len(texts))
	for i, t := range texts {
		n, _ := slices.BinarySearch(distinct, t)
		place[i] = uint32(n)
	}
	return distinct, place
}

// measure takes the size and digest of what is written.
type measure struct {
	hash hash.Hash
	size int64
}

func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	return m.hash.Write(p)
}

// write writes the file's bytes: UTF-8 without byte-order mark, lines that end in LF.
func (f *file) write(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(f.header[:]); err != nil {
		return err
	}
	for _, r := range f.rows {
		if err := out.Write([]string{f.devices[r>>32], f.cves[uint32(r)]}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// fileName is the name that the file is uploaded under. NinjaOne shows it, so that
// a turn after a crash sees that the file came.
func fileName(digest string) string { return "cve-" + digest + ".csv" }

// packed compresses what write writes.
func packed(write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := write(z); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// compare hands more the rows that the file adds to a former one, and less those that it
// lacks. Each comes in order.
func (f *file) compare(former []byte, more, less func(Row)) error {
	in := csv.NewReader(bytes.NewReader(former))
	in.ReuseRecord = true
	if _, err := in.Read(); err != nil {
		return fmt.Errorf("read the last file: %w", err)
	}
	next := func() (Row, bool, error) {
		r, err := in.Read()
		if err == io.EOF {
			return Row{}, false, nil
		}
		if err != nil || len(r) != 2 {
			return Row{}, false, fmt.Errorf("read the last file: %w", err)
		}
		return Row{r[0], r[1]}, true, nil
	}
	old, have, err := next()
	for _, r := range f.rows {
		now := Row{f.devices[r>>32], f.cves[uint32(r)]}
		for err == nil && have && old.before(now) {
			less(old)
			old, have, err = next()
		}
		if err == nil && have && old == now {
			old, have, err = next()
			continue
		}
		more(now)
	}
	for err == nil && have {
		less(old)
		old, have, err = next()
	}
	return err
}

func (r Row) before(o Row) bool { return r.Device < o.Device || r.Device == o.Device && r.CVE < o.CVE }
