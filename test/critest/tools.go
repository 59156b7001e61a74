//go:build tools

// Package critest pins the oracle that judges Gantry's CRI socket. Go is for the oracle only.
package critest

import (
	_ "sigs.k8s.io/cri-tools/cmd/crictl"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
