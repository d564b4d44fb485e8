// What an instance waits for, what waits for it, and what is wrong with it.

import { get } from './api.js';
import { h, put } from './dom.js';
import { ageNode, count, idNode, millis, plural, timeNode, visible } from './format.js';
import { chip, icon, severityChip } from './icons.js';
import { copyButton, definitions, drop, facts, load, table } from './parts.js';
import { textParts } from './payload.js';
import { instanceAddress } from './route.js';

const conditions = {
  'not-found': ['Not found', 'info'], ended: ['Ended', 'calm'], scheduled: ['Scheduled', 'calm'], ready: ['Ready', 'calm'],
  waiting: ['Waiting', 'calm'], suspended: ['Suspended', 'warning'], idle: ['Idle', 'calm'], locked: ['Locked', 'info'], stuck: ['Stuck', 'error'],
};

const places = {
  visible: 'in its queue', received: 'has arrived', running: 'still at work', hidden: 'due later, hidden in its queue',
  'possibly-hidden': 'may be in its queue, hidden', unknown: 'nothing tells', lost: 'lost',
};

// explain asks what an instance is doing.
export function explain(hub, id, signal) {
  return get(hub, 'explain', { id }, signal);
}

// verdictBox says in a sentence what an instance is doing, and how many findings
// there are.
export function verdictBox(hub, instance, e) {
  const { id } = instance;
  const [word, level] = conditionOf(instance, e);
  const bad = e.findings.filter((f) => f.severity !== 'info').length;
  return h('div', { class: `verdict level-${level}` },
    h('strong', null, word), h('p', null, verdictText(id, e.verdict)),
    h('a', { href: instanceAddress(hub, id, 'diagnosis') }, bad > 0 ? plural(bad, 'finding') : 'Diagnosis'));
}

// conditionOf returns the condition of an instance in a word, and how bad it is.
function conditionOf(instance, e) {
  if (instance.status === 'Failed' && e.condition === 'ended') {
    return ['Failed', 'error'];
  }
  return conditions[e.condition] ?? [e.condition, 'calm'];
}

// verdictText leaves out the ID that the sentence begins with: it is above.
function verdictText(id, text) {
  const rest = text.startsWith(`${id} `) ? text.slice(id.length + 1).replace(/^is /, '') : text;
  return visible(rest.charAt(0).toUpperCase() + rest.slice(1));
}

export function diagnosisTab({ hub, id, instance }) {
  const place = h('div', { class: 'stack' });
  const read = () => load(place, 'Finding out what it waits for', (signal) => explain(hub, id, signal), (e) => sections(hub, id, instance, e));
  if (instance.long_history) {
    put(place, h('div', { class: 'verdict' }, h('p', null, 'To say what it waits for, all of its long history is read.'), h('button', { type: 'button', class: 'primary', onclick: read }, 'Find out')));
  } else {
    read();
  }
  return { node: place, update() {}, keys: {}, leave: () => drop(place) };
}

function sections(hub, id, instance, e) {
  const now = millis(e.observed_at);
  const ago = (t) => ageNode(t, now, hub.capture);
  const link = (other) => (other ? h('a', { href: instanceAddress(hub, other) }, idNode(other)) : null);
  const card = (title, ...rest) => h('section', { class: 'card' }, h('h2', null, title), rest);
  const [word, level] = conditionOf(instance, e);
  const findings = card('Findings', e.findings.length === 0 ? h('p', { class: 'good' }, icon('check'), 'None: its rows, messages and payloads agree with each other.') : findingList(hub, e.findings, false));
  const bad = e.findings.some((f) => f.severity !== 'info');
  return [
    h('div', { class: `verdict level-${level}` }, h('strong', null, word), h('p', null, verdictText(id, e.verdict)),
      facts([
        ['Since', e.since ? ago(e.since) : null],
        ['Last event', e.last_progress ? ago(e.last_progress) : null],
        ['Episodes', e.episodes > 0 ? count(e.episodes) : null],
        ['Events', e.events > 0 ? count(e.events) : null],
      ])),
    bad ? findings : null,
    e.failure.set ? failure(e.failure) : null,
    e.awaits.length > 0 ? card('It waits for', awaitTable(e.awaits, e.awaits_more, ago, link)) : null,
    e.shortfalls.length > 0 ? h('ul', { class: 'notice bad' }, e.shortfalls.map((t) => h('li', null, t))) : null,
    e.sent.length > 0 ? card('It has sent, and others have not got yet', awaitTable(e.sent, 0, ago, link)) : null,
    e.locks.length > 0 ? card('It holds locks of', table('Locks', [{ label: 'Entity', class: 'wide' }, { label: 'Since' }, { label: 'Locked by' }],
      e.locks.map((l) => [link(l.entity_id), ago(l.since), l.agreed ? 'this instance' : (link(l.locked_by) ?? 'nobody')]), 'cards')) : null,
    e.entity_state ? entityCard(card, e.entity_state, link) : null,
    e.messages.length > 0 ? card('Messages for it', messageTable(e.messages, ago), e.messages_more > 0 ? h('p', { class: 'help' }, `and ${plural(e.messages_more, 'more message')}`) : null) : null,
    e.parents.length + e.children.length > 0 ? card('Family', family(e, instance, link)) : null,
    bad ? null : findings,
    e.differences.length > 0 ? card('The row says something else than the history', table('Differences', [{ label: 'Column' }, { label: 'Row' }, { label: 'History' }, { label: 'Because', class: 'wide' }],
      e.differences.map((d) => [d.column, shown(d.stored), shown(d.derived), visible(d.evidence)]), 'cards')) : null,
    e.steps.length > 0 ? card('What to try', h('ol', { class: 'steps' }, e.steps.map((step) => h('li', null,
      h('p', null, visible(step.text.charAt(0).toUpperCase() + step.text.slice(1))),
      step.command ? h('div', { class: 'command' }, h('code', null, visible(step.command)), copyButton(() => step.command, 'Copy command')) : null))), h('p', { class: 'help' }, 'Commands need the options that name the hub, too.')) : null,
    e.partition.queue ? card('Its partition', definitions([
      ['Control queue', h('span', { class: 'mono' }, e.partition.queue)],
      ...e.partition.leases.map((l) => ['Owner', l.owner ? h('span', { class: 'mono break' }, visible(l.owner)) : 'nobody']),
      ['App running', { yes: 'yes', maybe: 'perhaps', 'no-sign': 'no sign of one' }[e.partition.app_running]],
    ]), e.partition.evidence.length > 0 ? h('ul', { class: 'evidence' }, e.partition.evidence.map((t) => h('li', null, visible(t)))) : null) : null,
    e.problems.length > 0 ? card('What could not be read', h('ul', null, e.problems.map((p) => h('li', null, visible(p))))) : null,
  ];
}

function failure(text) {
  const head = h('div', { class: 'payload-head' }, h('h2', null, 'Why it ended'));
  return h('section', { class: 'payload' }, head, textParts(text, { label: 'why it ended', head }));
}

function shown(text) {
  if (text.redacted) {
    return h('span', { class: 'none' }, `${count(text.bytes)} bytes, not shown`);
  }
  return text.set ? h('span', { class: 'mono break' }, visible(text.head), text.more ? '…' : null) : h('span', { class: 'none' }, 'none');
}

function awaitTable(awaits, more, ago, link) {
  return [
    table('What is waited for', [{ label: 'What' }, { label: 'Name or instance', class: 'wide' }, { label: 'Since' }, { label: 'Due' }, { label: 'Its message' }], awaits.map((a) => [
      [a.words, a.event_id >= 0 ? h('span', { class: 'none' }, ` #${a.event_id}`) : null],
      [a.name ? h('bdi', { class: 'function' }, visible(a.name)) : null, a.name && a.instance_id ? ' ' : null, link(a.instance_id), a.name || a.instance_id ? null : h('span', { class: 'none' }, 'any')],
      ago(a.since),
      a.due ? timeNode(a.due) : h('span', { class: 'none' }, '–'),
      h('span', { title: a.why ?? null, class: a.where === 'lost' ? 'bad' : null }, places[a.where] ?? a.where, a.why ? h('span', { class: 'help block' }, visible(a.why)) : null),
    ]), 'cards'),
    more > 0 ? h('p', { class: 'help' }, `and ${plural(more, 'thing')} more`) : null,
  ];
}

function messageTable(messages, ago) {
  return table('Messages', [{ label: 'Queue' }, { label: 'Place', class: 'number' }, { label: 'Event' }, { label: 'What it does', class: 'wide' }, { label: 'Inserted' }, { label: 'Taken', class: 'number' }], messages.map((m) => [
    h('span', { class: 'mono' }, m.queue), String(m.position), m.event_type || h('span', { class: 'bad' }, 'cannot be read'),
    [visible(m.purpose), m.misplaced ? h('strong', { class: 'bad' }, ' in the wrong queue') : null, m.problem ? h('span', { class: 'bad block' }, visible(m.problem)) : null],
    ago(m.inserted_at), count(m.dequeue_count),
  ]), 'cards');
}

function entityCard(card, state, link) {
  return card('The entity',
    definitions([
      ['State', state.exists ? 'has one' : 'none'],
      ['Locked by', link(state.locked_by)],
      ['Operations waiting', count(state.waiting.length + state.waiting_more)],
    ]),
    state.waiting.length > 0 ? table('Operations', [{ label: 'Operation' }, { label: 'Kind' }, { label: 'From', class: 'wide' }],
      state.waiting.map((w) => [h('bdi', null, visible(w.name)), w.signal ? 'signal' : 'call', link(w.parent) ?? 'a client']), 'cards') : null);
}

function family(e, instance, link) {
  const one = (r, what) => h('li', { class: `depth-${Math.min(r.depth, 3)}` },
    h('span', { class: 'family-line' }, r.found ? chip(r.status) : h('span', { class: 'tag' }, 'No row'), link(r.id), r.name ? h('bdi', { class: 'function' }, visible(r.name)) : null,
      h('span', { class: 'none' }, what, r.cycle ? ', which closes a circle' : '', r.open ? ', waited for' : '')),
    r.summary ? h('span', { class: 'help block' }, visible(r.summary)) : null);
  return [
    h('ul', { class: 'plain family' }, e.parents.map((r) => one(r, 'parent')), e.children.map((r) => one(r, r.depth > 1 ? 'below a child' : 'child'))),
    e.children_more > 0 ? h('p', { class: 'help' }, `and ${plural(e.children_more, 'more child', 'more children')}: the history has them all`) : null,
  ];
}

// findingList lists findings: those of one instance by their kind, and those of one
// kind by their instances.
export function findingList(hub, findings, ofOneKind) {
  return h('ul', { class: 'findings' }, findings.map((f) => h('li', { class: 'finding' },
    ofOneKind
      ? f.instance_id ? h('a', { href: instanceAddress(hub, f.instance_id, 'diagnosis') }, idNode(f.instance_id)) : null
      : h('div', { class: 'finding-head' }, severityChip(f.severity), h('code', null, f.code)),
    h('p', null, visible(f.detail)),
    f.heals ? h('p', { class: 'help' }, 'It mends itself: ', visible(f.heals)) : null,
    h('p', { class: 'help' }, visible(f.remedy)),
    f.at.length > 0 ? h('details', { class: 'more' }, h('summary', null, 'Where'), h('ul', { class: 'places' }, f.at.map((p) => h('li', { class: 'mono break' }, visible(placeText(p)))))) : null)));
}

function placeText(p) {
  if (p.table) {
    return [p.table, p.partition_key, p.row_key].filter((t) => t).join(' / ') + (p.column ? ` . ${p.column}` : '');
  }
  if (p.queue) {
    return [p.queue, p.message_id].filter((t) => t).join(' / ');
  }
  return [p.container, p.blob].filter((t) => t).join(' / ');
}

