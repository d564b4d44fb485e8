package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// entityID returns the entity that the path names.
func (c *call) entityID() schema.EntityID { return schema.EntityID{Name: c.first, Key: c.second} }

// signal asks an entity for an operation.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:314-347, 1046-1092. An
// entity that does not exist is made by the first signal, so that it is not known
// here whether the app has such a one.
func (c *call) signal() {
	operation, _ := c.query.text("op")
	text, err := c.body()
	if err != nil {
		c.fail(err)
		return
	}
	input := schema.Optional[string]{Value: text, Set: text != ""}
	switch {
	case text == "":
	case !c.isJSON():
		input.Value = string(appendString(nil, text))
	default:
		if bad := checkJSON(text); bad != nil {
			writeMessage(c.w, http.StatusBadRequest, "Could not parse JSON content: "+bad.text)
			return
		}
	}
	c.send(operation, input)
}

// deleteEntity asks an entity to delete its state.
func (c *call) deleteEntity() { c.send("delete", schema.Optional[string]{}) }

func (c *call) send(operation string, input schema.Optional[string]) {
	if c.first == "" {
		writeMessage(c.w, http.StatusBadRequest, "Invalid entity id: entity name must not be a null or empty string. (Parameter 'entityName')")
		return
	}
	if name := strings.ToLower(c.first); !named(c.s.opts.Entities, name) {
		writeMessage(c.w, http.StatusBadRequest, unknownFunction(name, "entity", c.s.opts.Entities))
		return
	}
	k, err := c.control()
	if err == nil {
		_, err = k.SignalEntity(c.r.Context(), manage.Signal{Entity: c.entityID(), Operation: operation, Input: input})
	}
	var argument *manage.ArgumentError
	switch {
	case errors.As(err, &argument) && !isPlainID(c.second):
		writeMessage(c.w, http.StatusBadRequest, `entityKey (Parameter 'Entity keys must not contain /, \, #, ?, or control characters.')`)
	case errors.As(err, &argument):
		writeMessage(c.w, http.StatusBadRequest, argument.Error())
	default:
		c.operated(err)
	}
}

// entity answers with the state of an entity.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:1022-1044.
func (c *call) entity() {
	id := c.entityID()
	if id.Key == "$" {
		id.Key = "" // which a path cannot have
	}
	e, err := c.hub.query.Entity(c.r.Context(), id)
	switch {
	case err != nil:
		c.fail(err)
	case e == nil:
		c.notFound()
	case len(e.Problems) > 0:
		c.fail(errors.Join(e.Problems...))
	case e.Scheduler == nil || !e.Scheduler.State.Set:
		c.notFound()
	default:
		b := c.newBody(http.StatusOK)
		b.value(stateOf(e))
		b.end()
	}
}

// stateOf returns the user's state of an entity.
func stateOf(e *manage.Entity) schema.Text {
	if e.Scheduler == nil {
		return schema.Text{}
	}
	return schema.Text{Value: e.Scheduler.State.Value, Set: e.Scheduler.State.Set}
}

// entities answers with a page of entities.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:513-552,
// DurableEntityStatus.cs:20-88.
func (c *call) entities() {
	f := manage.EntityFilter{Name: c.first}
	f.From, _ = c.query.time("lastOperationTimeFrom")
	var ok bool
	if f.To, ok = c.query.time("lastOperationTimeTo"); !ok {
		f.To = schema.TicksOf(c.s.opts.Now())
	}
	fetch := c.query.truth("fetchState", false)
	top, token, bad := c.page()
	if bad != nil {
		bad.write(c.w)
		return
	}
	p, err := c.hub.query.Entities(c.r.Context(), f, fetch, top, token)
	if err != nil {
		c.fail(err)
		return
	}
	for i := range p.Entities {
		c.problems(p.Entities[i].Problems)
	}
	c.next(p.Next)
	b := c.newBody(http.StatusOK)
	b.add("[")
	for i := range p.Entities {
		e := &p.Entities[i]
		if i > 0 {
			b.add(",")
		}
		b.add(`{"entityId":{"name":`)
		b.str(e.ID.Name)
		b.add(`,"key":`)
		b.str(e.ID.Key)
		b.add(`},"lastOperationTime":`)
		b.time(e.LastOperation, "Z")
		b.add(`,"state":`)
		b.value(stateOf(e))
		b.add("}")
	}
	b.add("]")
	b.end()
}
