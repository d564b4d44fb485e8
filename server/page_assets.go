package server

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// asset is a static file of the page.
type asset struct {
	content     []byte
	contentType string
	etag        string
}

// assets are the static files by the path of their requests.
var assets = loadAssets(pageFiles)

type assetSet struct{ byPath map[string]*asset }

func loadAssets(files fs.ReadDirFS) assetSet {
	set := assetSet{byPath: make(map[string]*asset)}
	entries, err := files.ReadDir("page")
	if err != nil {
		panic("server: internal error: " + err.Error()) // the folder is part of the program
	}
	for _, e := range entries {
		content, err := fs.ReadFile(files, "page/"+e.Name())
		if err != nil {
			panic("server: internal error: " + err.Error())
		}
		sum := sha256.Sum256(content)
		a := &asset{
			content: content, contentType: assetType(e.Name()),
			etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		}
		if e.Name() == "index.html" {
			set.byPath["/"] = a
		} else {
			set.byPath[assetPath+e.Name()] = a
		}
	}
	return set
}

// assetType does not ask the system, whose tables differ from machine to machine.
func assetType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	}
	return "application/octet-stream"
}

// serve answers with the file, or without it if the browser has it already. The
// browser asks each time, so that the files of two versions never meet.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == a.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.content) // nobody is left to tell if it fails
	}
}
