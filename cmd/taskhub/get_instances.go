package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
)

func getInstancesCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "get-instances",
		Usage: "list the states of instances",
		Description: description(
			"Lists instances in the order of their keys, with filters, as \"func durable get-instances\"\n"+
				"does: a JSON array, and below it a continuation token, which is empty at the end. The\n"+
				"token goes on with --continuation-token where the list stopped; it is valid for the\n"+
				"hub and for any capture of it, and tells nothing but where to go on. With --json there is one object\n"+
				"a line and a last one with the token.",
			[]string{
				"taskhub get-instances --snapshot orders.taskhub --runtime-status failed --top 100",
				"taskhub get-instances --snapshot orders.taskhub --created-after 2026-11-22T04:00Z --json",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			createdAfterFlag(), createdBeforeFlag(), statusFlag(), nameFlag(), idPrefixFlag(),
			&cli.BoolFlag{DisableDefaultText: true, Name: "no-entities", Usage: "leave out entities"},
			&cli.IntFlag{Name: "top", Value: 10, Usage: "list at most `N` instances"},
			&cli.StringFlag{Name: "continuation-token", Usage: "go on where `TOKEN` says"},
			&cli.BoolFlag{Name: "show-input", Value: true, Usage: "show inputs"},
			&cli.BoolFlag{Name: "show-output", Value: true, Usage: "show outputs"},
			maxPayloadFlag(),
		},
	}, runGetInstances)
}

func runGetInstances(s *session) error {
	var f manage.Filter
	var err error
	if f.Statuses, err = s.statuses(); err != nil {
		return err
	}
	if f.Names, err = s.nonEmpty(optName); err != nil {
		return err
	}
	if f.CreatedFrom, f.CreatedTo, err = s.window(optCreatedAfter, optCreatedBefore); err != nil {
		return err
	}
	f.IDPrefix = s.String(optIDPrefix)
	f.NoEntities = s.Bool("no-entities")
	top, token, err := s.page()
	if err != nil {
		return err
	}
	return s.withQuery(func(q *manage.Query) error {
		list := listWriter{s: s}
		for {
			page, err := q.List(s.ctx, f, s.show(), top, token)
			if err != nil {
				return err
			}
			for i := range page.States {
				list.write(&page.States[i])
			}
			top -= len(page.States)
			if token = page.Next; top == 0 || token == "" {
				return list.end(token)
			}
		}
	})
}

// show returns the payloads that --show-input and --show-output ask for.
func (s *session) show() manage.Show {
	show := manage.ShowNone
	if s.Bool("show-input") {
		show |= manage.ShowInput
	}
	if s.Bool("show-output") {
		show |= manage.ShowOutput
	}
	return show
}

// withQuery runs do with the hub that the options name.
func (s *session) withQuery(do func(*manage.Query) error) error {
	limit, err := s.size(optMaxPayload)
	if err != nil {
		return err
	}
	return s.withSource(func(r hub.Reader) error {
		q, err := manage.New(s.ctx, r, manage.Options{MaxPayloadBytes: limit})
		if err != nil {
			return err
		}
		return do(q)
	})
}

// listWriter writes documents as elements of an indented array, or with --json
// one a line. Errors of stdout come with its Flush.
type listWriter struct {
	s *session
	n int
}

func (l *listWriter) write(state *manage.State) {
	for _, p := range state.Problems {
		l.s.warn(p)
	}
	l.document(state.AppendJSON(nil), "instance")
}

// document writes one compact JSON object.
func (l *listWriter) document(doc []byte, kind string) {
	out := l.s.stdout
	if l.s.json {
		_, _ = fmt.Fprintf(out, "%s\n", typed(doc, kind))
		l.n++
		return
	}
	if l.n == 0 {
		_, _ = out.WriteString("[\n  ")
	} else {
		_, _ = out.WriteString(",\n  ")
	}
	l.n++
	_, _ = out.Write(indented(doc, "  "))
}

// close ends the array.
func (l *listWriter) close() {
	switch {
	case l.s.json:
	case l.n == 0:
		_, _ = l.s.stdout.WriteString("[]\n")
	default:
		_, _ = l.s.stdout.WriteString("\n]\n")
	}
}

func (l *listWriter) end(token manage.Token) error {
	l.close()
	if l.s.json {
		return writeJSON(l.s.stdout, pageReport{"page", l.n, token})
	}
	_, err := fmt.Fprintf(l.s.stdout, "Continuation token for next set of results: '%s'\n", token)
	return err
}

// pageReport is the last line of a list with --json.
type pageReport struct {
	Type  string       `json:"type"`
	Count int          `json:"count"`
	Token manage.Token `json:"continuation_token"`
}

// typed puts "type" before the members of a compact object.
func typed(doc []byte, kind string) []byte {
	return append([]byte(`{"type":"`+kind+`",`), doc[1:]...)
}

// indented returns a compact document on several lines, as the framework
// prints it. Text that is not JSON after all stays as it is.
func indented(doc []byte, prefix string) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, doc, prefix, "  "); err != nil {
		return doc
	}
	return b.Bytes()
}
