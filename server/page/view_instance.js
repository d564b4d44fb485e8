// One instance: what its row says, and tabs for everything else.

import { get } from './api.js';
import { actionBar } from './actions.js';
import { h, put } from './dom.js';
import { ageNode, count, duration, idNode, millis, plural, timeNode, visible } from './format.js';
import { chip, icon } from './icons.js';
import { copyButton, definitions, drop, emptyBox, facts, load, problemBox } from './parts.js';
import { columnTable, fileName, payloadView } from './payload.js';
import { hubAddress, instanceAddress } from './route.js';
import { diagnosisTab, explain, verdictBox } from './tab_diagnosis.js';
import { historyTab } from './tab_history.js';
import { sequenceTab } from './tab_sequence.js';
import { timelineTab } from './tab_timeline.js';

const tabs = [
  ['overview', 'Overview'], ['timeline', 'Timeline'], ['sequence', 'Sequence'], ['history', 'History'], ['diagnosis', 'Diagnosis'],
];
const makers = { overview: overviewTab, timeline: timelineTab, sequence: sequenceTab, history: historyTab, diagnosis: diagnosisTab };

export function instanceView({ hub, route, setTitle }) {
  const view = new InstanceView(hub, route.rest[0], setTitle);
  view.update(route);
  return view;
}

class InstanceView {
  constructor(hub, id, setTitle) {
    this.hub = hub;
    this.id = id;
    this.setTitle = setTitle;
    this.instance = null;
    this.tab = null;
    this.name = '';
    this.head = h('div', { class: 'instance-head' });
    this.nav = h('nav', { class: 'tabs', 'aria-label': 'Instance' });
    this.place = h('div', { class: 'tab-place' });
    this.heading = h('h1', { class: 'instance-id' }, h('span', { class: 'vh' }, 'Instance '), idNode(id), copyButton(() => id, 'Copy ID'));
    this.node = h('div', { class: 'page' },
      h('p', { class: 'back' }, h('a', { href: hubAddress(hub, ['instances']) }, icon('previous'), 'Instances')),
      this.heading, this.head, this.nav, this.place);
    this.keys = {
      r: () => this.read(),
      ...Object.fromEntries(tabs.map(([name], i) => [String(i + 1), () => {
        location.hash = instanceAddress(hub, id, name === 'overview' ? '' : name);
      }])),
    };
  }

  update(route) {
    const name = makers[route.rest[1]] ? route.rest[1] : 'overview';
    this.setTitle([this.id, tabs.find(([n]) => n === name)[1], this.hub.name]);
    put(this.nav, tabs.map(([tab, text]) => h('a', { href: instanceAddress(this.hub, this.id, tab === 'overview' ? '' : tab), 'aria-current': tab === name ? 'page' : null }, text)));
    this.nav.querySelector('[aria-current]').scrollIntoView({ block: 'nearest', inline: 'nearest' });
    this.parameters = route.parameters;
    if (this.instance === null) {
      this.name = name;
      this.read();
    } else if (this.name === name && this.tab) {
      this.tab.update(route.parameters);
    } else {
      this.name = name;
      this.showTab();
    }
  }

  // read reads the instance, and shows the tab anew.
  read() {
    if (this.instance === null) {
      return load(this.head, 'Reading the instance', (signal) => get(this.hub, 'instance', { id: this.id }, signal), (instance) => this.show(instance));
    }
    return get(this.hub, 'instance', { id: this.id }).then((instance) => put(this.head, this.show(instance)), (error) => put(this.head, problemBox(error, () => this.read())));
  }

  show(instance) {
    if (!instance.found) {
      this.missing();
      return [];
    }
    this.nav.hidden = false;
    this.instance = instance;
    this.showTab();
    const i = instance;
    const now = millis(i.observed_at);
    const known = [
      ['Function', i.name ? h('bdi', null, visible(i.name)) : null],
      ['Created', i.created ? ageNode(i.created, now, this.hub.capture) : null],
      [i.completed ? 'Took' : 'Running for', i.duration_ms >= 0 ? duration(i.duration_ms) : null],
      ['Updated', i.updated ? ageNode(i.updated, now, this.hub.capture) : null],
      ['Partition', i.partition >= 0 ? String(i.partition) : null],
      ['Parent', i.parent ? h('a', { href: instanceAddress(this.hub, i.parent.id) }, idNode(i.parent.id)) : null],
    ];
    return [
      h('div', { class: 'instance-line' },
        i.has_row ? chip(i.status) : h('span', { class: 'tag' }, 'No row, history only'),
        i.entity ? h('span', { class: 'tag' }, 'Entity') : null,
        facts(known)),
      actionBar(this.hub, i, () => this.read()),
      i.problems.length > 0 ? h('ul', { class: 'notice bad' }, i.problems.map((p) => h('li', null, visible(p)))) : null,
    ];
  }

  showTab() {
    this.tab?.leave?.();
    this.tab = makers[this.name]({ hub: this.hub, id: this.id, instance: this.instance, parameters: this.parameters });
    Object.assign(this.keys, { '+': null, '-': null, 0: null, ArrowLeft: null, ArrowRight: null, '[': null, ']': null }, this.tab.keys ?? {});
    put(this.place, this.tab.node);
  }

  // missing says what is known of an instance that is not there: similar IDs, and
  // messages that wait for it.
  missing() {
    this.nav.hidden = true;
    this.instance = null;
    this.tab?.leave?.();
    const similar = h('div', { class: 'stack' });
    put(this.place, emptyBox('There is no such instance.', 'It may have been purged, or its ID is written differently: case counts.'), similar);
    load(similar, 'Looking for similar IDs', (signal) => explain(this.hub, this.id, signal), (e) => [
      e.similar.length > 0 ? h('section', { class: 'card' }, h('h2', null, 'Did you mean'), h('ul', { class: 'plain' }, e.similar.map((id) => h('li', null, h('a', { href: instanceAddress(this.hub, id) }, idNode(id)))))) : null,
      e.messages.length > 0 ? h('section', { class: 'card' }, h('h2', null, 'Messages that wait for it'), h('p', null, plural(e.messages.length + e.messages_more, 'message'))) : null,
    ]);
  }

  leave() {
    this.tab?.leave?.();
    drop(this.head);
  }
}

function overviewTab({ hub, id, instance: i }) {
  const now = millis(i.observed_at);
  const time = (t) => (t ? timeNode(t, { fine: true, now, captured: hub.capture }) : null);
  const verdict = h('div');
  const find = () => load(verdict, 'Finding out what it waits for', (signal) => explain(hub, id, signal), (e) => verdictBox(hub, i, e));
  if (i.long_history) {
    put(verdict, h('div', { class: 'verdict' }, h('p', null, 'To say what it waits for, all of its long history is read.'), h('button', { type: 'button', onclick: find }, 'Find out')));
  } else {
    find();
  }
  const what = i.reason_output && i.status !== 'Failed' ? 'Output (the reason given)' : 'Output';
  const payload = (title, part) => payloadView(hub, id, title, { part }, fileName(hub.name, id, part));
  const fields = definitions([
    ['Execution ID', i.execution_id ? h('span', { class: 'id-cell' }, idNode(i.execution_id), copyButton(() => i.execution_id, 'Copy execution ID')) : null],
    ['Function', i.name ? h('bdi', null, visible(i.name)) : null],
    ['Version', i.version ? visible(i.version) : null],
    ['Created', time(i.created)],
    ['Last updated', time(i.updated)],
    ['Completed', time(i.completed)],
    ['Scheduled start', time(i.scheduled)],
    ['Generation', i.generation === null ? null : String(i.generation)],
    ['Control queue', i.queue ? h('span', { class: 'mono' }, i.queue) : null],
    ['Parent', i.parent ? [h('a', { href: instanceAddress(hub, i.parent.id) }, idNode(i.parent.id)), i.parent.name ? [' (', visible(i.parent.name), ')'] : null] : null],
    ['Last checkpoint', i.sentinel ? [time(i.sentinel.completed_at) ?? '–', i.sentinel.complete ? null : h('strong', null, ' not written to its end')] : null],
    ['History of', i.sentinel && i.sentinel.execution_id !== i.execution_id ? ['another execution: ', idNode(i.sentinel.execution_id)] : null],
  ]);
  const node = h('div', { class: 'overview' },
    verdict,
    h('div', { class: 'columns' },
      h('section', { class: 'card' }, h('h2', null, 'Fields'), fields, i.has_row ? rowDetails(i) : null),
      h('div', { class: 'stack' }, i.has_row ? [
        i.entity ? payload('Entity state', 'state') : null,
        payload(i.entity ? 'Scheduler state' : 'Input', 'input'),
        i.entity ? null : payload(what, 'output'),
        payload('Custom status', 'custom_status'),
        i.columns.some((c) => c.name === 'Tags' && c.set && c.head !== 'null') ? payload('Tags', 'tags') : null,
      ] : emptyBox('The Instances table has no row of it.', 'Its history is all there is.'))));
  return { node, update() {}, leave() {
    drop(verdict);
  } };
}

// rowDetails shows the row as it is stored, when somebody opens it.
function rowDetails(i) {
  const place = h('div');
  return h('details', {
    class: 'more', ontoggle: (event) => {
      if (event.target.open && place.childElementCount === 0) {
        put(place, columnTable('Columns of the row', i.columns), h('p', { class: 'help' }, 'Written ', timeNode(i.stored_at, { fine: true }), ', ETag ', h('span', { class: 'mono' }, i.etag)));
      }
    },
  }, h('summary', null, `The row as stored (${count(i.columns.length)} columns)`), place);
}
