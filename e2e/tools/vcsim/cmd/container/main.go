// Command container is the program of containers in tests of testbed's PodRunner. It shows what it has been given: its arguments,
// environment, user and files, one line each on standard output.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// look is the interval in which files are read again.
const look = 50 * time.Millisecond

// names is a flag that may be repeated.
type names []string

func (n *names) String() string     { return strings.Join(*n, ",") }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

func main() {
	var files names
	flag.Var(&files, "file", "show this file, and again whenever it changes; may be repeated")
	socket := flag.String("socket", "", "listen on this Unix socket")
	end := flag.String("end", "", "end with the exit code that this file holds, once it does")
	flag.Parse()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println("user", os.Getuid(), os.Getgid())
	fmt.Println("arguments", flag.Args())
	environment := os.Environ()
	slices.Sort(environment)
	for _, variable := range environment {
		fmt.Println("variable", variable)
	}
	if *socket != "" {
		_ = os.Remove(*socket) // that of the process before
		listener, err := net.Listen("unix", *socket)
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		defer func() { _ = listener.Close() }()
	}

	shown := map[string]string{}
	for {
		for _, file := range files {
			content, err := os.ReadFile(file)
			text := strconv.Quote(string(content))
			if err != nil {
				text = err.Error()
			}
			if shown[file] != text {
				shown[file] = text
				fmt.Println("file", file, text)
			}
		}
		if content, err := os.ReadFile(*end); err == nil {
			if code, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil {
				os.Exit(code)
			}
		}
		select {
		case <-signals:
			fmt.Println("terminated")
			return
		case <-time.After(look):
		}
	}
}
