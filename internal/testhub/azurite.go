package testhub

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Emulator is one storage account in a running Azurite, which keeps it in
// memory.
type Emulator struct {
	Account string
	Key     string // Base64
	// Endpoints of the services, with the account's name in the path and no
	// slash at the end.
	BlobURL, QueueURL, TableURL string
}

// azurite is a running Azurite.
type azurite struct {
	cmd               *exec.Cmd
	input             io.Closer
	blob, queue, tabl string
	accounts          int // that were given out
	failure           error
}

// shared is the Azurite of this test binary. Starting one takes a second, so
// tests share it, each with an account of its own.
var shared struct {
	sync.Once
	sync.Mutex
	*azurite
}

// maxAccounts is how many accounts one Azurite has. It has to know them when it
// starts.
const maxAccounts = 1000

// Azurite returns an account that nothing else uses. All of a test binary are in
// one process, which ends with the binary at the latest: it waits for the end
// of its standard input.
//
// It skips t if Node.js or the npm packages of the folder node are not
// installed, and fails it instead if REQUIRE_STORAGE_TESTS is 1.
func Azurite(t testing.TB) *Emulator {
	t.Helper()
	shared.Do(func() { shared.azurite = startAzurite() })
	shared.Lock()
	defer shared.Unlock()
	return shared.account(t)
}

// StartAzurite is like [Azurite] with a process of its own, which ends with t.
// Azurite becomes slower the more it holds: measure with a fresh one.
func StartAzurite(t testing.TB) *Emulator {
	t.Helper()
	a := startAzurite()
	e := a.account(t)
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill() // it may have ended
		_ = a.cmd.Wait()         // killed: the error says nothing
	})
	return e
}

// errNotInstalled is the reason to skip a test.
var errNotInstalled = errors.New("Azurite is not installed, run make kit or npm ci in internal/testhub/node")

var listening = regexp.MustCompile(`Azurite (Blob|Queue|Table) service is successfully listening at (http://\S+)`)

func startAzurite() *azurite {
	node, err := exec.LookPath("node")
	if err != nil {
		return &azurite{failure: fmt.Errorf("%w: %w", errNotInstalled, err)}
	}
	script, err := nodeFile("node_modules/azurite/dist/src/azurite.js")
	if err != nil {
		return &azurite{failure: fmt.Errorf("%w: %w", errNotInstalled, err)}
	}
	var accounts []string
	for i := range maxAccounts {
		name := accountName(i)
		accounts = append(accounts, name+":"+accountKey(name))
	}
	const untilInputEnds = `data:text/javascript,process.stdin.on("end",()=>process.exit(0)).resume()`
	allMessages, err := nodeFile("all-messages.mjs")
	if err != nil {
		return &azurite{failure: err}
	}
	a := &azurite{cmd: exec.Command(node, "--import", untilInputEnds, "--import", allMessages, script,
		"--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry",
		"--blobPort", "0", "--queuePort", "0", "--tablePort", "0")}
	a.cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+strings.Join(accounts, ";"))
	a.cmd.Dir = os.TempDir() // it writes nothing, but looks for files of earlier runs
	a.failure = a.start()
	return a
}

func (a *azurite) start() error {
	// Nothing is written to this pipe, but it is open as long as this process runs.
	input, err := a.cmd.StdinPipe()
	if err != nil {
		return err
	}
	a.input = input
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	a.cmd.Stderr = &stderr
	if err := a.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			switch m[1] {
			case "Blob":
				a.blob = m[2]
			case "Queue":
				a.queue = m[2]
			case "Table":
				a.tabl = m[2]
			}
		}
		if a.blob != "" && a.queue != "" && a.tabl != "" {
			go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
			return nil
		}
	}
	_ = a.cmd.Wait()
	return fmt.Errorf("Azurite did not start: %s", stderr.Bytes())
}

func (a *azurite) account(t testing.TB) *Emulator {
	t.Helper()
	switch {
	case errors.Is(a.failure, errNotInstalled):
		unavailable(t, "REQUIRE_STORAGE_TESTS", "%v", a.failure)
	case a.failure != nil:
		t.Fatal(a.failure)
	case a.accounts == maxAccounts:
		t.Fatalf("this test binary has used all %d accounts", maxAccounts)
	}
	name := accountName(a.accounts)
	a.accounts++
	return &Emulator{
		Account: name, Key: accountKey(name),
		BlobURL: a.blob + "/" + name, QueueURL: a.queue + "/" + name, TableURL: a.tabl + "/" + name,
	}
}

func accountName(i int) string { return fmt.Sprintf("testaccount%03d", i) }

// accountKey returns a key as long as those of the service.
func accountKey(name string) string {
	sum := sha512.Sum512([]byte(name))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// ConnectionString returns what an app would have in AzureWebJobsStorage.
func (e *Emulator) ConnectionString() string {
	return "DefaultEndpointsProtocol=http;AccountName=" + e.Account + ";AccountKey=" + e.Key +
		";BlobEndpoint=" + e.BlobURL + ";QueueEndpoint=" + e.QueueURL + ";TableEndpoint=" + e.TableURL + ";"
}

// SAS returns the query of a shared access signature for the account. services
// is of the letters bqt, permissions of rwdlacup.
//
// Source: https://learn.microsoft.com/rest/api/storageservices/create-account-sas.
func (e *Emulator) SAS(services, permissions string) string {
	const version, resources = "2019-07-07", "sco"
	expiry := time.Now().UTC().Add(24 * time.Hour).Format("2006-01-02T15:04:05Z")
	key, err := base64.StdEncoding.DecodeString(e.Key)
	if err != nil {
		panic("testhub: internal error: " + err.Error())
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join([]string{e.Account, permissions, services, resources, "", expiry, "", "https,http", version, ""}, "\n")))
	return url.Values{
		"sv": {version}, "ss": {services}, "srt": {resources}, "sp": {permissions}, "se": {expiry}, "spr": {"https,http"},
		"sig": {base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}.Encode()
}

// writer sends requests to an account as the owner of its key.
type writer struct {
	e      *Emulator
	sas    string
	client http.Client
}

func (e *Emulator) writer(t testing.TB) *writer {
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	return &writer{e: e, sas: e.SAS("bqt", "rwdlacup"), client: http.Client{Transport: transport}}
}

// do sends a request and returns the body of the response. Header is a list of
// names and values.
func (w *writer) do(t testing.TB, method, address, body string, header ...string) string {
	t.Helper()
	text, _ := w.send(t, method, address, body, header...)
	return text
}

func (w *writer) send(t testing.TB, method, address, body string, header ...string) (string, http.Header) {
	t.Helper()
	sep := "?"
	if strings.Contains(address, "?") {
		sep = "&"
	}
	// Not the context of t: cleanups may write too.
	req, err := http.NewRequest(method, address+sep+w.sas, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-ms-version", "2021-12-02")
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s\n%s", method, address, resp.Status, text)
	}
	return string(text), resp.Header
}

// CreateTables creates tables.
func (e *Emulator) CreateTables(t testing.TB, names ...string) {
	t.Helper()
	w := e.writer(t)
	for _, name := range names {
		w.createTable(t, name)
	}
}

// CreateQueues creates queues.
func (e *Emulator) CreateQueues(t testing.TB, names ...string) {
	t.Helper()
	w := e.writer(t)
	for _, name := range names {
		w.do(t, http.MethodPut, e.QueueURL+"/"+name, "")
	}
}

// CreateContainers creates blob containers.
func (e *Emulator) CreateContainers(t testing.TB, names ...string) {
	t.Helper()
	w := e.writer(t)
	for _, name := range names {
		w.do(t, http.MethodPut, e.BlobURL+"/"+name+"?restype=container", "")
	}
}

var (
	tableNames = regexp.MustCompile(`"TableName":"([^"]*)"`)
	xmlNames   = regexp.MustCompile(`<Name>([^<]*)</Name>`)
	nextMarker = regexp.MustCompile(`<NextMarker>([^<]+)</NextMarker>`)
)

// Listing returns the names of all tables, queues and containers of the
// account, sorted, as table/NAME and so on: what a test must leave as it was.
func (e *Emulator) Listing(t testing.TB) []string {
	t.Helper()
	w := e.writer(t)
	var names []string
	for next := ""; ; {
		text, header := w.send(t, http.MethodGet, e.TableURL+"/Tables?NextTableName="+url.QueryEscape(next), "",
			"Accept", "application/json;odata=nometadata")
		for _, m := range tableNames.FindAllStringSubmatch(text, -1) {
			names = append(names, "table/"+m[1])
		}
		if next = header.Get("x-ms-continuation-NextTableName"); next == "" {
			break
		}
	}
	for kind, address := range map[string]string{"queue/": e.QueueURL, "container/": e.BlobURL} {
		for marker := ""; ; {
			text := w.do(t, http.MethodGet, address+"/?comp=list&marker="+url.QueryEscape(marker), "")
			for _, m := range xmlNames.FindAllStringSubmatch(text, -1) {
				names = append(names, kind+m[1])
			}
			m := nextMarker.FindStringSubmatch(text)
			if m == nil {
				break
			}
			marker = m[1]
		}
	}
	slices.Sort(names)
	return names
}
