// Command nodeinfo asks a CSI node plugin who its Node is, as a kubelet does when the plugin registers, and prints the answer as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// answer is what a kubelet writes into the CSINode of a Node, and as labels of the Node.
type answer struct {
	NodeID     string            `json:"nodeId"`
	MaxVolumes int64             `json:"maxVolumes"`
	Topology   map[string]string `json:"topology"`
}

func main() {
	socket := flag.String("socket", "", "the Unix socket of the plugin")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait for the answer")
	flag.Parse()
	if err := ask(*socket, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "nodeinfo:", err)
		os.Exit(1)
	}
}

func ask(socket string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	connection, err := grpc.DialContext(ctx, "unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	info, err := csi.NewNodeClient(connection).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answer{
		NodeID:     info.GetNodeId(),
		MaxVolumes: info.GetMaxVolumesPerNode(),
		Topology:   info.GetAccessibleTopology().GetSegments(),
	})
}
