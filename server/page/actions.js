// What can be done to an instance of a live hub. All of it goes through the HTTP
// API, after a dialog in which the ID can be seen; what cannot be taken back wants
// it typed.

import { act, path, Problem } from './api.js';
import { field, openDialog } from './dialog.js';
import { h, put, say } from './dom.js';
import { idNode, isPlain } from './format.js';
import { chip, icon } from './icons.js';
import { copyButton } from './parts.js';
import { instanceAddress } from './route.js';

const ended = new Set(['Completed', 'Failed', 'Terminated', 'Canceled']);

// maxTyped is the longest ID that has to be typed.
const maxTyped = 64;

const taken = 'A worker carries it out when it takes the message.';

const reason = { name: 'reason', label: 'Reason', help: 'Becomes part of the history. May be empty.' };

// eventPath is where an event of a name is sent to.
function eventPath(name) {
  const at = path('raiseEvent', name);
  if (at === null) {
    throw new Problem('A browser cannot send an event of that name.', 'Use taskhub raise-event.', 0);
  }
  return at;
}

// actions are what there is to do, in the order in which it is offered.
const actions = [
  {
    name: 'Raise event', when: (i) => !i.entity && !ended.has(i.status),
    text: 'Sends an event to the orchestration. One that nobody waits for yet is kept for it.', done: `The event is on its way. ${taken}`,
    fields: [{ name: 'event', label: 'Event name', required: true }, { name: 'data', label: 'Data', json: true, value: 'null' }],
    run: (hub, at, v) => act(hub, 'POST', `${at}/${eventPath(v.event)}`, {}, v.data),
  },
  {
    name: 'Suspend', when: (i) => !i.entity && !ended.has(i.status) && i.status !== 'Suspended',
    text: 'Pauses the orchestration. Its activities go on; their results wait until it is resumed.', done: `The request is on its way. ${taken}`, fields: [reason],
    run: (hub, at, v) => act(hub, 'POST', `${at}/suspend`, v),
  },
  {
    name: 'Resume', when: (i) => !i.entity && i.status === 'Suspended',
    text: 'Lets the orchestration go on.', done: `The request is on its way. ${taken}`, fields: [reason],
    run: (hub, at, v) => act(hub, 'POST', `${at}/resume`, v),
  },
  {
    name: 'Rewind', when: (i) => !i.entity && i.status === 'Failed',
    text: 'Puts the orchestration back to before its failure, so that what has failed is tried again. Its history is changed.', done: `It is rewound. ${taken}`, fields: [reason], typed: true,
    run: (hub, at, v) => act(hub, 'POST', `${at}/rewind`, v),
  },
  {
    name: 'Restart', when: (i) => !i.entity,
    text: 'Starts the orchestration again with the same input.', done: 'It was started.',
    fields: [{ name: 'restartWithNewInstanceId', label: 'Under a new ID', check: true, value: true, help: 'Otherwise under its own, for which it has to have ended: its history is then replaced.' }],
    run: (hub, at, v) => act(hub, 'POST', `${at}/restart`, v),
  },
  {
    name: 'Signal entity', when: (i) => i.entity,
    text: 'Asks the entity for an operation, without an answer.', done: `The signal is on its way. ${taken}`,
    fields: [{ name: 'op', label: 'Operation' }, { name: 'data', label: 'Input', json: true, value: '' }],
    run: (hub, at, v) => act(hub, 'POST', at, { op: v.op }, v.data === '' ? undefined : v.data),
  },
  {
    name: 'Terminate', danger: true, typed: true, when: (i) => !i.entity && !ended.has(i.status),
    text: 'Ends the orchestration at once. Its activities and sub-orchestrations go on. It cannot be taken back.', done: `The request is on its way. ${taken}`, fields: [reason],
    run: (hub, at, v) => act(hub, 'POST', `${at}/terminate`, v),
  },
  {
    name: 'Purge', danger: true, typed: true, when: (i) => !i.entity && ended.has(i.status),
    text: 'Deletes the instance with its history and its payloads. It cannot be taken back.', done: 'It is deleted.', fields: [],
    run: (hub, at) => act(hub, 'DELETE', at, {}),
  },
];

// pathOf returns where the HTTP API has an instance, null if a browser cannot say it.
function pathOf(i) {
  const at = i.id.indexOf('@', 1);
  return i.entity ? path('entities', i.id.slice(1, at), i.id.slice(at + 1)) : path('instances', i.id);
}

// actionBar offers what can be done to an instance, or says why nothing can.
export function actionBar(hub, instance, changed) {
  if (hub.read_only) {
    return null;
  }
  const possible = actions.filter((a) => a.when(instance) && instance.has_row);
  if (pathOf(instance) === null) {
    return h('p', { class: 'help' }, 'A browser cannot name this ID in a request: use the taskhub command to operate it.');
  }
  return h('div', { class: 'actions', role: 'group', 'aria-label': 'Actions' }, possible.map((a) => h('button', {
    type: 'button', class: a.danger ? 'danger' : null, onclick: () => ask(hub, instance, a, changed),
  }, a.name)));
}

function ask(hub, instance, action, changed) {
  const { dialog, body } = openDialog(action.name);
  const inputs = action.fields.map((f) => [f, input(f)]);
  const confirm = action.typed ? confirmation(instance.id, action.name) : null;
  const problem = h('div', { role: 'alert' });
  const submit = h('button', { class: action.danger ? 'danger solid' : 'primary', disabled: confirm !== null }, action.name);
  confirm?.input.addEventListener('input', () => {
    submit.disabled = !confirm.right();
  });
  const form = h('form', {
    onsubmit: async (event) => {
      event.preventDefault();
      submit.disabled = true;
      put(problem);
      try {
        const answer = await action.run(hub, pathOf(instance), values(inputs));
        hub.changed = true; // the list of its instances is old from now on
        finish(hub, dialog, body, action, answer, changed);
      } catch (error) {
        put(problem, h('p', { class: 'notice bad' }, icon('error'), error.message, error.hint ? ` ${error.hint}` : null));
        submit.disabled = false;
      }
    },
  },
  h('p', null, action.text),
  h('dl', { class: 'target' },
    h('div', null, h('dt', null, 'Instance'), h('dd', null, idNode(instance.id), copyButton(() => instance.id, 'Copy ID'))),
    h('div', null, h('dt', null, 'Status'), h('dd', null, chip(instance.status))),
    h('div', null, h('dt', null, 'Hub'), h('dd', null, h('bdi', null, hub.name), hub.account ? ` in account ${hub.account}` : null))),
  inputs.map(([f, element]) => (f.check ? h('div', { class: 'check' }, element, h('label', { for: element.id }, f.label), h('p', { class: 'help' }, f.help)) : field(f.label, element, f.help))),
  confirm?.node, problem,
  h('div', { class: 'dialog-foot' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), submit));
  put(body, form);
  (inputs[0]?.[1] ?? confirm?.input ?? submit).focus();
}

function finish(hub, dialog, body, action, answer, changed) {
  say(action.done);
  const started = typeof answer?.id === 'string' ? answer.id : null;
  const close = h('button', { type: 'button', class: 'primary', onclick: () => dialog.close() }, 'Close');
  put(
    body, h('p', { class: 'good' }, icon('check'), action.done),
    started ? h('p', null, 'It has the ID ', h('a', { href: instanceAddress(hub, started), onclick: () => dialog.close() }, idNode(started)), '.') : null,
    h('div', { class: 'dialog-foot' }, close),
  );
  close.focus();
  changed();
}

function input(f) {
  if (f.check) {
    const box = h('input', { type: 'checkbox', id: `field-${f.name}` });
    box.checked = f.value;
    return box;
  }
  const element = f.json ? h('textarea', { rows: '4', spellcheck: 'false', class: 'mono' }) : h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', required: f.required });
  element.value = f.value ?? '';
  if (f.json) {
    element.addEventListener('input', () => element.setCustomValidity(isJSON(element.value) ? '' : 'This is not JSON.'));
  }
  return element;
}

function isJSON(text) {
  if (text.trim() === '') {
    return true;
  }
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function values(inputs) {
  return Object.fromEntries(inputs.map(([f, element]) => {
    if (f.check) {
      return [f.name, String(element.checked)];
    }
    return [f.name, f.json && f.value !== '' && element.value.trim() === '' ? f.value : element.value];
  }));
}

// confirmation has the ID typed, or if that cannot be done the name of the action.
function confirmation(id, action) {
  const possible = isPlain(id) && id.length <= maxTyped;
  const word = possible ? id : action.toLowerCase();
  const element = h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', class: 'mono' });
  const node = field(possible ? 'Type the instance ID to confirm' : `Type ${word} to confirm`, element);
  return { node, input: element, right: () => element.value === word };
}
