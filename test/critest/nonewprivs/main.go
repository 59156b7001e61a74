// Command nonewprivs stands in for the conformance image of that name: as a setuid program it tells whether the
// kernel lets it become root.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("Effective uid: %d\n", os.Geteuid())
}
