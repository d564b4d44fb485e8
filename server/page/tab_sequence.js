// The sequence of an instance: who starts, calls and answers whom, in the order of
// time. The drawing has the same as a list, for those who do not see it.

import { get } from './api.js';
import { h, put, s } from './dom.js';
import { clock, count, duration, idNode, millis, plainText, plural, zone } from './format.js';
import { icon } from './icons.js';
import { drop, emptyBox, load, pager } from './parts.js';
import { instanceAddress } from './route.js';

const instances = 10;
const events = 2000;
const stepsAtOnce = 150;
const rowHeight = 30;
const timeWidth = 96;
const columnWidth = 176;
const perCharacter = 6.7; // pixels, about

export function sequenceTab({ hub, id }) {
  const tab = new SequenceTab(hub, id);
  tab.read();
  return tab;
}

class SequenceTab {
  constructor(hub, id) {
    this.hub = hub;
    this.id = id;
    this.offset = 0;
    this.place = h('div');
    this.note = h('p', { class: 'page-note' });
    this.pager = pager('Pages of the sequence', (where) => this.go(where));
    this.node = h('div', null, h('div', { class: 'tab-tools' }, this.note, this.pager.node), this.place);
    this.keys = { '[': () => this.go('previous'), ']': () => this.go('next') };
  }

  update() {}

  read() {
    load(this.place, 'Reading the sequence', (signal) => get(this.hub, 'timeline', { id: this.id, instances, events }, signal), (data) => {
      this.data = data;
      this.steps = stepsOf(data);
      return this.show();
    });
  }

  go(where) {
    if (!this.steps) {
      return;
    }
    const last = Math.max(0, Math.floor((this.steps.list.length - 1) / stepsAtOnce) * stepsAtOnce);
    this.offset = { first: 0, previous: Math.max(0, this.offset - stepsAtOnce), next: Math.min(last, this.offset + stepsAtOnce), last }[where];
    put(this.place, this.show());
  }

  show() {
    const { list } = this.steps;
    const shown = list.slice(this.offset, this.offset + stepsAtOnce);
    this.pager.node.hidden = list.length <= stepsAtOnce;
    this.pager.show(`${count(this.offset + 1)}–${count(this.offset + shown.length)} of ${count(list.length)}`, this.offset > 0, this.offset + shown.length < list.length);
    if (list.length === 0) {
      return emptyBox('Nothing to draw yet.', 'No worker has taken the instance up, or its history was purged.');
    }
    put(this.note, `${plural(this.data.instances.length, 'instance')}, times in ${zone()}`);
    const left = [];
    if (this.data.instances_left_out > 0) {
      left.push(`${plural(this.data.instances_left_out, 'further instance is', 'further instances are')} left out`);
    }
    if (this.data.events_left_out > 0) {
      left.push('later events are left out');
    }
    // Only those who take part in what is shown have a column.
    const taking = this.steps.participants.filter((p, i) => i === 0 || shown.some((step) => step.from === p || step.to === p));
    return [
      left.length > 0 ? h('p', { class: 'notice' }, icon('info'), `${left.join(', ')}: follow a child for its own sequence.`.replace(/^./, (c) => c.toUpperCase())) : null,
      this.drawing(taking, shown),
      h('details', { class: 'more' }, h('summary', null, 'The same as a list'), h('ol', { class: 'sequence-list', start: this.offset + 1 }, shown.map((step) => h('li', null, sentence(step))))),
    ];
  }

  drawing(participants, steps) {
    const width = timeWidth + participants.length * columnWidth;
    const height = steps.length * rowHeight + 16;
    const x = new Map(participants.map((p, i) => [p, timeWidth + (i + 0.5) * columnWidth]));
    const head = h('div', { class: 'sequence-head' }, participants.map((p) => {
      const node = h('div', { class: `participant ${p.kind}` }, p.id ? h('a', { href: instanceAddress(this.hub, p.id, p.id === this.id ? '' : 'sequence') }, idNode(p.id)) : p.text, p.name && p.name !== p.id ? h('span', { class: 'none' }, plainText(p.name)) : null);
      node.style.width = `${columnWidth}px`;
      return node;
    }));
    head.style.paddingLeft = `${timeWidth}px`;
    head.style.width = `${width}px`;
    const svg = s('svg', {
      class: 'sequence', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
      'aria-label': `Sequence of ${plural(steps.length, 'step')} between ${plural(participants.length, 'participant')}; below is the same as a list`,
    },
    s('defs', null, marker('arrow', 'arrow-head'), marker('arrow-failed', 'arrow-head failed')),
    participants.map((p) => s('line', { class: 'lifeline', x1: x.get(p), y1: 0, x2: x.get(p), y2: height })),
    steps.map((step, i) => drawStep(step, x, i * rowHeight + rowHeight)));
    return h('div', { class: 'sequence-scroll', tabindex: '0', role: 'region', 'aria-label': 'Sequence' }, head, svg);
  }

  leave() {
    drop(this.place);
  }
}

function marker(id, className) {
  return s('marker', { id, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto-start-reverse' }, s('path', { class: className, d: 'M0 0l8 4-8 4z' }));
}

function drawStep(step, x, y) {
  const from = x.get(step.from);
  const time = s('text', { class: 'step-time', x: 4, y: y + 4 }, clock(step.time, true).slice(11));
  const title = s('title', null, sentence(step));
  const failed = step.failed ? ' failed' : '';
  const label = (text, at, anchor, room) => s('text', { class: `step-text${failed}`, x: at, y: y - 5, 'text-anchor': anchor }, cut(text, room));
  if (step.note) {
    const text = cut(step.text, columnWidth - 24);
    const width = Math.min(columnWidth - 8, text.length * perCharacter + 18);
    return s('g', { class: `step note${failed}` }, title, time,
      s('rect', { x: from - width / 2, y: y - 11, width, height: 21, rx: 4 }), s('text', { class: `step-text${failed}`, x: from, y: y + 4, 'text-anchor': 'middle' }, text));
  }
  const to = x.get(step.to);
  const line = `step-line${step.reply ? ' reply' : ''}${failed}`;
  const end = `url(#arrow${step.failed ? '-failed' : ''})`;
  if (from === to) {
    return s('g', { class: 'step' }, title, time, s('path', { class: line, d: `M${from} ${y - 4}h26v10h-24`, 'marker-end': end }), label(step.text, from + 32, 'start', columnWidth - 40));
  }
  const inset = from < to ? 3 : -3;
  return s('g', { class: 'step' }, title, time,
    s('line', { class: line, x1: from, y1: y, x2: to - inset, y2: y, 'marker-end': end }),
    label(step.text, (from + to) / 2, 'middle', Math.abs(to - from) - 20));
}

function cut(text, pixels) {
  const n = Math.max(3, Math.floor(pixels / perCharacter));
  const characters = [...plainText(text)];
  return characters.length > n ? `${characters.slice(0, n - 1).join('')}…` : characters.join('');
}

function sentence(step) {
  const time = clock(step.time, true).slice(11);
  const who = (p) => (p.id ? plainText(p.id) : p.text);
  return step.note ? `${time} ${who(step.from)}: ${plainText(step.text)}` : `${time} ${who(step.from)} → ${who(step.to)}: ${plainText(step.text)}`;
}

// stepsOf turns entries into arrows and notes, as the command line's Mermaid
// diagrams have them.
function stepsOf(data) {
  const outside = { kind: 'outside', text: 'outside' };
  const activities = { kind: 'activities', text: 'activities' };
  const own = data.instances.map((i) => ({ kind: i.entity ? 'entity' : 'instance', id: i.id, name: i.name }));
  const named = new Map(own.map((p) => [p.id, p]));
  const used = new Set();
  const participant = (id) => {
    if (!id) {
      used.add(outside);
      return outside;
    }
    if (!named.has(id)) {
      named.set(id, { kind: 'instance', id, name: '' });
    }
    return named.get(id);
  };
  const onTimeline = new Set(data.instances.map((i) => i.id));
  const children = new Set(data.entries.filter((e) => e.event === 'SubOrchestrationInstanceCreated').map((e) => e.peer));
  const list = [];
  for (const e of data.entries) {
    const self = own[e.instance];
    const step = stepOf(e, self, { participant, activities, outside, onTimeline, children, entity: data.instances[e.instance].entity });
    if (step) {
      list.push({ time: millis(e.time), failed: Boolean(e.failed), ...step });
    }
  }
  const others = [...named.values()].filter((p) => !own.includes(p));
  return { participants: [...own.slice(0, 1), ...(used.has(outside) ? [outside] : []), activities, ...own.slice(1), ...others], list };
}

function stepOf(e, self, c) {
  const name = e.name ?? '';
  const text = name + remarks(e);
  const arrow = (from, to, words, reply = false) => ({ from, to, text: words, reply });
  const note = (words) => ({ from: self, note: true, text: words });
  switch (e.event) {
    case 'OrchestratorStarted':
    case 'OrchestratorCompleted':
      return null;
    case 'ExecutionStarted':
      return c.entity || c.children.has(self.id) ? null : arrow(c.participant(e.peer), self, `start ${text}`);
    case 'ExecutionCompleted':
    case 'ContinueAsNew':
      return note(name);
    case 'ExecutionTerminated':
    case 'ExecutionSuspended':
    case 'ExecutionResumed':
    case 'ExecutionRewound':
    case 'GenericEvent':
      return arrow(c.participant(''), self, e.event.replace('Execution', '').toLowerCase() + text);
    case 'TaskScheduled':
      return arrow(self, c.activities, text);
    case 'TaskCompleted':
    case 'TaskFailed':
      return arrow(c.activities, self, text, true);
    case 'SubOrchestrationInstanceCreated':
      return arrow(self, c.participant(e.peer), `start ${text}`);
    case 'SubOrchestrationInstanceCompleted':
    case 'SubOrchestrationInstanceFailed':
      return arrow(c.participant(e.peer), self, text, true);
    case 'TimerCreated':
      return note(`timer until ${clock(millis(e.due)).slice(11)}${remarks(e)}`);
    case 'TimerFired':
      return note(`timer fired${remarks(e)}`);
    case 'EventSent':
      return arrow(self, c.participant(e.peer), text);
    case 'EventRaised':
      if (e.answers) {
        return arrow(c.participant(e.peer), self, text, true);
      }
      // What an instance of the timeline has sent is there already.
      return e.peer && c.onTimeline.has(e.peer) ? null : arrow(c.participant(e.peer), self, text);
    default:
      return note(e.event + remarks(e));
  }
}

function remarks(e) {
  const parts = [];
  if (e.failed && e.event !== 'ExecutionCompleted') {
    parts.push(' failed');
  }
  if (e.answers && e.since) {
    parts.push(`, ${duration(millis(e.time) - millis(e.since))}`);
  }
  for (const [is, words] of [[e.waiting, 'waiting'], [e.duplicate, 'came again'], [e.rewound, 'rewound']]) {
    if (is) {
      parts.push(` (${words})`);
    }
  }
  return parts.join('');
}
