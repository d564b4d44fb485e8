package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	optEntityName = "entity-name"
	optEntityKey  = "entity-key"
	optLastAfter  = "last-operation-after"
	optLastBefore = "last-operation-before"
)

func getEntityCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "get-entity",
		Usage: "show the state of one entity",
		Description: description(
			"Shows one entity: its state, when it last did anything, who has locked it and how many\n"+
				"operations wait for it. exists is false for an entity that was deleted. An entity that\n"+
				"never did anything is an answer, not an error. Names are taken in any case, keys as given.",
			[]string{
				"taskhub get-entity --snapshot orders.taskhub --entity-name counter --entity-key c1",
				"taskhub get-entity --task-hub-name Orders --id '@counter@c1' --json | jq .state",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: optEntityName, Usage: "the entity's `NAME`"},
			&cli.StringFlag{Name: optEntityKey, Usage: "the entity's `KEY`, which may be empty"},
			&cli.StringFlag{Name: "id", Usage: "both at once, as instance `ID` @NAME@KEY"},
			maxPayloadFlag(),
		},
	}, runGetEntity)
}

func runGetEntity(s *session) error {
	id, err := s.entityID()
	if err != nil {
		return err
	}
	return s.withQuery(func(q *manage.Query) error {
		e, err := q.Entity(s.ctx, id)
		switch {
		case err != nil:
			return err
		case e == nil && s.json:
			return writeJSON(s.stdout, notFoundReport{"not-found", id.String()})
		case e == nil:
			_, err := fmt.Fprintf(s.stdout, "Could not find an entity with id '%s'\n", ui.Escape(id.String()))
			return err
		}
		return s.printState(e.AppendJSON(nil), "entity", e.Problems)
	})
}

// entityID returns the entity that the options name.
func (s *session) entityID() (schema.EntityID, error) {
	if s.IsSet("id") {
		if s.IsSet(optEntityName) || s.IsSet(optEntityKey) {
			return schema.EntityID{}, s.usagef("--id and --%s or --%s contradict each other", optEntityName, optEntityKey)
		}
		id, ok := schema.ParseEntityID(s.String("id"))
		if !ok {
			return schema.EntityID{}, s.usagef("option --id: %q is not the ID of an entity, which is @NAME@KEY", s.String("id"))
		}
		return id, nil
	}
	name, err := s.text(optEntityName)
	if err != nil {
		return schema.EntityID{}, err
	}
	if !s.IsSet(optEntityKey) {
		return schema.EntityID{}, s.usagef("option --%s is missing", optEntityKey)
	}
	return schema.EntityID{Name: name, Key: s.String(optEntityKey)}, nil
}

func listEntitiesCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "list-entities",
		Usage: "list entities and their states",
		Description: description(
			"Lists entities in the order of their keys: a JSON array, and below it a continuation\n"+
				"token, which is empty at the end. The token goes on with --continuation-token where the\n"+
				"list stopped. With --json there is one object a line and a last one with the token.\n"+
				"Entities without a state, such as deleted ones, are left out unless --include-deleted.",
			[]string{
				"taskhub list-entities --snapshot orders.taskhub --entity-name counter",
				"taskhub list-entities --task-hub-name Orders --json | jq -r 'select(.locked_by) | .entityId.key'",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: optEntityName, Usage: "only entities called `NAME`, in any case"},
			&cli.StringFlag{Name: optIDPrefix, Usage: "only entities whose IDs begin with `TEXT`, such as @counter@c"},
			&cli.StringFlag{Name: optLastAfter, Usage: "only entities whose last operation was at `TIME` or later"},
			&cli.StringFlag{Name: optLastBefore, Usage: "only entities whose last operation was at `TIME` or earlier"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "include-deleted", Usage: "list entities without a state, too"},
			&cli.IntFlag{Name: "top", Value: 100, Usage: "list at most `N` entities"},
			&cli.StringFlag{Name: "continuation-token", Usage: "go on where `TOKEN` says"},
			&cli.BoolFlag{Name: "show-state", Value: true, Usage: "show states; without them what counts is the custom status"},
			maxPayloadFlag(),
		},
	}, runListEntities)
}

func runListEntities(s *session) error {
	f := manage.EntityFilter{Name: s.String(optEntityName), IDPrefix: s.String(optIDPrefix), Deleted: s.Bool("include-deleted")}
	if s.IsSet(optEntityName) && f.Name == "" {
		return s.usagef("option --%s is empty", optEntityName)
	}
	var err error
	if f.From, f.To, err = s.window(optLastAfter, optLastBefore); err != nil {
		return err
	}
	top, token, err := s.page()
	if err != nil {
		return err
	}
	return s.withQuery(func(q *manage.Query) error {
		list := listWriter{s: s}
		for {
			page, err := q.Entities(s.ctx, f, s.Bool("show-state"), top, token)
			if err != nil {
				return err
			}
			for i := range page.Entities {
				e := &page.Entities[i]
				for _, p := range e.Problems {
					s.warn(p)
				}
				list.document(e.AppendJSON(nil), "entity")
			}
			top -= len(page.Entities)
			if token = page.Next; top == 0 || token == "" {
				return list.end(token)
			}
		}
	})
}

// page returns the options that say which part of a list to show.
func (s *session) page() (top int, token manage.Token, err error) {
	top, token = s.Int("top"), manage.Token(s.String("continuation-token"))
	if top < 1 {
		return 0, "", s.usagef("option --top: must be at least 1")
	}
	if !token.Valid() {
		return 0, "", s.usagef("option --continuation-token: %v", manage.ErrToken)
	}
	return top, token, nil
}
