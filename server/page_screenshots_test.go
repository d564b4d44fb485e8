package server_test

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

var update = flag.Bool("update", false, "make the pictures of docs/screenshots anew")

// maxPicture is how large a picture of the documentation may be.
const maxPicture = 200 << 10

// pictures are what docs/serve.md shows of the page.
var pictures = []struct {
	name          string
	width, height int
	dark          bool
	hub, address  string
	ready         string
	then          func(p *testhub.Page)
}{
	{"instances", 1280, 720, false, "GeneratedHub", "instances", "tbody tr", nil},
	{"timeline", 1280, 640, false, "FuncLab", "instance/parent-1/timeline", ".gantt-rows", func(p *testhub.Page) {
		for _, child := range []string{"parent-1:child", "parent-1:bad"} {
			p.Click(role("button", "What happened in "+child))
			p.Until(quiet + ` && ![...document.querySelectorAll('.gantt-label')].some((e) => e.textContent.includes('Reading'))`)
		}
		p.Evaluate(`document.activeElement.blur()`, nil)
	}},
	{"sequence", 1280, 760, true, "FuncLab", "instance/parent-1/sequence", "svg.sequence", nil},
	{"history", 1280, 720, true, "LabHub", "instance/retry/history", ".history", nil},
	{"diagnosis", 1280, 760, false, "LabHub", "instance/parent-waiting/diagnosis", ".verdict", nil},
	{"health", 1280, 800, false, "PoisonHub", "health", "meter", func(p *testhub.Page) {
		p.Click(role("button", "Verify this hub"))
		p.Wait(css(".verify-results details"))
		p.Click(css(".verify-results summary"))
		p.Wait(css(".finding"))
		p.Evaluate(`scrollTo(0, 0), document.activeElement.blur()`, nil)
	}},
	{"terminate", 1280, 720, false, "OddHub", "instance/children-0", ".payload pre", func(p *testhub.Page) {
		p.Click(role("button", "Terminate"))
		p.Fill(role("textbox", "Reason"), "started twice by mistake")
		p.Fill(role("textbox", "Type the instance ID to confirm"), "children-0")
	}},
	{"phone", 360, 740, true, "GeneratedHub", "instances?status=Running&status=Failed&sort=duration", "tbody tr", nil},
}

// The documentation has the pictures that it shows. With -update they are made anew.
func TestPagePictures(t *testing.T) {
	folder := filepath.Join("..", "docs", "screenshots")
	if *update {
		takePictures(t, folder)
	}
	text, err := os.ReadFile("../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, picture := range pictures {
		content, err := os.ReadFile(filepath.Join(folder, picture.name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := png.DecodeConfig(bytes.NewReader(content))
		if err != nil || c.Width != picture.width || c.Height != picture.height || len(content) > maxPicture {
			t.Errorf("%s: %d by %d, %d bytes, %v", picture.name, c.Width, c.Height, len(content), err)
		}
		if !strings.Contains(string(text), "(screenshots/"+picture.name+".png)") {
			t.Errorf("docs/serve.md does not show %s", picture.name)
		}
	}
	if n := strings.Count(string(text), "(screenshots/"); n != len(pictures) {
		t.Errorf("docs/serve.md shows %d pictures, want %d", n, len(pictures))
	}
}

func takePictures(t *testing.T, folder string) {
	t.Helper()
	made := filepath.Join(t.TempDir(), "made.taskhub")
	if err := testhub.Generate(made, 24_000); err != nil {
		t.Fatal(err)
	}
	generated, err := snapshot.Open(made, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = generated.Close() }) // nothing was written
	live := testhub.NewEditor(testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-odd")))
	opts := pageOptions(
		server.Hub{Reader: generated},
		server.Hub{Reader: testhub.OpenHub(t, "functions-3")},
		server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1")},
		server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1-poisoned")},
		server.Hub{Reader: live, Editor: live},
	)
	opts.Now = func() time.Time { return time.Date(2026, 11, 22, 5, 20, 0, 0, time.UTC) }
	origin := serving(t, opts)
	b := testhub.StartBrowser(t)
	for _, picture := range pictures {
		p := b.Open(t, origin+"/#/hubs/Storage/"+picture.hub+"/"+picture.address, testhub.PageOptions{Width: picture.width, Height: picture.height, Dark: picture.dark})
		p.Wait(css(picture.ready))
		p.Until(quiet)
		if picture.then != nil {
			picture.then(p)
		}
		path := filepath.Join(folder, picture.name+".png")
		p.Screenshot(path)
		squeeze(t, path)
		looked(t, p)
	}
}

// squeeze writes a picture anew with as few bytes as go without a loss.
func squeeze(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	opaque := image.NewNRGBA(img.Bounds())
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			opaque.Set(x, y, img.At(x, y))
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, opaque); err != nil {
		t.Fatal(err)
	}
	if out.Len() >= len(content) {
		return
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
