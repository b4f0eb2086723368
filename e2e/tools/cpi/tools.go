//go:build tools

// Package tools pins vSphere's cloud controller manager, which testbed builds and runs; the manifests of its releases come out of
// the same module.
package tools

import _ "k8s.io/cloud-provider-vsphere/cmd/vsphere-cloud-controller-manager"
