// The history of an instance, page by page.

import { download, get } from './api.js';
import { h, put, say, uniqueID } from './dom.js';
import { count, duration, idNode, millis, size, timeNode, visible } from './format.js';
import { icon } from './icons.js';
import { drop, emptyBox, load, pager, tableRow } from './parts.js';
import { columnTable, fileName, textParts } from './payload.js';
import { instanceAddress } from './route.js';

const pageSize = 200;
const columns = [
  { label: '#', class: 'number' },
  { label: 'Time', class: 'when' },
  { label: 'Event' },
  { label: 'What', class: 'wide' },
  { label: 'Details', hidden: true, class: 'end' },
];

const episodes = new Set(['OrchestratorStarted', 'OrchestratorCompleted']);

export function historyTab({ hub, id, parameters }) {
  const tab = new HistoryTab(hub, id);
  tab.update(parameters);
  return tab;
}

class HistoryTab {
  constructor(hub, id) {
    this.hub = hub;
    this.id = id;
    this.place = h('div');
    this.quiet = h('input', { type: 'checkbox', id: uniqueID('quiet'), onchange: () => this.show() });
    this.at = h('input', { type: 'number', min: '0', step: '1', id: uniqueID('at'), class: 'short' });
    this.pager = pager('Pages of the history', (where) => this.go(where));
    this.pagerBelow = pager('Pages of the history, below', (where) => this.go(where));
    this.note = h('p', { class: 'page-note' });
    this.node = h('div', null,
      h('div', { class: 'tab-tools' },
        h('div', { class: 'check' }, this.quiet, h('label', { for: this.quiet.id }, 'Hide episodes')),
        h('form', {
          class: 'jump', onsubmit: (event) => {
            event.preventDefault();
            this.open(Math.max(0, Math.floor(Number(this.at.value) || 0)));
          },
        }, h('label', { for: this.at.id }, 'Event'), this.at, h('button', null, 'Show')),
        this.note, this.pager.node),
      this.place, this.pagerBelow.node);
    this.keys = { '[': () => this.go('previous'), ']': () => this.go('next') };
  }

  update(parameters) {
    this.first = Number(parameters.get('first') ?? 0) || 0;
    this.marked = parameters.get('at');
    return load(this.place, 'Reading the history', (signal) => get(this.hub, 'history', { id: this.id, first: this.first, limit: pageSize }, signal), (page) => {
      this.page = page;
      return this.table();
    });
  }

  open(first) {
    location.hash = instanceAddress(this.hub, this.id, 'history', { first: first || '' });
  }

  go(where) {
    const p = this.page;
    if (!p) {
      return;
    }
    const last = Math.max(0, p.total - pageSize);
    const target = { first: 0, previous: Math.max(0, p.first - pageSize), next: p.next < 0 ? p.first : p.next, last }[where];
    if (target !== p.first) {
      this.open(target);
    }
  }

  show() {
    put(this.place, this.table());
  }

  table() {
    const p = this.page;
    const till = p.next < 0 ? p.total : p.next;
    const words = p.total === 0 ? '' : `Events ${count(p.first)}–${count(till - 1)} of ${count(p.total)}`;
    for (const one of [this.pager, this.pagerBelow]) {
      one.show(words, p.first > 0, p.next >= 0);
    }
    this.pagerBelow.node.hidden = p.events.length < 30;
    put(this.note, p.execution_id ? ['Execution ', idNode(p.execution_id)] : null);
    if (p.events.length === 0) {
      return emptyBox('No history.', p.total > 0 ? 'There is nothing at these positions.' : 'No worker has taken the instance up yet, or its history was purged.');
    }
    const byID = new Map();
    const rows = [];
    let before = p.first - 1;
    for (const e of p.events) {
      if (['TaskScheduled', 'SubOrchestrationInstanceCreated', 'TimerCreated'].includes(e.type) || e.was) {
        byID.set(e.event_id, e);
      }
      if (e.sequence > before + 1) {
        rows.push(h('tr', { role: 'row', class: 'gap' }, h('td', { role: 'cell', colspan: columns.length },
          icon('warning'), e.sequence - before === 2 ? `Event ${count(before + 1)} is missing.` : `Events ${count(before + 1)} to ${count(e.sequence - 1)} are missing.`)));
      }
      before = Math.max(before, e.sequence);
      if (!(this.quiet.checked && episodes.has(e.type))) {
        rows.push(...this.row(e, byID));
      }
    }
    say(words);
    return h('div', { class: 'table-scroll' }, h('table', { class: 'history cards', role: 'table' },
      h('caption', { class: 'vh' }, 'History'),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((c) => h('th', { scope: 'col', role: 'columnheader', class: c.class }, c.hidden ? h('span', { class: 'vh' }, c.label) : c.label)))),
      h('tbody', { role: 'rowgroup' }, rows)));
  }

  row(e, byID) {
    const detail = h('tr', { role: 'row', class: 'detail', hidden: true, id: uniqueID('event') });
    const button = h('button', {
      type: 'button', class: 'ghost icon-only', 'aria-expanded': 'false', 'aria-controls': detail.id, 'aria-label': `Details of event ${e.sequence}`,
      onclick: () => {
        const open = detail.hidden;
        detail.hidden = !open;
        button.setAttribute('aria-expanded', String(open));
        if (open && detail.childElementCount === 0) {
          const place = h('div');
          detail.append(h('td', { role: 'cell', colspan: columns.length }, place));
          load(place, 'Reading the event', (signal) => get(this.hub, 'event', { id: this.id, row: e.row_key }, signal), (d) => this.details(d));
        }
      },
    }, icon('down'));
    const answered = e.answers >= 0 ? byID.get(e.answers) : null;
    const row = tableRow(columns, [
      e.sequence >= 0 ? String(e.sequence) : h('span', { class: 'mono' }, visible(e.row_key)),
      timeNode(e.time, { fine: true }),
      h('span', { class: `event ${kind(e)}` }, h('span', { class: 'event-dot', 'aria-hidden': 'true' }), visible(e.type)),
      this.what(e, answered),
      button,
    ], { class: e.failed ? 'failed' : null });
    if (this.marked === e.row_key) {
      row.classList.add('marked');
      requestAnimationFrame(() => row.scrollIntoView({ block: 'center' }));
    }
    return [row, detail];
  }

  what(e, answered) {
    const name = e.name || answered?.name;
    const peer = e.peer || answered?.peer;
    const parts = [];
    if (e.was) {
      parts.push(h('span', { class: 'tag' }, 'Rewound'), ` was ${e.was} `);
    }
    if (name) {
      parts.push(h('bdi', { class: 'function' }, visible(name)));
    }
    if (e.status) {
      parts.push(h('strong', null, e.status));
    }
    const number = e.answers >= 0 ? e.answers : e.event_id;
    if (number >= 0) {
      parts.push(h('span', { class: 'none' }, `#${number}`));
    }
    if (peer) {
      parts.push(e.type === 'ExecutionStarted' ? 'child of' : null, h('a', { href: instanceAddress(this.hub, peer) }, idNode(peer)));
    }
    if (answered?.time && e.type !== 'TimerFired') {
      parts.push(h('span', { class: 'none' }, `took ${duration(millis(e.time) - millis(answered.time))}`));
    }
    if (e.due) {
      parts.push(h('span', null, h('span', { class: 'none' }, 'due '), timeNode(e.due, { fine: true })));
    }
    for (const t of e.texts.filter((text) => text.head !== 'null').slice(0, 2)) {
      parts.push(h('span', { class: 'text-head' }, h('span', { class: 'none' }, `${t.name} `),
        t.redacted ? h('span', { class: 'none' }, `${size(t.bytes)}, not shown`)
          : t.head === '' && t.blob ? h('span', { class: 'none' }, 'in a blob')
            : h('span', { class: 'mono' }, visible(t.head), t.more ? '…' : null)));
    }
    if (e.problem) {
      parts.push(h('span', { class: 'bad' }, visible(e.problem)));
    }
    return h('span', { class: 'what' }, parts);
  }

  details(d) {
    const texts = d.texts.map((t) => {
      const head = h('div', { class: 'payload-head' }, h('h3', null, visible(t.name)));
      const parameters = { id: this.id, row: d.row_key, column: t.name };
      const save = () => download(this.hub, parameters, fileName(this.hub.name, this.id, String(d.sequence), t.name));
      if (t.blob && t.head === '' && !t.redacted) {
        const place = h('div');
        load(place, `Reading ${t.name}`, (signal) => get(this.hub, 'payload', parameters, signal), (text) => textParts(text, { label: t.name, head, save }));
        return h('section', { class: 'payload' }, head, place);
      }
      return h('section', { class: 'payload' }, head, textParts(t, { label: t.name, head, save }));
    });
    return [texts, columnTable('Columns of the row', d.columns), h('p', { class: 'help' }, 'Written ', timeNode(d.stored_at, { fine: true }), ', ETag ', h('span', { class: 'mono' }, d.etag))];
  }

  leave() {
    drop(this.place);
  }
}

function kind(e) {
  if (e.failed) {
    return 'is-failed';
  }
  if (e.type.startsWith('Task')) {
    return 'is-activity';
  }
  if (e.type.startsWith('SubOrchestration')) {
    return 'is-child';
  }
  if (e.type.startsWith('Timer')) {
    return 'is-timer';
  }
  if (e.type.startsWith('Event')) {
    return 'is-event';
  }
  return e.type.startsWith('Execution') || e.type === 'ContinueAsNew' ? 'is-execution' : 'is-episode';
}
