// Keyboard shortcuts. Single keys can be turned off, for those who speak to their
// computer.

import { h, put } from './dom.js';
import { openDialog } from './dialog.js';
import { readSetting, writeSetting } from './format.js';

const store = 'taskhub.keys';

const list = [
  ['/', 'Search instances'],
  ['j or k', 'Next or previous row'],
  ['Enter', 'Open the row, or the one instance that was found'],
  ['[ or ]', 'Previous or next page'],
  ['1 to 5', 'Tabs of an instance'],
  ['+ or −', 'Zoom into or out of a timeline'],
  ['0', 'The whole timeline'],
  ['← or →', 'Move a timeline that has the focus'],
  ['r', 'Read again'],
  ['g then i', 'Instances'],
  ['g then h', 'Health'],
  ['g then a', 'All hubs'],
  ['t', 'Theme'],
  ['?', 'This list'],
  ['Esc', 'Close a dialog'],
];

function enabled() {
  return readSetting(store) !== 'off';
}

// showKeys lists the shortcuts.
export function showKeys() {
  const { body, close } = openDialog('Keyboard shortcuts');
  const box = h('input', { type: 'checkbox', id: 'keys-on', onchange: () => writeSetting(store, box.checked ? null : 'off') });
  box.checked = enabled();
  put(
    body,
    h('dl', { class: 'keys' }, list.map(([keys, what]) => h('div', null,
      h('dt', null, keys.split(/( or | then | to )/).map((k) => (k.startsWith(' ') ? k : h('kbd', null, k)))), h('dd', null, what)))),
    h('div', { class: 'check' }, box, h('label', { for: 'keys-on' }, 'Use shortcuts of a single key')),
  );
  close.focus();
}

// listenForKeys calls what a key stands for, unless something is being typed.
export function listenForKeys({ theme, go, view }) {
  let before = '';
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || event.isComposing) {
      return;
    }
    const at = event.target;
    if (at.closest('dialog') || at.closest('input, textarea, select, [contenteditable]')) {
      return;
    }
    if (!enabled()) {
      return;
    }
    const sequence = before === 'g' ? `g${event.key}` : event.key;
    before = event.key;
    const known = {
      gi: () => go('instances'),
      gh: () => go('health'),
      ga: () => go('hubs'),
      t: theme,
      '?': showKeys,
    };
    const own = view()?.keys ?? {};
    const act = known[sequence] ?? own[sequence];
    if (act) {
      event.preventDefault();
      act(event);
    }
  });
}
