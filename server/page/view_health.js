// How a hub is: who owns its partitions, what waits in its queues, and what is
// wrong with it.

import { get, lines } from './api.js';
import { h, put, say } from './dom.js';
import { ageNode, clock, count, idNode, millis, plural, timeNode, visible } from './format.js';
import { icon, severityChip } from './icons.js';
import { drop, load, problemBox, table } from './parts.js';
import { instanceAddress } from './route.js';
import { findingList } from './tab_diagnosis.js';

const running = {
  yes: ['An app is running', 'good'], maybe: ['Perhaps an app is running', 'unsure'], 'no-sign': ['No sign of a running app', 'calm'],
};

const severities = ['error', 'warning', 'info'];

// shownOfKind findings of a kind are listed at once.
const shownOfKind = 50;

export function healthView({ hub, setTitle }) {
  setTitle(['Health', hub.name]);
  const place = h('div', { class: 'stack' });
  const check = new Verification(hub);
  const read = () => load(place, 'Looking at the hub', (signal) => get(hub, 'health', {}, signal), (health) => sections(hub, health));
  const node = h('div', { class: 'page' },
    h('div', { class: 'page-head' }, h('h1', null, 'Health'),
      hub.capture ? h('p', { class: 'page-note' }, 'as captured ', timeNode(hub.finished)) : h('p', { class: 'page-note' }, h('button', { type: 'button', class: 'ghost small', onclick: read }, icon('refresh'), 'Look again'))),
    place, check.node);
  read();
  return { node, update() {}, keys: { r: read }, leave: () => {
    drop(place);
    check.stop();
  } };
}

function sections(hub, o) {
  const now = millis(o.observed_at);
  const ago = (t) => ageNode(t, now, hub.capture);
  const [word, level] = running[o.app_running] ?? [o.app_running, 'calm'];
  const card = (title, ...rest) => h('section', { class: 'card' }, h('h2', null, title), rest);
  const most = Math.max(1, ...o.queues.map((q) => q.count));
  return [
    h('div', { class: `verdict level-${level}` }, h('strong', null, word), h('div', null,
      o.evidence.length > 0 ? h('ul', { class: 'evidence' }, o.evidence.map((t) => h('li', null, visible(t)))) : h('p', null, 'Nobody holds a lease.'))),
    o.problems.length > 0 ? h('ul', { class: 'notice bad' }, o.problems.map((p) => h('li', null, visible(p)))) : null,
    card('Partitions', o.leases.length === 0 ? h('p', { class: 'none' }, 'Nothing in storage tells who owned them.') : table('Partitions', [
      { label: 'Control queue' }, { label: 'Owner', class: 'wide' }, { label: 'Owned since' }, { label: 'Last renewal' }, { label: 'Lease' },
    ], o.leases.map((l) => [
      h('span', { class: 'mono' }, l.queue),
      l.owner ? [h('span', { class: 'mono break' }, visible(l.owner)), l.next_owner ? h('span', { class: 'none' }, ' going to ', visible(l.next_owner)) : null] : h('span', { class: 'none' }, 'nobody'),
      ago(l.owned_since), ago(l.last_renewal), leaseState(l, now, ago),
    ]), 'cards')),
    card('Queues', table('Queues', [
      { label: 'Queue' }, { label: 'Messages', class: 'number' }, { label: 'Share', class: 'bar-cell', hidden: true }, { label: 'Seen', class: 'number' },
      { label: 'Hidden', class: 'number' }, { label: 'Oldest seen' }, { label: 'Taken', class: 'number' },
    ], o.queues.map((q) => [
      h('span', { class: 'mono' }, q.name), count(q.count),
      h('meter', { min: '0', max: String(most), value: String(q.count), 'aria-label': `${count(q.count)} messages in ${q.name}` }),
      count(q.seen), count(Math.max(0, q.count - q.seen)), ago(q.oldest), q.seen > 0 ? `${count(q.max_dequeue_count)}×` : h('span', { class: 'none' }, '–'),
    ]), 'cards'),
    h('p', { class: 'help' }, 'Hidden messages are timers, scheduled starts and work in progress; of those that can be seen, a live queue shows the first 32.')),
    o.queues.filter((q) => q.messages.length > 0).map((q) => messages(hub, q, ago)),
  ];
}

function leaseState(l, now, ago) {
  const expires = millis(l.expires_at);
  const parts = [];
  if (l.owner && !Number.isNaN(expires)) {
    parts.push(expires < now ? h('span', { class: 'bad' }, 'expired ', ago(l.expires_at)) : h('span', { class: 'good-text' }, 'holds'));
  }
  if (l.lease_state) {
    parts.push(h('span', null, l.lease_state));
  }
  if (l.draining) {
    parts.push(h('span', { class: 'tag' }, 'draining'));
  }
  if (l.source !== 'partitions-table') {
    parts.push(h('span', { class: 'none' }, l.source));
  }
  return parts.length > 0 ? parts.flatMap((p) => [p, ' ']) : h('span', { class: 'none' }, 'free');
}

function messages(hub, q, ago) {
  return h('details', { class: 'card fold' },
    h('summary', null, h('span', { class: 'mono' }, q.name), ` ${plural(q.messages.length, 'message')}${q.seen > q.messages.length ? ` of ${count(q.seen)}` : ''}`),
    table(`Messages in ${q.name}`, [
      { label: 'Place', class: 'number' }, { label: 'Event' }, { label: 'Instance', class: 'wide' }, { label: 'What it does' }, { label: 'Inserted' }, { label: 'Taken', class: 'number' },
    ], q.messages.map((m) => [
      String(m.position), m.event_type || h('span', { class: 'bad' }, 'cannot be read'),
      m.instance_id ? h('a', { href: instanceAddress(hub, m.instance_id) }, idNode(m.instance_id)) : h('span', { class: 'none' }, 'not known'),
      [visible(m.purpose), m.blob ? h('span', { class: 'none' }, ' kept in a blob') : null, m.problem ? h('span', { class: 'bad block' }, visible(m.problem)) : null],
      ago(m.inserted_at), `${count(m.dequeue_count)}×`,
    ]), 'cards'));
}

// Verification checks all of a hub when it is asked to, which can take long.
class Verification {
  constructor(hub) {
    this.hub = hub;
    this.control = null;
    this.findings = [];
    this.start = h('button', { type: 'button', class: 'primary', onclick: () => this.run() }, 'Verify this hub');
    this.cancel = h('button', { type: 'button', hidden: true, onclick: () => this.stop() }, 'Stop');
    this.bar = h('progress', { hidden: true, 'aria-label': 'Verification' });
    this.text = h('p', { class: 'help', 'aria-live': 'polite' }, 'Reads every row of the hub, and changes nothing.');
    this.results = h('div', { class: 'verify-results' });
    this.node = h('section', { class: 'card' }, h('h2', null, 'Findings'), h('div', { class: 'verify-head' }, this.start, this.cancel, this.bar), this.text, this.results);
  }

  stop() {
    this.control?.abort();
  }

  async run() {
    this.findings = [];
    this.control = new AbortController();
    const { signal } = this.control;
    this.start.disabled = true;
    this.cancel.hidden = false;
    this.bar.hidden = false;
    this.bar.removeAttribute('value');
    put(this.results);
    put(this.text, 'Verifying');
    try {
      const done = await lines(this.hub, 'verify', {}, signal, (line) => this.line(line));
      this.finish(done);
    } catch (error) {
      if (signal.aborted) {
        put(this.text, `Stopped after ${plural(this.findings.length, 'finding')}.`);
        this.show(0);
      } else {
        put(this.text);
        put(this.results, problemBox(error, () => this.run()));
      }
    } finally {
      this.start.disabled = false;
      this.cancel.hidden = true;
      this.bar.hidden = true;
    }
  }

  line(line) {
    if (line.type === 'finding') {
      this.findings.push(line);
    } else if (line.type === 'progress') {
      if (line.total_rows > 0) {
        this.bar.max = line.total_rows;
        this.bar.value = line.history_rows;
      }
      this.text.textContent = `${plural(line.instances, 'instance')} and ${plural(line.history_rows, 'history row')} read, ${plural(line.findings, 'finding')}`;
    }
  }

  finish(done) {
    const counts = [[done.errors, 'error'], [done.warnings, 'warning'], [done.infos, 'note']].filter(([n]) => n > 0).map(([n, word]) => plural(n, word));
    const text = `${plural(done.instances, 'instance')} and ${plural(done.history_rows, 'history row')} verified${this.hub.capture ? '' : ` at ${clock(Date.now())}`}: ${counts.length > 0 ? counts.join(', ') : 'nothing is wrong'}.`;
    put(this.text, text);
    say(text);
    this.show(done.left_out);
  }

  show(leftOut) {
    const kinds = new Map();
    for (const f of this.findings) {
      const key = `${f.severity} ${f.code}`;
      kinds.set(key, [...(kinds.get(key) ?? []), f]);
    }
    const groups = [...kinds.values()].sort((a, b) => severities.indexOf(a[0].severity) - severities.indexOf(b[0].severity) || b.length - a.length);
    put(
      this.results,
      this.findings.length === 0 && leftOut === 0 ? h('p', { class: 'good' }, icon('check'), 'Nothing is wrong.') : null,
      groups.map((group) => this.group(group)),
      leftOut > 0 ? h('p', { class: 'notice' }, icon('info'), `${plural(leftOut, 'further finding')}: taskhub verify lists all of them.`) : null,
    );
  }

  group(group) {
    const list = h('div');
    let shown = 0;
    const more = h('button', { type: 'button', onclick: () => add() });
    const add = () => {
      list.append(findingList(this.hub, group.slice(shown, shown + shownOfKind), true));
      shown = Math.min(group.length, shown + shownOfKind);
      more.hidden = shown === group.length;
      put(more, `Show ${count(Math.min(shownOfKind, group.length - shown))} more`);
    };
    return h('details', {
      class: 'fold', open: group[0].severity === 'error', ontoggle: (event) => {
        if (event.target.open && shown === 0) {
          add();
        }
      },
    }, h('summary', null, severityChip(group[0].severity), ' ', h('code', null, group[0].code), ` ${plural(group.length, 'finding')}`), list, more);
  }
}
