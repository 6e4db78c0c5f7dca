package wire

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
)

// DecodeSKUNames decodes Microsoft's public file of product names into names by
// SKU id (a GUID in lower case).
func DecodeSKUNames(r io.Reader) (map[string]string, error) {
	names := map[string]string{}
	err := readCSV(context.Background(), r, []string{"GUID"}, func(column func(string) string) int64 {
		id := guid.Fold(column("GUID"))
		name := column("Product_Display_Name")
		if name == "" {
			name = column("???Product_Display_Name") // as once published, with a broken byte-order mark
		}
		name = strings.ToValidUTF8(name, "")
		if _, have := names[id]; !have && name != "" && guid.Parse(id) != "" {
			names[id] = name // some ids carry two names: the first stays
		}
		return 0
	})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the file names no product")
	}
	return names, nil
}
