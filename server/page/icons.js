// Icons are drawn here, so that nothing has to be fetched. Each status has a shape
// of its own: colour alone tells nothing to many.

import { h, s } from './dom.js';

const shapes = {
  Running: 'M6 4l6 4-6 4z',
  Completed: 'M3.5 8.5l3 3 6-7',
  Failed: 'M4.5 4.5l7 7m0-7l-7 7',
  Pending: 'M8 2.8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8zM8 5.4V8l1.8 1.2',
  Suspended: 'M6 4.5v7m4-7v7',
  Terminated: 'M5.5 5.5h5v5h-5z',
  Canceled: 'M4.5 11.5l7-7',
  ContinuedAsNew: 'M12 8a4 4 0 1 1-1.3-3M12 3v2.4H9.6',
  Unknown: 'M6.2 6.2a1.9 1.9 0 1 1 2.6 1.8c-.6.3-.8.6-.8 1.2M8 11.6v.1',
};

const icons = {
  copy: 'M6 6h7v7H6zM3 10V3h7',
  check: 'M3.5 8.5l3 3 6-7',
  download: 'M8 3v7m-3-3l3 3 3-3M3.5 13h9',
  sun: 'M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6zM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9',
  moon: 'M12.8 9.6A5.3 5.3 0 0 1 6.4 3.2a5.3 5.3 0 1 0 6.4 6.4z',
  auto: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 2.5v11',
  help: 'M6 6.1a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.3M8 11.4v.1',
  refresh: 'M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.8h-2.8',
  search: 'M7 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM10 10l3.5 3.5',
  first: 'M11.5 4L7.5 8l4 4M4.5 4v8',
  previous: 'M10 4L6 8l4 4',
  next: 'M6 4l4 4-4 4',
  last: 'M4.5 4l4 4-4 4M11.5 4v8',
  up: 'M4 10l4-4 4 4',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  lock: 'M4.5 7.5h7v5.5h-7zM6 7.5V5.3a2 2 0 0 1 4 0v2.2',
  live: 'M8 6.6a1.4 1.4 0 1 1 0 2.8 1.4 1.4 0 0 1 0-2.8zM4.6 4.6a4.8 4.8 0 0 0 0 6.8M11.4 4.6a4.8 4.8 0 0 1 0 6.8',
  capture: 'M3 5.5h2.2L6.2 4h3.6l1 1.5H13v7H3zM8 7a2 2 0 1 1 0 4 2 2 0 0 1 0-4z',
  close: 'M4.5 4.5l7 7m0-7l-7 7',
  plus: 'M8 3.5v9M3.5 8h9',
  minus: 'M3.5 8h9',
  fit: 'M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3',
  error: 'M8 2.6l6 10.6H2zM8 6.6v3M8 11.4v.1',
  warning: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 5v3.6M8 10.7v.1',
  info: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 7.4V11M8 5.2v.1',
};

function draw(path, className) {
  return s('svg', { class: className, viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false' }, s('path', { d: path }));
}

// icon draws an icon. It says nothing: what it stands for is beside it in words.
export function icon(name, extra = '') {
  return draw(icons[name], `icon ${extra}`.trim());
}

const words = { ContinuedAsNew: 'Continued as new' };

// statusWords is a status for people.
export function statusWords(status) {
  return words[status] ?? status;
}

// chip shows a runtime status.
export function chip(status) {
  const known = shapes[status] ? status : 'Unknown';
  return h('span', { class: `chip status-${known}` }, draw(shapes[known], 'icon'), h('span', null, statusWords(status)));
}

// statusIcon draws the shape of a status alone.
export function statusIcon(status) {
  const known = shapes[status] ? status : 'Unknown';
  return draw(shapes[known], `icon status-icon status-${known}`);
}

// severityChip shows how much a finding matters.
export function severityChip(severity) {
  return h('span', { class: `chip severity-${severity}` }, icon(severity), h('span', null, severity));
}
