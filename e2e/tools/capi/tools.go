//go:build tools

// Package tools pins Cluster API's core manager, which testbed builds and runs; its CRDs and webhook
// configurations come out of the same module.
package tools

import _ "sigs.k8s.io/cluster-api/core"
