// A payload: its beginning, as it is or indented, and all of it as a file.

import { download, get } from './api.js';
import { h, put, say, uniqueID } from './dom.js';
import { count, size, visible } from './format.js';
import { icon } from './icons.js';
import { looksLikeJSON, prettyJSON } from './json.js';
import { copyButton, load, table } from './parts.js';

// payloadView shows a payload that is asked for when it is shown. which names it
// for the server, title for people and file for the disk.
export function payloadView(hub, id, title, which, file) {
  const place = h('div');
  const parameters = { id, ...which };
  const heading = h('h3', { id: uniqueID('payload') }, title);
  const node = h('section', { class: 'payload', 'aria-labelledby': heading.id }, h('div', { class: 'payload-head' }, heading), place);
  load(place, `Reading ${title.toLowerCase()}`, (signal) => get(hub, 'payload', parameters, signal), (text) => {
    if (!text.set || (text.head === 'null' && !text.more)) {
      return h('p', { class: 'none' }, text.set ? 'None: the text null.' : 'None.');
    }
    return textParts(text, {
      label: title, head: node.firstChild, save: () => download(hub, parameters, file),
    });
  });
  return node;
}

// textParts shows a text that the server gave, or as much of it as it gave.
export function textParts(text, { label, head, save }) {
  if (text.redacted) {
    return h('p', { class: 'redacted' }, icon('lock'), `${size(text.bytes)}, not shown. SHA-256 `, h('span', { class: 'mono' }, text.sha256));
  }
  const isJSON = looksLikeJSON(text.head, text.more);
  const pre = h('pre', { tabindex: '0', role: 'region', 'aria-label': label });
  const show = (pretty) => put(pre, pretty ? prettyJSON(text.head) : visible(text.head, true), text.more ? '…' : null);
  show(isJSON);
  const tools = h('div', { class: 'payload-tools' });
  if (isJSON) {
    const raw = h('button', {
      type: 'button', class: 'ghost small', 'aria-pressed': 'false', onclick: () => {
        const on = raw.getAttribute('aria-pressed') !== 'true';
        raw.setAttribute('aria-pressed', String(on));
        show(!on);
      },
    }, 'Raw');
    tools.append(raw);
  }
  tools.append(copyButton(() => text.head, text.more ? 'Copy what is shown' : `Copy ${label}`));
  if (save) {
    const button = h('button', {
      type: 'button', class: 'ghost small', 'aria-label': `Download ${label}`, onclick: async () => {
        button.disabled = true;
        try {
          await save();
          say('Downloaded.');
        } catch (error) {
          pre.after(h('p', { class: 'notice bad', role: 'alert' }, icon('error'), error.message));
        } finally {
          button.disabled = false;
        }
      },
    }, icon('download'), 'Download');
    tools.append(button);
  }
  head?.append(h('span', { class: 'payload-size' }, size(text.bytes)), tools);
  return [
    head ? null : tools,
    text.more ? h('p', { class: 'notice' }, icon('info'), `The first ${size(new TextEncoder().encode(text.head).length)} of ${size(text.bytes)} (${count(text.bytes)} bytes). Download it for the rest.`) : null,
    pre,
  ];
}

// fileName makes a name for a file out of what is in it.
export function fileName(...parts) {
  return `${parts.map((p) => p.replace(/[^\p{L}\p{N}@._-]+/gu, '_').slice(0, 60)).join('-')}.txt`;
}

// columnTable shows the columns of a row.
export function columnTable(caption, columns) {
  return table(caption, [{ label: 'Column' }, { label: 'Type' }, { label: 'Value', class: 'wide' }], columns.map((c) => [
    h('span', { class: 'mono' }, visible(c.name)), c.type,
    c.redacted ? h('span', { class: 'none' }, `${size(c.bytes)}, not shown`)
      : [h('span', { class: 'mono break' }, visible(c.head), c.more ? '…' : null), c.more && c.blob ? h('span', { class: 'none' }, ` in blob ${c.blob}`) : null],
  ]), 'dense cards');
}
