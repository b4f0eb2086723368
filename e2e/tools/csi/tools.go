//go:build tools

// Package tools pins vSphere's CSI driver, which testbed builds and runs, the controller and the node plugin in one program, and its
// syncer; its manifests come out of the same module.
package tools

import (
	_ "sigs.k8s.io/vsphere-csi-driver/v3/cmd/syncer"
	_ "sigs.k8s.io/vsphere-csi-driver/v3/cmd/vsphere-csi"
)
