package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder writes files into a new folder and returns its path.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// show prints a value as TEXT <- FROM, with DIR for the folder.
func show(v Value, dir string) string {
	return v.Text + " <- " + strings.ReplaceAll(strings.ReplaceAll(v.From, dir, "DIR"), `\`, "/")
}

func TestLoad(t *testing.T) {
	const v2 = `{"version":"2.0","extensions":{"durableTask":{%s}}}`
	host := func(section string) map[string]string {
		return map[string]string{"host.json": fmt.Sprintf(v2, section)}
	}
	local := func(section, values string) map[string]string {
		files := host(section)
		files["local.settings.json"] = `{"IsEncrypted":false,"Values":{` + values + `}}`
		return files
	}
	const defaults = "AzureWebJobsStorage <- the default | DurableFunctionsHub <- the default |  <-  |  <- "
	tests := []struct {
		name  string
		files map[string]string
		env   map[string]string
		opts  Options
		want  string // connection | hub | tracking connection | tracking prefix, or error: and a part of it
	}{
		{"nothing", nil, nil, Options{}, defaults},
		{"an empty object", map[string]string{"host.json": "{}"}, nil, Options{}, defaults},
		{"another folder", map[string]string{"sub/host.json": fmt.Sprintf(v2, `"hubName":"A"`)}, nil, Options{}, defaults},
		{"hub", host(`"hubName":"A"`), nil, Options{}, "AzureWebJobsStorage <- the default | A <- extensions.durableTask.hubName in DIR/host.json |  <-  |  <- "},
		{
			"keys in another case",
			map[string]string{"host.json": `{"Version":"2.0","EXTENSIONS":{"DurableTask":{"HUBNAME":"A"}}}`},
			nil,
			Options{},
			"AzureWebJobsStorage <- the default | A <- extensions.durableTask.hubName in DIR/host.json |  <-  |  <- ",
		},
		{
			"the same key twice in other cases", host(`"HubName":"B","hubName":"A"`), nil,
			Options{},
			"AzureWebJobsStorage <- the default | A <- extensions.durableTask.hubName in DIR/host.json |  <-  |  <- ",
		},
		{
			"version 1",
			map[string]string{"host.json": `{"durableTask":{"HubName":"A","AzureStorageConnectionStringName":"C"}}`},
			nil,
			Options{},
			"C <- durableTask.azureStorageConnectionStringName in DIR/host.json | A <- durableTask.hubName in DIR/host.json |  <-  |  <- ",
		},
		{"version 1 has no extensions", map[string]string{"host.json": `{"extensions":{"durableTask":{"hubName":"A"}}}`}, nil, Options{}, defaults},
		{"version 2 has no durableTask", map[string]string{"host.json": `{"version":"2.0","durableTask":{"hubName":"A"}}`}, nil, Options{}, defaults},
		{
			"comments and commas",
			map[string]string{"host.json": "\ufeff// a\n{\"version\":\"2.0\", /* b } */\n \"extensions\":{\"durableTask\":{\"hubName\":\"A//*\",},},}\n//"},
			nil,
			Options{},
			"AzureWebJobsStorage <- the default | A//* <- extensions.durableTask.hubName in DIR/host.json |  <-  |  <- ",
		},
		{
			"connectionName", host(`"storageProvider":{"connectionName":"C"}`), nil,
			Options{},
			"C <- extensions.durableTask.storageProvider.connectionName in DIR/host.json | DurableFunctionsHub <- the default |  <-  |  <- ",
		},
		{
			"connectionStringName", host(`"storageProvider":{"type":"azurestorage","connectionStringName":"C"}`), nil,
			Options{},
			"C <- extensions.durableTask.storageProvider.connectionStringName in DIR/host.json | DurableFunctionsHub <- the default |  <-  |  <- ",
		},
		{
			"the old key goes first", host(`"azureStorageConnectionStringName":"A","storageProvider":{"connectionName":"C"}`), nil,
			Options{},
			"A <- extensions.durableTask.azureStorageConnectionStringName in DIR/host.json | DurableFunctionsHub <- the default |  <-  |  <- ",
		},
		{
			"options go first", host(`"hubName":"A","storageProvider":{"connectionName":"C"}`), nil,
			Options{ConnectionName: Value{"X", "option --x"}, TaskHub: Value{"Y", "option --y"}},
			"X <- option --x | Y <- option --y |  <-  |  <- ",
		},
		{"null is nothing", host(`"hubName":null,"storageProvider":null`), nil, Options{}, defaults},
		{"empty is nothing", host(`"hubName":""`), nil, Options{}, defaults},

		{
			"expanded", host(`"hubName":"x%HUB%y%HUB%","storageProvider":{"connectionName":"%CONN%"}`),
			map[string]string{"HUB": "A", "CONN": "C"},
			Options{},
			"C <- extensions.durableTask.storageProvider.connectionName in DIR/host.json, with environment variable CONN | " +
				"xAyA <- extensions.durableTask.hubName in DIR/host.json, with environment variable HUB, with environment variable HUB |  <-  |  <- ",
		},
		{
			"expanded from local.settings.json", local(`"hubName":"%hub%"`, `"HUB":"A"`), nil,
			Options{},
			"AzureWebJobsStorage <- the default | A <- extensions.durableTask.hubName in DIR/host.json, with hub in DIR/local.settings.json |  <-  |  <- ",
		},
		{"nothing to expand with", host(`"hubName":"%HUB%"`), nil, Options{}, "error: %HUB% is not an environment variable, and DIR has no local.settings.json"},
		{"half of a pair", host(`"hubName":"%HUB"`), nil, Options{}, "error: a % without another one"},
		{"not a name", host(`"hubName":"%%"`), nil, Options{}, "error: is not the name of a setting"},
		{
			"an option needs no expansion", host(`"hubName":"%HUB%"`), nil,
			Options{TaskHub: Value{"Y", "option --y"}},
			"AzureWebJobsStorage <- the default | Y <- option --y |  <-  |  <- ",
		},

		{
			"tracking store", host(`"storageProvider":{"trackingStoreConnectionStringName":"T","trackingStoreNamePrefix":"P"}`), nil,
			Options{},
			"AzureWebJobsStorage <- the default | DurableFunctionsHub <- the default | " +
				"T <- extensions.durableTask.storageProvider.trackingStoreConnectionStringName in DIR/host.json | " +
				"P <- extensions.durableTask.storageProvider.trackingStoreNamePrefix in DIR/host.json",
		},
		{
			"tracking store, newer key", host(`"storageProvider":{"trackingStoreConnectionName":"T"}`), nil,
			Options{},
			"AzureWebJobsStorage <- the default | DurableFunctionsHub <- the default | " +
				"T <- extensions.durableTask.storageProvider.trackingStoreConnectionName in DIR/host.json | DurableTask <- the default",
		},
		{"a prefix without a store is not used", host(`"storageProvider":{"trackingStoreNamePrefix":"P"}`), nil, Options{}, defaults},
		{
			"a prefix by option is", nil, nil,
			Options{TrackingPrefix: Value{"P", "option --p"}},
			"AzureWebJobsStorage <- the default | DurableFunctionsHub <- the default |  <-  | P <- option --p",
		},

		{"Netherite", host(`"storageProvider":{"type":"NETHERITE"}`), nil, Options{}, "error: the Netherite storage provider for Durable Functions is not yet supported by this command"},
		{"MSSQL", host(`"storageProvider":{"Type":"mssql"}`), nil, Options{}, "error: the MSSQL storage provider for Durable Functions is not yet supported by this command"},
		{"another backend", host(`"storageProvider":{"type":"Redis"}`), nil, Options{}, "error: storageProvider.type in DIR/host.json: it is none of"},
		{"host.json left alone", map[string]string{"host.json": "{"}, nil, Options{NoHostFile: true}, defaults},

		{"cut", map[string]string{"host.json": "{\n\n\"a\":"}, nil, Options{}, "error: DIR/host.json, line 3: unexpected end of JSON input"},
		{"empty file", map[string]string{"host.json": ""}, nil, Options{}, "error: DIR/host.json, line 1: unexpected end of JSON input"},
		{"an array", map[string]string{"host.json": "[1]"}, nil, Options{}, "error: DIR/host.json: it is not a JSON object"},
		{"null", map[string]string{"host.json": "null"}, nil, Options{}, "error: DIR/host.json: it is not a JSON object"},
		{"a comment without end", map[string]string{"host.json": "{ /*"}, nil, Options{}, "error: DIR/host.json, line 1: "},
		{"provider is text", host(`"storageProvider":"x"`), nil, Options{}, "error: extensions.durableTask.storageProvider in DIR/host.json: it is not an object"},
		{"hub is a number", host(`"hubName":7`), nil, Options{}, "error: extensions.durableTask.hubName in DIR/host.json: it is not a string"},
		{"partition count is text", host(`"storageProvider":{"partitionCount":"many"}`), nil, Options{}, "error: partitionCount in DIR/host.json: it is not a number"},
		{"a folder", map[string]string{"host.json/x": ""}, nil, Options{}, "error: host.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, tt.files)
			tt.opts.Dir, tt.opts.LookupEnv = dir, env(tt.env)
			a, err := Load(tt.opts)
			if part, ok := strings.CutPrefix(tt.want, "error: "); ok {
				if err == nil || !strings.Contains(show(Value{From: err.Error()}, dir), part) {
					t.Errorf("Load = %v, want %q in it", err, part)
				}
				return
			}
			if err != nil {
				t.Fatalf("Load = %v", err)
			}
			got := strings.Join([]string{
				show(a.ConnectionName, dir), show(a.TaskHub, dir), show(a.TrackingConnectionName, dir), show(a.TrackingPrefix, dir),
			}, " | ")
			if got != tt.want {
				t.Errorf("Load:\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestPartitionCount(t *testing.T) {
	for text, want := range map[string]int{
		`{"version":"2.0","extensions":{"durableTask":{"storageProvider":{"partitionCount":7}}}}`:   7,
		`{"version":"2.0","extensions":{"durableTask":{"storageProvider":{"partitionCount":"7"}}}}`: 7,
		`{"durableTask":{"partitionCount":7}}`:                                                      7,
		`{}`:                                                                                        0,
	} {
		a, err := Load(Options{Dir: folder(t, map[string]string{"host.json": text}), LookupEnv: env(nil)})
		if err != nil || a.PartitionCount != want || (a.PartitionCountFrom == "") != (want == 0) {
			t.Errorf("Load(%s): %d from %q, %v; want %d", text, a.PartitionCount, a.PartitionCountFrom, err, want)
		}
	}
}

const secret = "AccountName=a;AccountKey=c2VjcmV0"

func TestConnection(t *testing.T) {
	local := func(values string) map[string]string {
		return map[string]string{"local.settings.json": `{"IsEncrypted":false,"Values":{` + values + `}}`}
	}
	identity := func(c *Connection) string {
		var set []string
		for _, v := range []Value{c.AccountName, c.BlobServiceURI, c.QueueServiceURI, c.TableServiceURI, c.Credential, c.ClientID, c.TenantID} {
			set = append(set, v.Text)
		}
		return strings.Join(set, ",")
	}
	const text = secret
	tests := []struct {
		name  string
		files map[string]string
		env   map[string]string
		want  string // connection string or settings of the identity, <-, From; or error: and a part of it
	}{
		{"environment", nil, map[string]string{"S": text}, text + " <- environment variable S"},
		{"environment goes first", local(`"S":"other"`), map[string]string{"S": text}, text + " <- environment variable S"},
		{"local.settings.json", local(`"s":"` + text + `"`), nil, text + " <- S in DIR/local.settings.json"},
		{"empty is not set", local(`"S":"` + text + `"`), map[string]string{"S": ""}, text + " <- S in DIR/local.settings.json"},
		{"comments and commas", map[string]string{"local.settings.json": "{\"IsEncrypted\":false,//\n\"Values\":{\"S\":\"" + text + "\",},}"}, nil, text + " <- S in DIR/local.settings.json"},
		{"an encrypted file that is not needed", map[string]string{"local.settings.json": `{"IsEncrypted":true}`}, map[string]string{"S": text}, text + " <- environment variable S"},
		{"account", nil, map[string]string{"S__accountName": "acc"}, "acc,,,,,, <- environment variable S__accountName"},
		{"a connection string goes before an identity", nil, map[string]string{"S__accountName": "acc", "S": text}, text + " <- environment variable S"},
		{
			"identity", local(`"S:accountName":"acc","S__credential":"managedidentity","s:CLIENTID":"id","S:tenantId":"t"`), nil,
			"acc,,,,managedidentity,id,t <- S:accountName in DIR/local.settings.json",
		},
		{"addresses", local(`"S__blobServiceUri":"b","S__queueServiceUri":"q","S__tableServiceUri":"t"`), nil, ",b,q,t,,, <- S__blobServiceUri in DIR/local.settings.json"},
		{"some from each", local(`"S__queueServiceUri":"q","S__tableServiceUri":"t"`), map[string]string{"S__blobServiceUri": "b"}, ",b,q,t,,, <- environment variable S__blobServiceUri"},
		{"not all addresses", local(`"S__blobServiceUri":"b"`), nil, "error: no storage connection string found: of S there is neither"},

		{"nothing", nil, nil, "error: no storage connection string found: S is not an environment variable, and "},
		{"another name", local(`"T":"` + text + `"`), nil, "error: no storage connection string found: S is neither an environment variable nor in DIR/local.settings.json"},
		{"only host.json", map[string]string{"host.json": "{}"}, nil, "error: DIR has no local.settings.json"},
		{"encrypted", map[string]string{"local.settings.json": `{"IsEncrypted":true,"Values":{"S":"` + text + `"}}`}, nil, `error: S is not an environment variable, and DIR/local.settings.json is encrypted`},
		{"perhaps encrypted", map[string]string{"local.settings.json": `{"Values":{"S":"` + text + `"}}`}, nil, "error: DIR/local.settings.json is encrypted (it does not say"},
		{"encrypted or not", map[string]string{"local.settings.json": `{"IsEncrypted":"no","Values":{"S":"` + text + `"}}`}, nil, "error: IsEncrypted is neither true nor false"},
		{"an object", local(`"S":{"a":"` + text + `"}`), nil, "error: Values.S in DIR/local.settings.json: it is neither a string nor a number"},
		{"cut", map[string]string{"local.settings.json": `{"IsEncrypted":false,"Values":{"S":"` + text}, nil, "error: DIR/local.settings.json, line 1: unexpected end of JSON input"},
		{"not quoted", map[string]string{"local.settings.json": `{"IsEncrypted":false,"Values":{"S":` + text + `}}`}, nil, "error: DIR/local.settings.json, line 1: invalid character 'A'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, tt.files)
			a, err := Load(Options{Dir: dir, LookupEnv: env(tt.env), NoHostFile: true})
			if err != nil {
				t.Fatal(err)
			}
			c, err := a.Connection(Value{"S", "the default"})
			if printed := fmt.Sprintf("%v %+v %#v %s %q", err, c, c, c.ConnectionString, c.ConnectionString); strings.Contains(printed, "c2VjcmV0") {
				t.Errorf("Connection shows a secret: %s", printed)
			}
			if part, ok := strings.CutPrefix(tt.want, "error: "); ok {
				if err == nil || !strings.Contains(show(Value{From: err.Error()}, dir), part) {
					t.Errorf("Connection = %v, want %q in it", err, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := c.ConnectionString.Text
			if got == "" {
				got = identity(&c)
			}
			if got = show(Value{got, c.From()}, dir); got != tt.want {
				t.Errorf("Connection:\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// local.settings.json is looked for up to the root, but not past an app.
func TestWalkUp(t *testing.T) {
	settings := `{"IsEncrypted":false,"Values":{"S":"` + secret + `"}}`
	dir := folder(t, map[string]string{
		"local.settings.json": settings, "a/b/c/x": "", "app/host.json": "{}", "app/sub/x": "",
	})
	for sub, found := range map[string]bool{".": true, "a/b/c": true, "app": false, "app/sub": false} {
		a, err := Load(Options{Dir: filepath.Join(dir, sub), LookupEnv: env(nil)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Connection(a.ConnectionName)
		if !errors.Is(err, ErrNotSet) {
			t.Errorf("Connection(AzureWebJobsStorage) from %s = %v, want %v", sub, err, ErrNotSet)
		}
		c, err = a.Connection(Value{"S", "option --s"})
		if (err == nil) != found {
			t.Errorf("Connection from %s: %v, want it to be found: %v", sub, err, found)
		}
		if want := "S in " + filepath.Join(dir, "local.settings.json") + ", which option --s names"; found && c.From() != want {
			t.Errorf("From = %q, want %q", c.From(), want)
		}
	}
}

func TestConnectionStringAsName(t *testing.T) {
	a, err := Load(Options{Dir: t.TempDir(), LookupEnv: env(nil)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Connection(Value{secret, "option --s"})
	if want := "option --s: it is not the name of a setting"; err == nil || err.Error() != want {
		t.Errorf("Connection = %v, want %q", err, want)
	}
}

// Files of any content: no panic, no endless loop, and no value of
// local.settings.json in an error.
func FuzzFiles(f *testing.F) {
	for _, text := range []string{
		`{"version":"2.0","extensions":{"durableTask":{"hubName":"%A%","storageProvider":{"connectionName":"S","partitionCount":4}}}}`,
		`{"durableTask":{"HubName":"A","azureStorageConnectionStringName":"B"}}`,
		`{"IsEncrypted":false,"Values":{"S":"c2VjcmV0","S:accountName":"a","n":1,"b":true,"z":null}}`,
		"{ // a\n \"a\": [1,2,],/* */ \"b\\\"//\": {},\n}", `{"Values":`, "\ufeff{}", "{/*", `"`, `{"a":"\`,
	} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, host, local string) {
		dir := folder(t, map[string]string{hostName: host, localName: local})
		a, err := Load(Options{Dir: dir, LookupEnv: env(nil)})
		if err != nil {
			if strings.Contains(err.Error(), "c2VjcmV0") && !strings.Contains(host, "c2VjcmV0") {
				t.Errorf("Load shows a secret: %v", err)
			}
			return
		}
		if a.ConnectionName.Text == "" || a.TaskHub.Text == "" {
			t.Errorf("Load = %+v, without a name", a)
		}
		c, err := a.Connection(Value{"S", "the default"})
		if printed := fmt.Sprintf("%v %+v", err, c); strings.Contains(printed, "c2VjcmV0") {
			t.Errorf("Connection shows a secret: %s", printed)
		}
	})
}

// plainJSON leaves what is JSON already alone.
func TestPlainJSON(t *testing.T) {
	for _, text := range []string{`{"a":"//,}","b":[1,2],"c":"\"/*"}`, `[]`, ``} {
		if got := string(plainJSON([]byte(text))); got != text {
			t.Errorf("plainJSON(%s) = %s", text, got)
		}
	}
	for text, want := range map[string]string{
		"[1,/*\n*/]": "[1   \n  ]", "{\"a\":1, }//": "{\"a\":1  }  ", "[,]": "[ ]", "\ufeff{}": "   {}",
	} {
		if got := string(plainJSON([]byte(text))); got != want {
			t.Errorf("plainJSON(%q) = %q, want %q", text, got, want)
		}
	}
}
