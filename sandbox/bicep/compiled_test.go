//go:build compiled

package bicep

import (
	"os"
	"testing"
)

// TestCompiled compares what the compiler made (.ci/templates) with the Bicep.
func TestCompiled(t *testing.T) {
	compiled, err := os.ReadFile("../../out/azuredeploy.json")
	must(t, err)
	for _, difference := range compare(compiled, parseAll(t)) {
		t.Error(difference)
	}
}
