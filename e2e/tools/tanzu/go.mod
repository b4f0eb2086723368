// Types of TKG whose CRDs the tests serve, ClusterBootstrap and TanzuKubernetesRelease: the last version with a ClusterBootstrap in it.
// Nothing is built.
module infra-operators/tanzu

go 1.26

require github.com/vmware-tanzu/tanzu-framework/apis/run v0.0.0-20230419030809-7081502ebf68
