// Command supervise runs one child process and ends it with the test that started it.
//
// It never restarts the child and does not read its output, which goes to supervise's own standard output and error.
// The child ends when the parent closes supervise's standard input (also when the parent is killed), when supervise
// gets a signal, and when supervise is killed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// dirs is a flag that may be repeated.
type dirs []string

func (d *dirs) String() string     { return strings.Join(*d, ",") }
func (d *dirs) Set(s string) error { *d = append(*d, s); return nil }

func main() {
	var remove dirs
	pidfile := flag.String("pidfile", "", "write the child's process id to this file")
	flag.Var(&remove, "rm", "directory to remove when the child has ended; may be repeated")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: supervise [-pidfile FILE] [-rm DIR]... -- COMMAND [ARGUMENT]...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	code, err := run(flag.Args(), *pidfile)
	for _, dir := range remove {
		if rmErr := os.RemoveAll(dir); rmErr != nil {
			fmt.Fprintln(os.Stderr, "supervise:", rmErr)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
	}
	os.Exit(code)
}

func run(argv []string, pidfile string) (int, error) {
	// The kernel sends Pdeathsig when the thread that forked ends, not when the process ends: keep that thread.
	runtime.LockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	child := exec.Command(argv[0], argv[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		return 127, err
	}
	if pidfile != "" {
		if err := writePid(pidfile, child.Process.Pid); err != nil {
			_ = child.Process.Kill()
			_ = child.Wait()
			return 1, err
		}
	}

	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(orphaned)
	}()
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()

	for {
		select {
		case s := <-signals:
			_ = child.Process.Signal(s)
		case <-orphaned:
			// Kill the whole process group: no process is left to end the child's own children.
			_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL)
			orphaned = nil
		case err := <-ended:
			return exitCode(err)
		}
	}
}

// writePid writes the file by renaming it: a reader finds either no file or a whole number.
func writePid(path string, pid int) error {
	partial := path + ".partial"
	if err := os.WriteFile(partial, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// exitCode returns the child's exit code, or 128 + n if signal n ended it, as in a shell.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 1, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
