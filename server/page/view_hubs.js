// All hubs of the server.

import { h } from './dom.js';
import { count, plainText, timeNode } from './format.js';
import { icon } from './icons.js';
import { facts } from './parts.js';
import { hubAddress } from './route.js';

export function hubsView({ served, setTitle }) {
  setTitle(['Hubs']);
  const node = h('div', { class: 'page' },
    h('div', { class: 'page-head' }, h('h1', null, 'Hubs')),
    h('ul', { class: 'hub-list' }, served.hubs.map(card)));
  return { node, update() {} };
}

function card(hub) {
  const known = [
    ['Connection', hub.connection],
    ['Account', hub.account],
    ['Partitions', hub.partition_count > 0 ? count(hub.partition_count) : 'not known'],
    ['Instances', hub.instances >= 0 ? count(hub.instances) : null],
    ['History rows', hub.history_rows >= 0 ? count(hub.history_rows) : null],
    ['Captured', hub.finished ? timeNode(hub.finished) : null],
  ];
  return h('li', { class: 'card hub' },
    h('div', { class: 'hub-head' },
      h('h2', null, h('a', { href: hubAddress(hub, ['instances']) }, h('bdi', null, plainText(hub.name)))),
      h('span', { class: `tag ${hub.capture ? '' : 'tag-live'}` }, icon(hub.capture ? 'capture' : 'live'), hub.capture ? 'Capture' : 'Live'),
      hub.read_only && !hub.capture ? h('span', { class: 'tag', title: hub.why }, icon('lock'), 'Read-only') : null),
    facts(known),
    hub.unreadable.length > 0
      ? h('details', { class: 'notice' }, h('summary', null, `${hub.unreadable.length} parts of the capture could not be read`), h('ul', null, hub.unreadable.map((u) => h('li', null, u))))
      : null,
    h('p', { class: 'hub-links' },
      h('a', { href: hubAddress(hub, ['instances']) }, 'Instances'), ' ', h('a', { href: hubAddress(hub, ['health']) }, 'Health')));
}
