package wire

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
)

// DecodeSKUNames decodes Microsoft's public file of product names into names by GUID, in
// lower case. The file has a row for each service plan of each product.
func DecodeSKUNames(r io.Reader) (map[string]string, error) {
	names := map[string]string{}
	err := readCSV(context.Background(), r, []string{"GUID"}, func(column func(string) string) int64 {
		name := column("Product_Display_Name")
		if name == "" {
			name = column("???Product_Display_Name") // as once published, with a broken byte-order mark
		}
		for _, one := range [][2]string{{column("GUID"), name}, {column("Service_Plan_Id"), column("Service_Plans_Included_Friendly_Names")}} {
			id, name := guid.Parse(one[0]), strings.ToValidUTF8(one[1], "")
			if _, have := names[id]; !have && name != "" && id != "" {
				names[id] = strings.Clone(name) // some ids carry two names: the first stays
			}
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
