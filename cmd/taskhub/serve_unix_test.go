//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// The program ends well when it is told to, as a shell or a service manager does.
func TestServeSignals(t *testing.T) {
	clearSettings(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Args = []string{"taskhub", "serve", "--snapshot", testhub.HubFile(t, "functions-3"), "--listen", "127.0.0.1:0", "--json"}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var report serveReport
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(report.API + "/instances/hello-1") // leaves a connection that is not used
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s, %v", resp.Status, err)
		}
		_ = resp.Body.Close()
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%v: %v, stderr %s", signal, err, &stderr)
		}
		if c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(report.URL, "http://"), "/")); err == nil {
			_ = c.Close()
			t.Errorf("%v: the port is still open", signal)
		}
	}
}
