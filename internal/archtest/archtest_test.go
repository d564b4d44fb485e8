package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/taskhub-tools/taskhub"

// testOnly holds what tests share; nothing that users link may import it.
const testOnly = "internal/testhub"

// anyOwn in rule.own allows every package of this module, except testOnly.
const anyOwn = "*"

// rule says what the packages of one folder may import besides the standard
// library and each other.
//
// It holds for the folder and everything below it, until a rule for a deeper
// folder takes over: hub does not speak for hub/live.
type rule struct {
	folder string   // relative to the module
	own    []string // folders of this module; deeper ones have to be named as well
	others []string // modules, or path prefixes, of others
}

var rules = []rule{
	{folder: "schema"},
	{folder: "hub", own: []string{"schema"}},
	{
		folder: "hub/live",
		own:    []string{"hub", "schema"},
		others: []string{"github.com/Azure/azure-sdk-for-go/sdk"},
	},
	{
		folder: "hub/snapshot",
		own:    []string{"hub", "schema"},
		others: []string{"github.com/klauspost/compress"},
	},
	{
		folder: "hub/hubtest",
		own:    []string{"hub", "schema"},
		others: []string{"github.com/google/go-cmp"},
	},
	{
		folder: "export",
		own:    []string{"hub", "schema"},
		others: []string{
			"github.com/parquet-go/parquet-go",
			"github.com/klauspost/compress",
			"golang.org/x/sync",
		},
	},
	{folder: "replay", own: []string{"schema"}},
	{folder: "verify", own: []string{"hub", "replay", "schema"}, others: []string{"golang.org/x/sync"}},
	{folder: "diff", own: []string{"hub", "schema"}},
	{folder: "migrate", own: []string{"diff", "hub", "replay", "schema"}, others: []string{"golang.org/x/sync"}},
	{folder: "manage", own: []string{"hub", "schema"}, others: []string{"go.yaml.in/yaml/v3"}},
	{folder: "explain", own: []string{"hub", "manage", "replay", "schema", "verify"}},
	{folder: "repair", own: []string{"hub", "manage", "migrate", "replay", "schema", "verify"}},
	{folder: "server", own: []string{"explain", "export", "hub", "manage", "replay", "schema", "verify"}},
	{
		folder: "cmd/taskhub",
		own:    []string{anyOwn},
		others: []string{
			"github.com/urfave/cli/v2",
			"golang.org/x/sync",
			"golang.org/x/term",
		},
	},
	{folder: "internal/ui", others: []string{"golang.org/x/term"}},
	{folder: "internal/settings"},
	{folder: "internal/archtest"},
	{
		folder: testOnly,
		own:    []string{anyOwn},
		others: []string{
			"github.com/google/go-cmp",
			"github.com/klauspost/compress",
			"github.com/rogpeppe/go-internal",
			"golang.org/x/sync",
		},
	},
}

func TestImports(t *testing.T) {
	noteSources(t)
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			graph := list(t, goos)
			// An empty or partial list would pass whatever the rules say.
			if _, ok := graph[module+"/internal/archtest"]; !ok {
				t.Fatalf("go list does not name this package; it lists %d packages", len(graph))
			}
			for _, v := range violations(graph) {
				t.Error(v)
			}
		})
	}
}

// noteSources reads every folder of the module. go test reuses a result until
// something changes that the test itself has looked at, and the sources that
// go list looks at do not count.
func noteSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(_ string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "node_modules", "testdata"}, d.Name()):
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list returns the imports of every package of this module, as compiled for
// goos, without those of its tests.
func list(t *testing.T, goos string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	graph := make(map[string][]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		graph[p.ImportPath] = p.Imports
	}
}

// violations returns one line for each import of graph that rules forbid, and
// for each package that no rule covers, in the order of the import paths.
//
// Direct imports are enough: a package can reach something forbidden only
// through a package of this module that may import it, and then the table
// allows it on purpose.
func violations(graph map[string][]string) []string {
	var found []string
	for path, imports := range graph {
		folder := strings.TrimPrefix(path, module+"/")
		r, ok := ruleFor(folder)
		if !ok {
			found = append(found, fmt.Sprintf("%s: no rule for this package; add one to archtest", folder))
			continue
		}
		for _, imp := range imports {
			if why := r.forbids(imp); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", folder, imp, why))
			}
		}
	}
	slices.Sort(found)
	return found
}

// ruleFor returns the rule with the longest folder that holds folder.
func ruleFor(folder string) (rule, bool) {
	var best rule
	for _, r := range rules {
		if within(folder, r.folder) && len(r.folder) > len(best.folder) {
			best = r
		}
	}
	return best, best.folder != ""
}

// forbids returns why r does not allow imp, or "" if it does.
func (r rule) forbids(imp string) string {
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		target, _ := ruleFor(own) // without a rule it is reported on its own
		switch {
		case target.folder == r.folder:
			return ""
		case target.folder == testOnly:
			return "only tests may import it"
		case slices.Contains(r.own, target.folder), slices.Contains(r.own, anyOwn):
			return ""
		}
		return "not allowed for " + r.folder
	}
	first, _, _ := strings.Cut(imp, "/")
	switch {
	case imp == "C":
		return "the module is built without cgo"
	case !strings.Contains(first, "."):
		return "" // the standard library
	case slices.ContainsFunc(r.others, func(prefix string) bool { return within(imp, prefix) }):
		return ""
	}
	return "not allowed for " + r.folder
}

// within reports whether path is folder or lies below it.
func within(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/')
}

func TestViolations(t *testing.T) {
	const (
		azure   = "github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
		cli     = "github.com/urfave/cli/v2"
		parquet = "github.com/parquet-go/parquet-go"
	)
	tests := []struct {
		name    string
		folder  string
		imports []string
		want    []string
	}{
		{name: "standard library", folder: "schema", imports: []string{"encoding/json", "iter", "unsafe"}},
		{name: "a package below", folder: "schema", imports: []string{module + "/schema/internal/ticks"}},
		{name: "allowed edge", folder: "hub/snapshot", imports: []string{module + "/hub", module + "/schema"}},
		{name: "allowed third party", folder: "export/lake", imports: []string{parquet + "/compress/zstd"}},
		{name: "command", folder: "cmd/taskhub", imports: []string{cli, module + "/hub/live", module + "/internal/ui"}},
		{
			name: "third party in schema", folder: "schema", imports: []string{"github.com/google/go-cmp/cmp"},
			want: []string{"schema imports github.com/google/go-cmp/cmp: not allowed for schema"},
		},
		{
			name: "upward edge", folder: "schema", imports: []string{module + "/hub"},
			want: []string{"schema imports " + module + "/hub: not allowed for schema"},
		},
		{
			name: "hub does not stand for what is below it", folder: "export", imports: []string{module + "/hub/live"},
			want: []string{"export imports " + module + "/hub/live: not allowed for export"},
		},
		{
			name: "what is below hub is not hub", folder: "hub/snapshot", imports: []string{azure},
			want: []string{"hub/snapshot imports " + azure + ": not allowed for hub/snapshot"},
		},
		{
			name: "SDK in the command", folder: "cmd/taskhub", imports: []string{azure},
			want: []string{"cmd/taskhub imports " + azure + ": not allowed for cmd/taskhub"},
		},
		{
			name: "command line in a library", folder: "export", imports: []string{cli},
			want: []string{"export imports " + cli + ": not allowed for export"},
		},
		{
			name: "a name that only begins alike", folder: "export", imports: []string{parquet + "-extras"},
			want: []string{"export imports " + parquet + "-extras: not allowed for export"},
		},
		{
			name: "test helpers in a library", folder: "hub/hubtest", imports: []string{module + "/internal/testhub"},
			want: []string{"hub/hubtest imports " + module + "/internal/testhub: only tests may import it"},
		},
		{
			name: "test helpers in the command", folder: "cmd/taskhub", imports: []string{module + "/internal/testhub"},
			want: []string{"cmd/taskhub imports " + module + "/internal/testhub: only tests may import it"},
		},
		{
			name: "cgo", folder: "schema", imports: []string{"C"},
			want: []string{"schema imports C: the module is built without cgo"},
		},
		{
			name: "no rule", folder: "util",
			want: []string{"util: no rule for this package; add one to archtest"},
		},
		{
			name: "a folder that only begins alike", folder: "schemas",
			want: []string{"schemas: no rule for this package; add one to archtest"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations(map[string][]string{module + "/" + tt.folder: tt.imports})
			if !slices.Equal(got, tt.want) {
				t.Errorf("violations(%s imports %q) = %q, want %q", tt.folder, tt.imports, got, tt.want)
			}
		})
	}
}

// The rules are a hierarchy: no folder may be allowed to import, even through
// others, a folder that may import it.
func TestRulesHaveNoCycle(t *testing.T) {
	own := make(map[string][]string)
	for _, r := range rules {
		own[r.folder] = r.own
	}
	var visit func(folder string, path []string)
	visit = func(folder string, path []string) {
		if slices.Contains(path, folder) {
			t.Fatalf("the rules allow a cycle: %s", strings.Join(append(path, folder), " -> "))
		}
		for _, next := range own[folder] {
			if next == anyOwn {
				continue // cmd and testOnly, which nothing else may import
			}
			if _, ok := own[next]; !ok {
				t.Errorf("the rule for %s names %s, which has no rule", folder, next)
			}
			visit(next, append(slices.Clone(path), folder))
		}
	}
	for _, r := range rules {
		visit(r.folder, nil)
	}
}
