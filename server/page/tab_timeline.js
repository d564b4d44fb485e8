// The timeline of an instance: a row for each piece of work, from its request to
// its answer. Sub-orchestrations can be opened in place, or followed.

import { get } from './api.js';
import { h, put, say, uniqueID } from './dom.js';
import { clock, count, duration, idNode, plainText, plural, visible, zone } from './format.js';
import { icon, statusIcon, statusWords } from './icons.js';
import { drop, emptyBox, load, problemBox } from './parts.js';
import { instanceAddress } from './route.js';
import { Scale } from './scale.js';
import { busyTimes, groupsOf, kindWords, rowsOf, stateWords } from './timeline_model.js';

const eventsAtOnce = 1000;
const maxDepth = 8;
const manyRows = 80; // from which on they are grouped at first
const tickRoom = 84; // pixels that the longest time takes

const legend = [['activity', 'Activity'], ['child', 'Sub-orchestration'], ['timer', 'Timer'], ['call', 'Entity call'], ['event', 'Event']];
const stateLegend = [['failed', 'Failed'], ['waiting', 'Waiting']];

export function timelineTab({ hub, id, instance, parameters }) {
  const tab = new TimelineTab(hub, id, instance.status);
  tab.update(parameters);
  return tab;
}

class TimelineTab {
  constructor(hub, id, status) {
    this.hub = hub;
    this.id = id;
    this.status = status; // of the row
    this.parts = []; // what has to be drawn anew when the scale changes
    this.opened = new Map(); // models of sub-orchestrations by the path to them
    this.shorten = null;
    this.place = h('div');
    this.short = h('input', { type: 'checkbox', id: uniqueID('short'), onchange: () => this.setShorten(this.short.checked) });
    this.grouped = h('input', { type: 'checkbox', id: uniqueID('grouped'), onchange: () => this.build() });
    this.note = h('p', { class: 'page-note' });
    const tool = (name, text, act) => h('button', { type: 'button', class: 'icon-only', 'aria-label': text, title: text, onclick: act }, icon(name));
    this.tools = h('div', { class: 'tab-tools' },
      h('div', { class: 'button-row', role: 'group', 'aria-label': 'Zoom' },
        tool('minus', 'Zoom out (−)', () => this.zoom(1 / 1.6)), tool('plus', 'Zoom in (+)', () => this.zoom(1.6)), tool('fit', 'Show all (0)', () => this.fit()),
        tool('previous', 'Earlier (←)', () => this.move(-0.4)), tool('next', 'Later (→)', () => this.move(0.4))),
      h('div', { class: 'check' }, this.short, h('label', { for: this.short.id }, 'Shorten idle time')),
      h('div', { class: 'check' }, this.grouped, h('label', { for: this.grouped.id }, 'Group by name')),
      this.note);
    this.windows = h('div', { class: 'windows' });
    this.node = h('div', null, this.tools, this.place, this.windows);
    this.keys = { '+': () => this.zoom(1.6), '=': () => this.zoom(1.6), '-': () => this.zoom(1 / 1.6), 0: () => this.fit() };
    this.watch = new ResizeObserver(() => this.draw());
  }

  update(parameters) {
    this.first = Number(parameters.get('first') ?? 0) || 0;
    this.opened.clear();
    this.shorten = null;
    this.place.replaceChildren();
    load(this.place, 'Reading the timeline', (signal) => this.read(this.id, this.first, signal), (data) => {
      this.data = data;
      this.model = rowsOf(data);
      return this.make();
    });
  }

  read(id, first, signal) {
    return get(this.hub, 'timeline', { id, first: first || '', events: eventsAtOnce }, signal);
  }

  make() {
    const { data, model } = this;
    this.showWindows();
    const empty = data.entries.length === 0;
    this.tools.hidden = empty;
    if (empty) {
      return emptyBox('No events yet.', 'No worker has taken the instance up, or its history was purged.');
    }
    put(this.note, `${plural(data.entries.length, 'event')}, times in ${zone()}`);
    if (model.rows.length > manyRows && !this.grouped.dataset.chosen) {
      this.grouped.checked = true;
      this.grouped.dataset.chosen = 'yes';
    }
    this.rows = h('ol', { class: 'gantt-rows' });
    this.axis = h('div', { class: 'gantt-axis', 'aria-hidden': 'true' });
    this.grid = h('div', { class: 'gantt-grid', 'aria-hidden': 'true' });
    this.date = h('div', { class: 'gantt-date', 'aria-hidden': 'true' });
    this.chart = h('div', {
      class: 'gantt', tabindex: '0', role: 'group', 'aria-label': 'Timeline', onkeydown: (event) => this.key(event), onwheel: (event) => this.wheel(event),
    }, this.date, this.axis, this.grid, this.rows);
    this.build();
    this.watch.disconnect();
    this.watch.observe(this.axis);
    return [
      data.problems.length > 0 ? h('details', { class: 'notice bad' }, h('summary', null, plural(data.problems.length, 'row could not be read', 'rows could not be read')), h('ul', null, data.problems.map((p) => h('li', null, visible(p))))) : null,
      this.chart,
      h('ul', { class: 'legend', 'aria-label': 'Legend' },
        legend.map(([kind, text]) => h('li', null, h('span', { class: `swatch kind-${kind}` }), text)),
        stateLegend.map(([state, text]) => h('li', null, h('span', { class: `swatch kind-activity state-${state}` }), text))),
    ];
  }

  // showWindows offers the events before and after those that are there.
  showWindows() {
    const { data } = this;
    const link = (first, text, name) => h('a', { class: 'button', href: instanceAddress(this.hub, this.id, 'timeline', { first: first || '' }) }, name === 'previous' ? icon('previous') : null, text, name === 'next' ? icon('next') : null);
    const till = data.next < 0 ? null : data.next - 1;
    const focused = this.windows.contains(document.activeElement);
    put(
      this.windows,
      data.first > 0 || data.next >= 0 ? h('p', { class: 'notice' }, icon('info'), till === null ? `From event ${count(data.first)} to the last.` : `Events ${count(data.first)} to ${count(till)}; there are more.`) : null,
      data.first > 0 ? link(Math.max(0, data.first - eventsAtOnce), 'Earlier events', 'previous') : null,
      data.next >= 0 ? link(data.next, 'Later events', 'next') : null,
    );
    if (focused) {
      (this.windows.querySelector('a:last-of-type') ?? this.chart)?.focus({ preventScroll: true });
    }
  }

  // build makes the rows and the scale anew.
  build() {
    const models = [this.model, ...this.opened.values()].filter(Boolean);
    const times = models.flatMap((m) => [m.began, Number.isNaN(m.ended) ? m.until : m.ended, ...m.rows.flatMap((r) => [r.start, r.end])]).filter((t) => !Number.isNaN(t));
    const part = this.data.first > 0 || this.data.next >= 0;
    const from = part ? this.model.began : min(times);
    const to = part ? this.model.until : max(times);
    const busy = models.flatMap(busyTimes);
    const old = this.scale;
    let scale = new Scale(from, to, busy, this.shorten ?? false);
    if (this.shorten === null) {
      this.shorten = scale.mostlyIdle;
      this.short.checked = this.shorten;
      scale = new Scale(from, to, busy, this.shorten);
    }
    this.short.disabled = scale.idle.length === 0;
    this.scale = scale;
    if (old && old.from === from && old.to === to && old.segments.length === scale.segments.length) {
      scale.left = old.left;
      scale.right = old.right;
    }
    this.parts = [];
    put(this.rows, this.instanceRow(this.model, 0, null), this.grouped.checked ? this.groupRows(this.model) : this.model.rows.map((row) => this.row(row, 0, '', this.id)));
    this.draw();
  }

  setShorten(on) {
    this.shorten = on;
    this.scale = null;
    this.build();
  }

  bar(row, lane = 0) {
    const at = row.state === 'moment' ? 'moment' : 'bar';
    const took = row.end - row.start;
    const words = [plainText(row.name) || kindWords[row.kind], row.number >= 0 ? `#${row.number}` : '', stateWords[row.state]].filter(Boolean).join(' ');
    const title = `${words}\n${clock(row.start, true)}${at === 'bar' ? ` – ${row.state === 'waiting' ? 'now' : clock(row.end, true)}\n${duration(took)}` : ''}`;
    const node = h('span', { class: `${at} kind-${row.kind} state-${row.state}`, title, data: { lane } });
    node.style.setProperty('--lane', String(lane));
    this.parts.push({ node, start: row.start, end: row.end, moment: at === 'moment' });
    return node;
  }

  instanceRow(model, depth, path) {
    const { instance } = model;
    const status = path === null && instance.status === 'Unknown' ? this.status : instance.status;
    const end = Number.isNaN(model.ended) ? model.until : model.ended;
    const whole = h('span', { class: `bar kind-instance status-${status} ${Number.isNaN(model.ended) ? 'state-waiting' : ''}`, title: statusWords(status) });
    this.parts.push({ node: whole, start: model.began, end });
    const episodes = model.episodes.map(([a, b]) => {
      const node = h('span', { class: 'episode', title: `the orchestrator ran\n${clock(a, true)}, ${duration(b - a)}` });
      this.parts.push({ node, start: a, end: b });
      return node;
    });
    const cut = this.data.next >= 0 && path === null;
    return item(depth, 'gantt-instance', [
      h('span', { class: 'expander-gap' }, statusIcon(status)),
      h('span', { class: 'gantt-name' }, path === null ? h('bdi', null, visible(instance.name || instance.id)) : idNode(instance.id)),
      h('span', { class: 'vh' }, `, ${cut ? 'part of it' : statusWords(status)}, ${plural(model.episodes.length, 'episode')}`),
    ], [whole, episodes], cut ? '' : duration(end - model.began));
  }

  // eventLink leads to the event in the history.
  eventLink(row, id) {
    const position = parseInt(row.key, 16);
    if (!(position >= 0)) {
      return null;
    }
    const address = instanceAddress(this.hub, id, 'history', { first: position - (position % 200) || '', at: row.key });
    const text = row.number >= 0 ? `#${row.number}` : '…';
    return h('a', { class: 'gantt-event', href: address, 'aria-label': `Event ${position} in the history`, title: `Event ${position} in the history` }, text);
  }

  row(row, depth, path, id) {
    const own = `${path}/${row.key}`;
    const label = [];
    const canOpen = row.kind === 'child' && row.peer !== '' && depth < maxDepth;
    if (canOpen) {
      const open = this.opened.has(own);
      label.push(h('button', {
        type: 'button', class: 'ghost icon-only small expander', 'aria-expanded': String(open), 'aria-label': `What happened in ${plainText(row.peer)}`, data: { path: own },
        onclick: () => (open ? this.close(own) : this.open(own, row.peer)),
      }, icon(open ? 'down' : 'right')));
    } else {
      label.push(h('span', { class: 'expander-gap' }));
    }
    const name = row.name || (row.kind === 'timer' ? 'Timer' : kindWords[row.kind]);
    const nameNode = h('bdi', null, visible(name));
    label.push(
      row.kind === 'child' && row.peer ? h('a', { class: 'gantt-name', href: instanceAddress(this.hub, row.peer, 'timeline') }, nameNode) : h('span', { class: 'gantt-name' }, nameNode),
      this.eventLink(row, id),
      row.attempt > 1 ? h('span', { class: 'tag small' }, `attempt ${row.attempt}`) : null,
      row.peer && row.kind !== 'child' ? h('a', { class: 'gantt-peer', href: instanceAddress(this.hub, row.peer) }, idNode(row.peer)) : null,
      h('span', { class: 'vh' }, `, ${kindWords[row.kind]} ${stateWords[row.state]}, from ${clock(row.start, true)}`),
    );
    const took = row.state === 'moment' ? '' : duration(row.end - row.start);
    const note = { failed: h('span', { class: 'bad' }, icon('close'), took), waiting: [`${took}…`], rewound: h('span', { class: 'none' }, 'rewound') }[row.state] ?? took;
    const nodes = [item(depth, '', label, this.bar(row), note)];
    const model = this.opened.get(own);
    if (model === null) {
      nodes.push(item(depth + 1, '', [h('span', { class: 'none' }, 'Reading…')], null, ''));
    } else if (model instanceof Error) {
      nodes.push(h('li', null, problemBox(model, () => this.open(own, row.peer))));
    } else if (model) {
      nodes.push(this.instanceRow(model, depth + 1, own), ...model.rows.map((r) => this.row(r, depth + 1, own, row.peer)));
      if (model.more) {
        nodes.push(item(depth + 1, '', [h('a', { href: instanceAddress(this.hub, row.peer, 'timeline') }, 'It has more events')], null, ''));
      }
    }
    return nodes;
  }

  groupRows(model) {
    return groupsOf(model.rows).map((group) => {
      const failed = group.rows.filter((r) => r.state === 'failed').length;
      const waiting = group.rows.filter((r) => r.state === 'waiting').length;
      const name = group.kind === 'timer' ? 'Timers' : group.name || kindWords[group.kind];
      const node = item(0, 'gantt-group', [
        h('span', { class: 'expander-gap' }),
        h('span', { class: 'gantt-name' }, h('bdi', null, visible(name))), h('span', { class: 'none' }, ` ×${count(group.rows.length)}`),
        failed > 0 ? h('span', { class: 'bad' }, ` ${count(failed)} failed`) : null, waiting > 0 ? h('span', null, ` ${count(waiting)} waiting`) : null,
      ], group.rows.map((r) => this.bar(r, r.lane)), duration(max(group.rows.map((r) => r.end)) - min(group.rows.map((r) => r.start))));
      node.style.setProperty('--lanes', String(group.lanes.length));
      return node;
    });
  }

  async open(path, id) {
    this.opened.set(path, null);
    this.rebuild(path);
    try {
      const data = await this.read(id, 0);
      const model = data.entries.length > 0 ? rowsOf(data) : null;
      if (model) {
        model.more = data.next >= 0;
      }
      this.opened.set(path, model ?? new Error('It has no history yet.'));
      say(model ? `${plural(model.rows.length, 'row')} of ${plainText(id)}.` : 'It has no history yet.');
    } catch (error) {
      this.opened.set(path, error);
    }
    this.rebuild(path);
  }

  close(path) {
    for (const key of [...this.opened.keys()]) {
      if (key === path || key.startsWith(`${path}/`)) {
        this.opened.delete(key);
      }
    }
    this.rebuild(path);
  }

  // rebuild keeps the focus on the button that was pressed.
  rebuild(path) {
    this.build();
    [...this.rows.querySelectorAll('.expander')].find((b) => b.dataset.path === path)?.focus({ preventScroll: true });
  }

  // draw puts everything into its place on the scale.
  draw() {
    const { scale } = this;
    if (!scale || !this.axis) {
      return;
    }
    for (const { node, start, end, moment } of this.parts) {
      const a = scale.seen(start);
      const b = scale.seen(Math.max(start, end));
      const out = b < 0 || a > 1;
      node.classList.toggle('out', out);
      if (!out) {
        const left = Math.max(a, -0.01);
        node.style.left = `${left * 100}%`;
        if (!moment) {
          node.style.width = `${(Math.min(b, 1.01) - left) * 100}%`;
        }
      }
    }
    const width = Math.max(120, this.axis.clientWidth);
    const ticks = scale.ticks(width);
    this.date.textContent = clock(scale.first()).slice(0, 10);
    put(this.axis, ticks.filter((t) => (1 - t.x) * width > tickRoom).map((t) => placed(h('span', { class: 'tick' }, t.text), t.x)));
    put(
      this.grid, ticks.map((t) => placed(h('span', { class: 'grid-line' }), t.x)),
      scale.breaks().map((b) => {
        const node = placed(h('span', { class: 'grid-break', title: `${b.text} in which nothing was worked on` }, h('span', null, b.text)), Math.max(0, b.from));
        node.style.width = `${(Math.min(1, b.to) - Math.max(0, b.from)) * 100}%`;
        return node;
      }),
    );
  }

  zoom(factor, around) {
    this.scale?.zoom(factor, around);
    this.draw();
  }

  move(part) {
    this.scale?.move(part);
    this.draw();
  }

  fit() {
    this.scale?.fit();
    this.draw();
  }

  key(event) {
    const part = { ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key];
    if (part && event.target === this.chart) {
      event.preventDefault();
      this.move(part);
    }
  }

  // wheel zooms with the key that browsers zoom with; without it the page scrolls.
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) {
      return;
    }
    event.preventDefault();
    const box = this.axis.getBoundingClientRect();
    this.zoom(event.deltaY < 0 ? 1.25 : 1 / 1.25, Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  }

  leave() {
    this.watch.disconnect();
    drop(this.place);
  }
}

function item(depth, className, label, track, took) {
  const node = h('li', { class: className }, h('div', { class: 'gantt-label' }, label), h('div', { class: 'gantt-track' }, track), h('div', { class: 'gantt-took' }, took));
  node.style.setProperty('--depth', String(depth));
  return node;
}

function placed(node, x) {
  node.style.left = `${x * 100}%`;
  return node;
}

// With thousands of numbers, Math.min(...list) would be too many arguments.
function min(list) {
  return list.reduce((a, b) => Math.min(a, b), Infinity);
}

function max(list) {
  return list.reduce((a, b) => Math.max(a, b), -Infinity);
}
