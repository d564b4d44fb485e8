// The page: its frame, and which view is shown.

import { get, onKeyNeeded } from './api.js';
import { askKey } from './dialog.js';
import { h, put, say } from './dom.js';
import { plainText, setUTC, showsUTC, writeSetting, zone } from './format.js';
import { icon } from './icons.js';
import { listenForKeys, showKeys } from './keys.js';
import { busyBox, emptyBox, problemBox } from './parts.js';
import { hubAddress, parse } from './route.js';
import { healthView } from './view_health.js';
import { hubsView } from './view_hubs.js';
import { instanceView } from './view_instance.js';
import { instancesView } from './view_instances.js';

const main = document.getElementById('main');
const top = document.getElementById('top');

const views = { hubs: hubsView, instances: instancesView, instance: instanceView, health: healthView };

let served = null; // what the server has
let current = null; // { key, view }
let shown = false; // anything yet

onKeyNeeded(askKey);

// A theme is the system's unless one is chosen.
const themes = ['auto', 'light', 'dark'];
const themeIcons = { auto: 'auto', light: 'sun', dark: 'moon' };

function theme() {
  return document.documentElement.dataset.theme ?? 'auto';
}

function setTheme(name) {
  if (name === 'auto') {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = name;
  }
  writeSetting('taskhub.theme', name === 'auto' ? null : name);
  say(`Theme: ${name}.`);
}

function nextTheme() {
  setTheme(themes[(themes.indexOf(theme()) + 1) % themes.length]);
  showTop(parse(location.hash));
}

function toggleUTC() {
  setUTC(!showsUTC());
  say(`Times are in ${zone()}.`);
  current = null; // everything that shows a time is made anew
  show(false);
}

// hubOf returns the hub that an address names, or null.
function hubOf(route) {
  const same = (a, b) => a.toLowerCase() === b.toLowerCase();
  return served?.hubs.find((hub) => route.hub !== null && same(hub.name, route.hub) && same(hub.connection, route.connection)) ?? null;
}

function navigation(hub, route) {
  const link = (name, text) => h('a', {
    href: hubAddress(hub, [name]),
    'aria-current': route.view === name || (name === 'instances' && route.view === 'instance') ? (route.view === name ? 'page' : 'true') : null,
  }, text);
  return [
    h('a', { class: 'hub-name', href: '#/hubs', title: 'All hubs' },
      icon(hub.capture ? 'capture' : 'live'), h('span', { class: 'vh' }, hub.capture ? 'Capture of hub ' : 'Live hub '), h('bdi', null, plainText(hub.name))),
    h('nav', { class: 'views', 'aria-label': 'Hub' }, link('instances', 'Instances'), link('health', 'Health')),
  ];
}

function showTop(route) {
  const focused = top.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  const hub = hubOf(route);
  const name = theme();
  put(
    top,
    h('a', { class: 'brand', href: '#/hubs' }, h('span', { class: 'logo', 'aria-hidden': 'true' }), 'taskhub'),
    hub ? navigation(hub, route) : null,
    h('div', { class: 'top-end' },
      hub?.read_only ? h('span', { class: 'tag', title: hub.why }, icon('lock'), hub.capture ? 'Capture' : 'Read-only') : null,
      h('button', {
        type: 'button', class: 'ghost', 'aria-pressed': String(showsUTC()), title: `Times are in ${zone()}`, data: { name: 'utc' }, onclick: toggleUTC,
      }, 'UTC'),
      h('button', {
        type: 'button', class: 'ghost icon-only', 'aria-label': `Theme: ${name}`, title: `Theme: ${name}`, data: { name: 'theme' }, onclick: nextTheme,
      }, icon(themeIcons[name])),
      h('button', {
        type: 'button', class: 'ghost icon-only', 'aria-label': 'Keyboard shortcuts', title: 'Keyboard shortcuts (?)', data: { name: 'help' }, onclick: showKeys,
      }, icon('help'))),
  );
  if (focused) {
    top.querySelector(`[data-name="${focused}"]`)?.focus();
  }
}

function setTitle(parts) {
  document.title = [...parts, 'taskhub'].map(plainText).join(' · ');
}

// show shows what the address names. move says that the reader has gone there, so
// that the focus has to follow.
async function show(move) {
  const route = parse(location.hash);
  if (served === null) {
    put(main, busyBox('Asking the server for its hubs'));
    try {
      served = await get(null, 'hubs', {});
    } catch (error) {
      showTop(route);
      put(main, problemBox(error, () => show(false)));
      return;
    }
  }
  if (!route.explicit && served.hubs.length === 1) {
    location.replace(hubAddress(served.hubs[0], ['instances']));
    return; // shown when the address has changed
  }
  const hub = hubOf(route);
  showTop(route);
  if (route.view !== 'hubs' && (hub === null || !views[route.view])) {
    current = null;
    setTitle(['Not found']);
    put(main, emptyBox(
      hub === null ? 'This server does not have that hub.' : 'There is no such view.', null,
      h('p', null, h('a', { href: '#/hubs' }, 'Show all hubs')),
    ));
    return;
  }
  const key = JSON.stringify([route.view, hub?.connection, hub?.name, route.view === 'instance' ? route.rest[0] : null]);
  if (current?.key === key) {
    current.view.update(route);
    return;
  }
  current?.view.leave?.();
  const view = views[route.view]({ hub, served, route, setTitle });
  current = { key, view };
  put(main, view.node);
  const first = !shown;
  shown = true;
  if (move && !first) {
    window.scrollTo(0, 0);
    const heading = main.querySelector('h1');
    heading?.setAttribute('tabindex', '-1');
    heading?.focus({ preventScroll: true });
  }
}

document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the address says what is shown
  main.focus();
});
window.addEventListener('hashchange', () => show(true));
listenForKeys({
  theme: nextTheme,
  go: (name) => {
    const hub = hubOf(parse(location.hash));
    if (name === 'hubs') {
      location.hash = '#/hubs';
    } else if (hub) {
      location.hash = hubAddress(hub, [name]);
    }
  },
  view: () => current?.view,
});
show(false);
