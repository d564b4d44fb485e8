package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/verify"
)

// Options of repair.
const (
	optApply = "apply"
	optUndo  = "undo"
	optCode  = "code"
)

func repairCommand() *cli.Command {
	return commandWith(sourceFlags(), &cli.Command{
		Name:  "repair",
		Usage: "mend what verify finds, by a plan that can be read first",
		Description: description(
			"With --plan, verifies a hub or a capture, only reading it, and writes a plan: for each finding\n"+
				"that storage itself tells how to mend, the rows before and after and the messages. The plan is\n"+
				"a JSON file to be read, and single repairs can be taken out of it. What is left alone is\n"+
				"listed with the reason; what will mend itself when a worker runs is left alone, too.\n\n"+
				"With --apply, carries out exactly this plan on the hub in the account, while no app runs it. A\n"+
				"row is written only if it is as the plan shows it; a repair whose rows have changed since is\n"+
				"left out and told (4). Before each change, what takes it back is in the undo file; the same\n"+
				"command goes on with a run that was cut off, and --apply UNDOFILE takes everything back,\n"+
				"but for messages that are hidden until they are due or that a worker has taken. At\n"+
				"the end the instances are verified again.\n\n"+
				"The plan of a capture can be applied to the hub that it was taken from.",
			[]string{
				"taskhub repair --plan plan.json --task-hub-name Orders",
				"taskhub repair --plan plan.json --snapshot orders.taskhub --code status-drift,lost-work --id order-17",
				"taskhub repair --apply plan.json --dry-run",
				"taskhub repair --apply plan.json",
				"taskhub repair --apply plan.undo.jsonl",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitSkipped, exitNotFound, exitInUse, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: optPlan, Usage: "find what can be mended, and write the plan to `FILE`"},
			&cli.StringSliceFlag{Name: optCode, Usage: "plan only for findings of this check, `CODE`,…; may be repeated"},
			&cli.StringSliceFlag{Name: "id", Usage: "plan only for this instance `ID`; may be repeated"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optOverwrite, Usage: "replace a plan that exists"},
			maxPayloadFlag(),
			&cli.StringFlag{Name: optApply, Usage: "carry out the plan, or take back what the undo file says, in `FILE`"},
			&cli.StringFlag{Name: optUndo, Usage: "keep what takes it back in `FILE`; by default beside the plan, as PLAN.undo.jsonl"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optForce, Usage: "also while an app runs the hub"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optDryRun, Usage: "say what --apply would do, and do nothing"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optYes, Usage: "do not ask"},
		},
	}, runRepair)
}

func runRepair(s *session) error {
	for _, name := range []string{optPlan, optApply, optUndo} {
		if s.IsSet(name) && s.String(name) == "" {
			return s.usagef("option --%s is empty", name)
		}
	}
	others := []string{optCode, "id", optOverwrite}
	mode, other := optApply, optPlan
	switch plan, apply := s.IsSet(optPlan), s.IsSet(optApply); {
	case plan && apply:
		return s.usagef("--%s and --%s contradict each other: a plan is to be read before it is carried out", optPlan, optApply)
	case !plan && !apply:
		return s.usagef("say --%s FILE to make a plan, or --%s FILE to carry one out", optPlan, optApply)
	case plan:
		mode, other = optPlan, optApply
		others = []string{optUndo, optForce, optDryRun, optYes}
	}
	for _, name := range others {
		if s.IsSet(name) {
			return s.usagef("--%s is about --%s, and not about --%s", name, other, mode)
		}
	}
	if mode == optPlan {
		return runRepairPlan(s)
	}
	return runRepairApply(s)
}

// repairCodes returns the values of --code.
func (s *session) repairCodes() ([]string, error) {
	for _, list := range s.StringSlice(optCode) {
		for _, word := range strings.Split(list, ",") {
			word = strings.ToLower(strings.TrimSpace(word))
			if i := slices.IndexFunc(verify.Checks(), func(c verify.Check) bool { return c.Code == word }); i >= 0 && repair.Why(word) != "" {
				return nil, s.usagef("option --%s: there is no repair for %s: %s", optCode, word, repair.Why(word))
			}
		}
	}
	codes, err := someOf(s, optCode, repair.Codes())
	if len(codes) == 0 {
		codes = nil
	}
	return codes, err
}

// readRepairFile reads a plan or an undo file.
func readRepairFile(path string) (*repair.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	parsed, err := repair.ParseFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return parsed, nil
}

// undoPath is where what takes a file back is kept, unless --undo says so.
func undoPath(path string) string {
	base := strings.TrimSuffix(strings.TrimSuffix(path, ".json"), ".jsonl")
	return base + ".undo.jsonl"
}

// undoFile is a file that is made with the first line, and holds each line when it has
// been written.
type undoFile struct {
	path string
	f    *os.File
}

// Write implements [io.Writer].
func (u *undoFile) Write(p []byte) (int, error) {
	if u.f == nil {
		f, err := os.OpenFile(u.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		u.f = f
	}
	n, err := u.f.Write(p)
	if err == nil {
		err = u.f.Sync()
	}
	return n, err
}

func (u *undoFile) close() error {
	if u.f == nil {
		return nil
	}
	return u.f.Close()
}

// openJournal opens the undo file of a run that carries f out.
func (u *undoFile) openJournal(f *repair.File) (*repair.Journal, error) {
	earlier, err := os.Open(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		if dir, err := os.Stat(filepath.Dir(u.path)); err != nil || !dir.IsDir() {
			return nil, fmt.Errorf("the undo file %s cannot be made: its folder does not exist", u.path)
		}
		return repair.OpenJournal(f, nil, u)
	}
	if err != nil {
		return nil, err
	}
	defer earlier.Close() //nolint:errcheck // only read
	j, err := repair.OpenJournal(f, earlier, u)
	switch {
	case errors.Is(err, repair.ErrFormat):
		return nil, fmt.Errorf("%s is no undo file, and is not written to: name another one with --%s", u.path, optUndo)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: name another one with --%s", u.path, err, optUndo)
	}
	return j, nil
}
