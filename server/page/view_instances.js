// The instances of a hub: searched, filtered, sorted and counted by the server,
// which gives one page at a time.

import { get, lines } from './api.js';
import { h, put, say, uniqueID } from './dom.js';
import { age, ageNode, clock, count, duration, idNode, millis, plural, visible, zone } from './format.js';
import { chip, icon, statusIcon, statusWords } from './icons.js';
import { copyButton, emptyBox, pager, problemBox, tableRow } from './parts.js';
import { hubAddress, instanceAddress } from './route.js';

const order = ['Running', 'Pending', 'Suspended', 'Failed', 'Completed', 'Terminated', 'Canceled', 'ContinuedAsNew', 'Unknown'];
const kinds = [['all', 'All'], ['orchestrations', 'Orchestrations'], ['entities', 'Entities']];
const ranges = [['', 'Any time'], ['1', 'Last hour'], ['24', 'Last 24 hours'], ['168', 'Last 7 days'], ['720', 'Last 30 days'], ['custom', 'From … to …']];
const sizes = [50, 100, 200, 500];
const columns = [
  { key: 'status', label: 'Status' },
  { key: 'id', label: 'Instance ID', class: 'wide' },
  { key: 'name', label: 'Function' },
  { key: 'created', label: 'Created', class: 'when' },
  { key: 'updated', label: 'Updated', class: 'when' },
  { key: 'duration', label: 'Duration', class: 'number' },
];

const typingPause = 200; // milliseconds

// A list that is older than a while is read again when somebody comes to it, if that
// is done quickly: with no more than so many instances.
const aWhile = 60_000;
const quickly = 20_000;

export function instancesView({ hub, route, setTitle }) {
  setTitle(['Instances', hub.name]);
  const view = new Instances(hub);
  view.update(route);
  return view;
}

class Instances {
  constructor(hub) {
    this.hub = hub;
    this.list = null;
    this.tokens = []; // of the pages before, where the server has no index
    this.control = null;
    this.timer = 0;
    this.build();
    this.keys = {
      '/': () => this.search.focus(),
      j: () => this.step(1),
      k: () => this.step(-1),
      '[': () => this.go('previous'),
      ']': () => this.go('next'),
      r: () => this.refresh(),
    };
  }

  build() {
    this.summary = h('p', { class: 'page-note' });
    this.search = h('input', {
      type: 'search', id: uniqueID('search'), placeholder: 'Search by ID or function', autocomplete: 'off', spellcheck: 'false', maxlength: 512,
      oninput: () => this.typed(), onkeydown: (event) => this.searchKey(event),
    });
    this.kind = h('select', { id: uniqueID('kind'), onchange: () => this.change({ kind: this.kind.value }) }, kinds.map(([v, t]) => h('option', { value: v }, t)));
    this.name = h('select', { id: uniqueID('name'), onchange: () => this.change({ name: this.name.value }) });
    this.range = h('select', { id: uniqueID('range'), onchange: () => this.rangeChosen() }, ranges.map(([v, t]) => h('option', { value: v }, t)));
    this.by = h('select', { id: uniqueID('by'), onchange: () => this.change({ by: this.by.value }) }, [['', 'created'], ['updated', 'updated']].map(([v, t]) => h('option', { value: v }, t)));
    const moment = (name) => h('input', { type: 'datetime-local', step: 1, id: uniqueID(name), onchange: () => this.change({ from: this.from.value, to: this.to.value }) });
    this.from = moment('from');
    this.to = moment('to');
    this.custom = h('div', { class: 'filter-custom', hidden: true }, labelled('From', this.from), labelled('To', this.to), h('span', { class: 'help' }, `in ${zone()}`));
    this.statuses = h('div', { class: 'facets', role: 'group', 'aria-label': 'Status' });
    this.clear = h('button', { type: 'button', class: 'ghost', onclick: () => this.set({}) }, 'Clear filters');
    this.body = h('tbody', { role: 'rowgroup' });
    this.heads = columns.map((c) => this.head(c));
    this.table = h('div', { class: 'table-scroll' }, h('table', { class: 'instances cards', role: 'table' },
      h('caption', { class: 'vh' }, 'Instances'),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, this.heads)), this.body));
    this.place = h('div', { class: 'list-place' });
    this.size = h('select', { id: uniqueID('size'), onchange: () => this.change({ size: this.size.value }) }, sizes.map((n) => h('option', { value: n }, String(n))));
    this.sort = h('select', { id: uniqueID('sort'), onchange: () => this.change({ sort: this.sort.value.split(' ')[0], order: this.sort.value.split(' ')[1] }) },
      columns.flatMap((c) => [h('option', { value: `${c.key} desc` }, `${c.label}, descending`), h('option', { value: `${c.key} asc` }, `${c.label}, ascending`)]));
    this.pager = pager('Pages of instances', (where) => this.go(where));
    this.node = h('div', { class: 'page' },
      h('div', { class: 'page-head' }, h('h1', null, 'Instances'), this.summary),
      h('search', { class: 'filters' },
        h('div', { class: 'search' }, icon('search'), h('label', { class: 'vh', for: this.search.id }, 'Search by ID or function'), this.search),
        labelled('Kind', this.kind), labelled('Function', this.name), labelled('Time', this.range),
        this.bySpan = labelled('by when', this.by), this.custom, h('div', { class: 'sort-narrow' }, labelled('Sort', this.sort)), this.clear),
      this.statuses,
      this.place,
      h('div', { class: 'list-foot' }, labelled('Rows', this.size), this.pager.node));
  }

  head(column) {
    return h('th', { scope: 'col', role: 'columnheader', class: column.class, data: { key: column.key } },
      h('button', { type: 'button', class: 'sort', onclick: () => this.sortBy(column.key) }, column.label, icon('down')));
  }

  // update shows what the address asks for.
  update(route) {
    const p = route.parameters;
    this.state = {
      q: p.get('q') ?? '', status: p.getAll('status'), kind: p.get('kind') ?? 'all', name: p.get('name') ?? '',
      range: p.get('range') ?? '', by: p.get('by') ?? '', from: p.get('from') ?? '', to: p.get('to') ?? '',
      sort: p.get('sort') ?? 'updated', order: p.get('order') ?? 'desc', offset: Number(p.get('offset') ?? 0) || 0,
      size: Number(p.get('size') ?? 100) || 100,
    };
    this.fill();
    return this.load();
  }

  fill() {
    const s = this.state;
    if (document.activeElement !== this.search) {
      this.search.value = s.q;
    }
    this.kind.value = s.kind;
    this.range.value = s.range;
    this.by.value = s.by;
    this.from.value = s.from;
    this.to.value = s.to;
    this.size.value = String(s.size);
    this.custom.hidden = s.range !== 'custom';
    this.bySpan.hidden = s.range === '';
    this.clear.hidden = !this.filtered();
    this.showOrder();
  }

  filtered() {
    const s = this.state;
    return s.q !== '' || s.status.length > 0 || s.kind !== 'all' || s.name !== '' || s.range !== '';
  }

  address(state) {
    const s = state;
    return hubAddress(this.hub, ['instances'], {
      q: s.q, status: s.status, kind: s.kind === 'all' ? '' : s.kind, name: s.name, range: s.range, by: s.range ? s.by : '',
      from: s.range === 'custom' ? s.from : '', to: s.range === 'custom' ? s.to : '',
      sort: s.sort === 'updated' ? '' : s.sort, order: s.order === 'desc' ? '' : s.order,
      offset: s.offset || '', size: s.size === 100 ? '' : s.size,
    });
  }

  // change goes to the same list with something changed, from its beginning.
  change(changes) {
    this.set({ ...this.state, offset: 0, ...changes });
  }

  set(state) {
    const whole = { q: '', status: [], kind: 'all', name: '', range: '', by: '', from: '', to: '', sort: 'updated', order: 'desc', offset: 0, size: this.state.size, ...state };
    if (!state.q) {
      this.search.value = '';
    }
    this.tokens = [];
    location.hash = this.address(whole);
  }

  // typed waits for the end of a word; the address follows without a step back for
  // each letter.
  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.applySearch(), typingPause);
  }

  applySearch() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.search.value === this.state.q) {
      return null;
    }
    this.state = { ...this.state, q: this.search.value, offset: 0 };
    this.tokens = [];
    history.replaceState(null, '', this.address(this.state));
    this.clear.hidden = !this.filtered();
    return this.load();
  }

  async searchKey(event) {
    if (event.key === 'Escape' && this.search.value !== '') {
      event.preventDefault();
      this.search.value = '';
      this.applySearch();
    } else if (event.key === 'Enter') {
      event.preventDefault();
      await (this.applySearch() ?? this.loading);
      const rows = this.list?.rows ?? [];
      const exact = rows.find((row) => row.id === this.state.q);
      if (exact || rows.length === 1) {
        location.hash = instanceAddress(this.hub, (exact ?? rows[0]).id);
      } else if (this.list?.exact) {
        location.hash = instanceAddress(this.hub, this.state.q);
      }
    } else if (event.key === 'ArrowDown') {
      event.preventDefault();
      this.step(1);
    }
  }

  rangeChosen() {
    if (this.range.value === 'custom') {
      const now = millis(this.list?.observed_at) || Date.now();
      this.change({ range: 'custom', from: local(now - 86_400_000), to: local(now) });
    } else {
      this.change({ range: this.range.value });
    }
  }

  sortBy(key) {
    const s = this.state;
    const descending = ['created', 'updated', 'duration'].includes(key);
    const flip = s.sort === key ? (s.order === 'desc' ? 'asc' : 'desc') : (descending ? 'desc' : 'asc');
    this.change({ sort: key, order: flip });
  }

  toggleStatus(status) {
    const on = this.state.status.includes(status);
    this.change({ status: on ? this.state.status.filter((s) => s !== status) : [...this.state.status, status] });
  }

  go(where) {
    const list = this.list;
    if (!list) {
      return;
    }
    const s = this.state;
    if (list.partial) {
      this.goByToken(where);
      return;
    }
    const last = Math.max(0, Math.floor((list.matched - 1) / s.size) * s.size);
    const target = { first: 0, previous: Math.max(0, s.offset - s.size), next: Math.min(last, s.offset + s.size), last }[where];
    if (target !== s.offset) {
      location.hash = this.address({ ...s, offset: target });
    }
  }

  // goByToken goes through a list of which the server knows no more than how to go
  // on. These pages have no address of their own.
  goByToken(where) {
    if (where === 'next' && this.list.next) {
      this.tokens.push(this.list.next);
    } else if (where === 'previous') {
      this.tokens.pop();
    } else if (where === 'first') {
      this.tokens = [];
    } else {
      return;
    }
    this.load();
  }

  parameters() {
    const s = this.state;
    const now = millis(this.list?.observed_at ?? this.hub.observed_at);
    const hours = Number(s.range);
    const bounds = s.range === 'custom'
      ? { from: s.from && new Date(s.from).toISOString(), to: s.to && new Date(s.to).toISOString() }
      : { from: hours > 0 ? new Date(now - hours * 3_600_000).toISOString() : '' };
    const common = { q: s.q, status: s.status, kind: s.kind, name: s.name, ...bounds, limit: s.size };
    if (this.partial) {
      return { ...common, token: this.tokens.at(-1) };
    }
    return { ...common, by: s.by, sort: s.sort, order: s.order, offset: s.offset };
  }

  refresh() {
    if (!this.hub.capture) {
      this.fresh = true;
    }
    return this.load();
  }

  load() {
    this.loading = this.loadNow();
    return this.loading;
  }

  async loadNow() {
    this.control?.abort();
    const control = new AbortController();
    this.control = control;
    this.place.setAttribute('aria-busy', 'true');
    try {
      if (!this.indexed || this.fresh) {
        await this.makeIndex(control.signal);
      }
      const list = await get(this.hub, 'instances', this.parameters(), control.signal);
      if (this.control === control) {
        this.show(list);
      }
    } catch (error) {
      if (!control.signal.aborted) {
        put(this.place, problemBox(error, () => this.load()));
      }
    } finally {
      if (this.control === control) {
        this.place.removeAttribute('aria-busy');
      }
    }
  }

  // makeIndex has the server read the hub, and tells how far it is.
  async makeIndex(signal) {
    const text = h('span', null, 'Reading the instances of the hub');
    const bar = h('progress', { 'aria-label': 'Instances read' });
    const busy = h('div', { class: 'reading' }, bar, text);
    let shown = false;
    const fresh = this.fresh ? { fresh: 1 } : {};
    await lines(this.hub, 'index', fresh, signal, (line) => {
      if (line.type !== 'progress') {
        return;
      }
      if (!shown && this.list === null) {
        shown = true;
        put(this.place, busy);
      }
      if (line.total > 0) {
        bar.max = line.total;
        bar.value = line.rows;
      }
      text.textContent = line.total > 0 ? `Reading the instances of the hub: ${count(line.rows)} of ${count(line.total)}` : `Reading the instances of the hub: ${count(line.rows)}`;
    });
    this.indexed = true;
    this.fresh = false;
  }

  show(list) {
    const first = this.list === null;
    this.list = list;
    this.partial = list.partial;
    this.showOrder();
    this.showSummary();
    this.showFunctions();
    this.showStatuses();
    this.showRows();
    this.showPager();
    if (first && this.isOld() && list.total <= quickly && !list.partial) {
      this.hub.changed = false;
      this.refresh();
    }
  }

  // isOld reports whether the hub is likely to have changed since it was read.
  isOld() {
    return !this.hub.capture && (this.hub.changed || millis(this.list.observed_at) - millis(this.list.built_at) > aWhile);
  }

  // showOrder says what the list is sorted by, where that can be chosen.
  showOrder() {
    const { sort, order: direction } = this.partial ? { sort: 'id', order: 'asc' } : this.state;
    for (const th of this.heads) {
      th.setAttribute('aria-sort', th.dataset.key !== sort ? 'none' : (direction === 'desc' ? 'descending' : 'ascending'));
      th.firstChild.disabled = Boolean(this.partial);
    }
    this.sort.value = `${sort} ${direction}`;
    this.sort.disabled = Boolean(this.partial);
    this.by.disabled = Boolean(this.partial);
  }

  showSummary() {
    const list = this.list;
    const now = millis(list.observed_at);
    const total = list.partial ? `more than ${plural(list.total - 1, 'instance')}` : plural(list.total, 'instance');
    const parts = [total];
    if (list.entities > 0 && !list.partial) {
      parts.push(`${plural(list.entities, 'entity', 'entities')} among them`);
    }
    const read = this.hub.capture
      ? h('span', null, ', captured ', h('time', { datetime: list.built_at, title: `${list.built_at} (UTC)` }, clock(millis(list.built_at))))
      : h('span', null, ', read ', h('time', { datetime: list.built_at, title: clock(millis(list.built_at)) }, age(millis(list.built_at), now)));
    put(
      this.summary, parts.join(', '), read, list.partial ? '. They are too many to sort: they are in the order of their IDs, and found by how these begin.' : '',
      this.hub.capture ? null : h('button', { type: 'button', class: 'ghost small', title: 'Read the hub again (r)', onclick: () => this.refresh() }, icon('refresh'), 'Read again'),
    );
  }

  showFunctions() {
    const known = this.list.functions.map((f) => f.name);
    const chosen = this.state.name;
    put(
      this.name, h('option', { value: '' }, 'All functions'),
      chosen && !known.includes(chosen) ? h('option', { value: chosen }, visible(chosen).map((n) => n.textContent ?? n).join('')) : null,
      this.list.functions.map((f) => h('option', { value: f.name }, `${short(f.name, 60)} (${count(f.count)})`)),
    );
    this.name.value = chosen;
  }

  showStatuses() {
    const chosen = this.state.status;
    const counts = this.list.by_status;
    const shown = order.filter((s) => chosen.includes(s) || this.list.partial || counts[s] > 0);
    // Buttons that stay are kept, so that one that has the focus keeps it.
    const old = new Map([...this.statuses.children].map((b) => [b.dataset.status, b]));
    const buttons = shown.map((status) => {
      const button = old.get(status) ?? h('button', { type: 'button', class: `facet status-${status}`, data: { status }, onclick: () => this.toggleStatus(status) });
      button.setAttribute('aria-pressed', String(chosen.includes(status)));
      put(button, statusIcon(status), h('span', null, statusWords(status)), this.list.partial ? null : h('span', { class: 'facet-count' }, count(counts[status] ?? 0)));
      return button;
    });
    const focused = this.statuses.contains(document.activeElement) ? document.activeElement : null;
    this.statuses.replaceChildren(...buttons);
    if (focused?.isConnected) {
      focused.focus();
    }
  }

  showRows() {
    const list = this.list;
    if (list.rows.length === 0) {
      put(this.place, this.empty());
      say('No instances.');
      return;
    }
    const now = millis(list.observed_at);
    const captured = this.hub.capture;
    this.body.replaceChildren(...list.rows.map((row) => {
      const address = instanceAddress(this.hub, row.id);
      return tableRow(columns, [
        chip(row.status),
        h('span', { class: 'id-cell' }, h('a', { href: address, class: 'row-link' }, idNode(row.id)), copyButton(() => row.id, 'Copy ID')),
        h('bdi', { class: 'function' }, row.name === '' ? h('span', { class: 'none' }, '–') : visible(row.name)),
        ageNode(row.created, now, captured),
        ageNode(row.updated, now, captured),
        row.duration_ms < 0 ? h('span', { class: 'none' }, '–') : duration(row.duration_ms),
      ], {
        onclick: (event) => {
          // A click beside the link opens as well, unless text is being marked.
          if (!event.target.closest('a, button') && getSelection().isCollapsed) {
            location.hash = address;
          }
        },
      });
    }));
    if (!this.table.isConnected) {
      put(this.place, this.table);
    }
    say(list.partial ? `${plural(list.rows.length, 'instance')} on this page.` : `${plural(list.matched, 'instance')}.`);
  }

  empty() {
    if (this.list.total === 0) {
      return emptyBox('No instances yet.', this.hub.capture ? 'The hub had none when it was captured.' : 'Once an app starts an orchestration in this hub, it is listed here.');
    }
    return emptyBox('Nothing matches.', this.list.partial && this.state.q !== ''
      ? 'In a hub of this size the search is for how IDs begin, and case counts.'
      : 'Try fewer filters, or look for less of the ID.', h('button', { type: 'button', onclick: () => this.set({}) }, 'Clear filters'));
  }

  showPager() {
    const { list, state } = this;
    if (list.partial) {
      this.pager.show(`Page ${count(this.tokens.length + 1)}`, this.tokens.length > 0, Boolean(list.next), false);
      return;
    }
    const first = list.rows.length === 0 ? 0 : state.offset + 1;
    this.pager.show(
      [h('span', { class: 'range' }, `${count(first)}–${count(state.offset + list.rows.length)}`), ` of ${count(list.matched)}`],
      state.offset > 0, state.offset + list.rows.length < list.matched,
    );
  }

  // step moves the focus from row to row.
  step(by) {
    const links = [...this.body.querySelectorAll('.row-link')];
    const at = links.findIndex((link) => link.closest('tr').contains(document.activeElement));
    links[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by, 0), links.length - 1)]?.focus();
  }

  leave() {
    clearTimeout(this.timer);
    this.control?.abort();
  }
}

function labelled(text, input) {
  return h('div', { class: 'labelled' }, h('label', { for: input.id }, text), input);
}

// local writes a time as an input for dates has it.
function local(ms) {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return d.toISOString().slice(0, 19);
}

function short(text, n) {
  return text.length > n ? `${text.slice(0, n)}…` : text;
}
