package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	asJSON := wantsJSON(args)
	err := app.RunContext(ctx, expandArgs(args, app.Commands))
	var ofLibrary cli.ExitCoder
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = errInterrupted
	case errors.As(err, &ofLibrary): // of its command help only
		err = usagef("", "unknown command %q", args[len(args)-1])
	}
	report(stderr, err, asJSON)
	return exitCode(err)
}

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:  "taskhub",
		Usage: "look into Durable Functions task hubs, and operate them, without running them",
		Description: "A task hub is what Durable Functions keeps in Azure Storage: tables, queues and blobs.\n" +
			"taskhub reads hubs in storage accounts, and captures of hubs, which are files that end in\n" +
			".taskhub. Commands that change a hub show what they would do and ask before they do it, and serve\n" +
			"lets its clients change one unless it is told not to; no other command changes or creates anything\n" +
			"in an account.\n\n" +
			"\"taskhub COMMAND --help\" explains a command, with examples and its exit codes.",
		Version:   version(),
		Writer:    stdout,
		ErrWriter: stderr,
		Commands: []*cli.Command{
			hubsCommand(),
			infoCommand(),
			queuesCommand(),
			getInstancesCommand(),
			getRuntimeStatusCommand(),
			getHistoryCommand(),
			getEntityCommand(),
			listEntitiesCommand(),
			explainCommand(),
			replayCommand(),
			verifyCommand(),
			diffCommand(),
			waitCommand(),
			waitIdleCommand(),
			exportCommand(),
			captureCommand(),
			restoreCommand(),
			migrateCommand(),
			repairCommand(),
			startNewCommand(),
			raiseEventCommand(),
			signalEntityCommand(),
			terminateCommand(),
			suspendCommand(),
			resumeCommand(),
			rewindCommand(),
			restartCommand(),
			setCustomStatusCommand(),
			purgeHistoryCommand(),
			deleteTaskHubCommand(),
			serveCommand(),
		},
		Action:                    rootAction,
		OnUsageError:              onUsageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // exit.go decides
		DisableSliceFlagSeparator: true,                         // an ID may have a comma
	}
}

// rootAction runs when no command has the name given.
func rootAction(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		return usagef("", "unknown command %q", name)
	}
	c.App.Writer = c.App.ErrWriter // not what a script wants to read
	if err := cli.ShowAppHelp(c); err != nil {
		return err
	}
	return usagef("", "no command given")
}

// command completes a command that reads a hub. do gets a context whose options
// are parsed and which has no arguments left.
func command(c *cli.Command, do func(*session) error) *cli.Command {
	return commandWith(sourceFlags(), c, do)
}

// commandWith completes a command that reads what the options in source name.
func commandWith(source []cli.Flag, c *cli.Command, do func(*session) error) *cli.Command {
	c.HideHelpCommand = true
	c.OnUsageError = onUsageError
	c.Flags = append(append(source, c.Flags...), jsonFlag())
	c.Action = func(ctx *cli.Context) error {
		if ctx.Args().Present() {
			// Options after it would have been ignored.
			return usagef(c.Name, "unexpected argument %q", ctx.Args().First())
		}
		s := newSession(ctx)
		return s.end(do(s))
	}
	return c
}

// onUsageError puts the errors of package flag into our words.
func onUsageError(c *cli.Context, err error, isSubcommand bool) error {
	name := ""
	if isSubcommand {
		name = c.Command.Name
	}
	text := err.Error()
	if rest, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return usagef(name, "unknown option --%s", strings.TrimPrefix(rest, "-"))
	}
	if rest, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef(name, "option --%s needs a value", strings.TrimPrefix(rest, "-"))
	}
	if value, rest, ok := strings.Cut(text, " for flag -"); ok && strings.HasPrefix(value, "invalid value ") {
		option, _, _ := strings.Cut(rest, ":")
		return usagef(name, "option --%s: %s", option, value)
	}
	return usagef(name, "%s", text)
}

// description is the text of a command's help: what it does, examples, and those
// exit codes that it has.
func description(what string, examples []string, codes ...int) string {
	var b strings.Builder
	b.WriteString(what + "\n\nExamples:\n")
	for _, e := range examples {
		b.WriteString("  " + e + "\n")
	}
	b.WriteString("\nExit codes:\n")
	for i, code := range codes {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %3d  %s", code, exitMeaning[code])
	}
	return b.String()
}

// version is that of the module, as the go command has noted it in the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel " + s.Value[:12]
		}
	}
	return "devel"
}
