package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// wantsJSON looks for --json before the options are parsed, because an error in
// them is told in the same form.
func wantsJSON(args []string) bool {
	for _, a := range args[min(len(args), 1):] {
		if a == "--" {
			return false
		}
		switch strings.ToLower(strings.TrimLeft(a, "-")) {
		case "json", "json=true", "json:true":
			return strings.HasPrefix(a, "-")
		}
	}
	return false
}

// severalWords are the options that take all words up to the next option.
var severalWords = []string{optStatus}

// expandArgs turns what the framework's command line understands into what
// package flag does: --name:value, --show-input false, --runtime-status
// completed failed, and commands in any case.
//
// Package flag stops at the first argument that does not belong to an option
// and would ignore the options after it.
func expandArgs(args []string, commands []*cli.Command) []string {
	if len(args) < 2 {
		return args
	}
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return strings.EqualFold(c.Name, args[1]) })
	if i < 0 {
		return args
	}
	c := commands[i]
	out := []string{args[0], c.Name}
	rest := args[2:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" || !strings.HasPrefix(arg, "-") {
			return append(append(out, arg), rest...) // the command refuses it
		}
		name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
		value, valued := "", false
		if i := strings.IndexAny(name, "=:"); i >= 0 {
			name, value, valued = name[:i], name[i+1:], true
		}
		f := flagNamed(c, name)
		_, isBool := f.(*cli.BoolFlag)
		switch {
		case f == nil:
			out = append(out, arg)
			continue
		case valued:
		case isBool && len(rest) > 0 && isTruth(rest[0]):
			value, valued, rest = rest[0], true, rest[1:]
		case !isBool && len(rest) > 0:
			value, valued, rest = rest[0], true, rest[1:]
		}
		if isBool {
			value = strings.ToLower(value)
		}
		if !valued {
			out = append(out, "--"+name)
			continue
		}
		out = append(out, "--"+name+"="+value)
		for slices.Contains(severalWords, name) && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			out = append(out, "--"+name+"="+rest[0])
			rest = rest[1:]
		}
	}
	return out
}

func flagNamed(c *cli.Command, name string) cli.Flag {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func isTruth(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }
