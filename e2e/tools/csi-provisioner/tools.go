//go:build tools

// Package tools pins the sidecar csi-provisioner, which testbed builds and runs.
package tools

import _ "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"
