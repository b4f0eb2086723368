// Command vcsim is a vCenter simulator for the tests, demos and benchmarks of this workspace.
//
// When both of its ports are open it prints one line of JSON (see ready) to standard output and serves until SIGTERM
// or SIGINT. It is meant to run under supervise, which stops it when its parent ends. It reads the password from the
// environment, never from an argument.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"infra-operators/vcsim/internal/sim"
)

// ready is the line that is printed when both ports are open.
type ready struct {
	SDK              string `json:"sdk"`     // host:port, https
	Control          string `json:"control"` // host:port, http
	User             string `json:"user"`
	CAPEM            string `json:"ca_pem"`
	ThumbprintSHA1   string `json:"thumbprint_sha1"`
	ThumbprintSHA256 string `json:"thumbprint_sha256"`
}

// names is a flag that may be repeated.
type names []string

func (n *names) String() string     { return strings.Join(*n, ",") }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

// delays is a flag METHOD=DURATION that may be repeated.
type delays map[string]time.Duration

func (d delays) String() string { return "" }
func (d delays) Set(s string) error {
	method, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%q is not METHOD=DURATION; write, for example, CloneVM_Task=50ms", s)
	}
	duration, err := time.ParseDuration(value)
	d[method] = duration
	return err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vcsim:", err)
		os.Exit(1)
	}
}

func run() error {
	config := sim.Config{CallDelays: delays{}}
	var templates, pools names
	flag.IntVar(&config.Datacenters, "datacenters", 1, "datacenters, named DC0, DC1 and so on")
	flag.IntVar(&config.Clusters, "clusters", 1, "clusters per datacenter, each with a root resource pool")
	flag.IntVar(&config.Hosts, "hosts", 1, "hosts per cluster")
	flag.Var(&templates, "template", "name of a template to add to each datacenter's vm folder; may be repeated")
	flag.Var(&pools, "pool", "name of a resource pool to add to each cluster's root pool; may be repeated")
	flag.StringVar(&config.RootFolder, "root-folder", "", "folder to add to each datacenter's vm folder")
	flag.BoolVar(&config.Switch, "switch", false, "add a distributed switch DVS0 to each datacenter, with all its hosts and a port group DC0_DVPG0")
	flag.StringVar(&config.Dir, "dir", "", "directory for temporary files (default the system's)")
	flag.StringVar(&config.User, "user", "administrator@vsphere.local", "the account that can log in; its password is in VCSIM_PASSWORD")
	flag.StringVar(&config.Listen, "listen", "127.0.0.1:0", "address of the SDK")
	flag.StringVar(&config.Control, "control", "127.0.0.1:0", "address of the control port")
	flag.DurationVar(&config.CloneTime, "clone-time", 0, "how long a clone task takes")
	flag.DurationVar(&config.ClockOffset, "clock-offset", 0, "how far the vCenter's clock is ahead; negative: behind")
	flag.Var(delays(config.CallDelays), "call-delay", "METHOD=DURATION: delay calls of a method; may be repeated")
	flag.BoolVar(&config.StockPowerOn, "stock-power-on", false, "ignore powerOn in a clone spec, as govmomi's simulator does")
	flag.BoolVar(&config.NoCreateFolder, "no-create-folder", false, "answer CreateFolder with NoPermission")
	flag.StringVar(&config.InstanceUUID, "instance-uuid", "", "about.instanceUuid (default a random one)")
	flag.IntVar(&config.Datastores, "datastores", 1, "datastores per datacenter, named LocalDS_0 and so on, each of all its hosts")
	flag.StringVar(&config.About.Version, "version", "", "about.version, such as 8.0.3 (default that of govmomi's simulator)")
	flag.StringVar(&config.About.APIVersion, "api-version", "", "about.apiVersion, such as 8.0.3.0 (default that of govmomi's simulator)")
	flag.StringVar(&config.About.Build, "build", "", "about.build (default that of govmomi's simulator)")
	flag.Parse()
	config.Templates, config.Pools = templates, pools
	config.Password = os.Getenv("VCSIM_PASSWORD")
	if config.Password == "" {
		return fmt.Errorf("VCSIM_PASSWORD is not set; set it to the password of the account that can log in")
	}

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	server, err := sim.Start(config)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := json.NewEncoder(os.Stdout).Encode(ready{
		SDK:              server.SDKAddress(),
		Control:          server.ControlAddress(),
		User:             config.User,
		CAPEM:            server.Identity.CAPEM,
		ThumbprintSHA1:   server.Identity.SHA1,
		ThumbprintSHA256: server.Identity.SHA256,
	}); err != nil {
		return err
	}
	<-signals
	return nil
}
