// Command vcsim is a vCenter simulator for the tests, demos and benchmarks of this workspace.
//
// When both of its ports are open it prints one line of JSON (see ready) on standard output, and then serves until
// it gets SIGTERM or SIGINT. It is meant to run under supervise, which ends it with its parent.
// The password comes from the environment, never from an argument.
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

// ready is the line printed when the simulator can be used.
type ready struct {
	SDK              string `json:"sdk"`     // host:port, https
	Control          string `json:"control"` // host:port, http
	User             string `json:"user"`
	CAPEM            string `json:"ca_pem"`
	ThumbprintSHA1   string `json:"thumbprint_sha1"`
	ThumbprintSHA256 string `json:"thumbprint_sha256"`
}

// names is a flag that may be given several times.
type names []string

func (n *names) String() string     { return strings.Join(*n, ",") }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

// delays is a flag METHOD=DURATION that may be given several times.
type delays map[string]time.Duration

func (d delays) String() string { return "" }
func (d delays) Set(s string) error {
	method, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%q is not METHOD=DURATION", s)
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
	var templates names
	flag.IntVar(&config.Datacenters, "datacenters", 1, "datacenters, named DC0, DC1 and so on")
	flag.IntVar(&config.Clusters, "clusters", 1, "clusters per datacenter, each with one resource pool")
	flag.IntVar(&config.Hosts, "hosts", 1, "hosts per cluster")
	flag.Var(&templates, "template", "name of a template to put into each datacenter's vm folder; may be repeated")
	flag.StringVar(&config.RootFolder, "root-folder", "", "folder to make in each datacenter's vm folder")
	flag.BoolVar(&config.Switch, "switch", false, "a distributed switch DVS0 in each datacenter, with all its hosts and a port group DC0_DVPG0")
	flag.StringVar(&config.Dir, "dir", "", "directory for temporary files (default the system's)")
	flag.StringVar(&config.User, "user", "administrator@vsphere.local", "the one user who may log in; the password is in VCSIM_PASSWORD")
	flag.StringVar(&config.Listen, "listen", "127.0.0.1:0", "address of the SDK")
	flag.StringVar(&config.Control, "control", "127.0.0.1:0", "address of the control port")
	flag.DurationVar(&config.CloneTime, "clone-time", 0, "how long a clone task takes")
	flag.Var(delays(config.CallDelays), "call-delay", "METHOD=DURATION that calls of a method are delayed; may be repeated")
	flag.BoolVar(&config.StockPowerOn, "stock-power-on", false, "ignore powerOn in a clone spec, as govmomi's simulator does")
	flag.BoolVar(&config.AppearEarly, "appear-early", false, "a clone is in the inventory, powered off, from the start of its task")
	flag.BoolVar(&config.NoCreateFolder, "no-create-folder", false, "the user may not create folders (NoPermission)")
	flag.Parse()
	config.Templates = templates
	config.Password = os.Getenv("VCSIM_PASSWORD")
	if config.Password == "" {
		return fmt.Errorf("VCSIM_PASSWORD is not set")
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
