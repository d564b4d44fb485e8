// Dialogs are those of the browser: they keep the focus, and end with Escape.

import { append, h, put, uniqueID } from './dom.js';
import { icon } from './icons.js';

// openDialog shows a dialog and returns its parts. It is gone when it is closed.
export function openDialog(title, className = '') {
  const heading = h('h2', { id: uniqueID('dialog') }, title);
  const body = h('div', { class: 'dialog-body' });
  const close = h('button', { type: 'button', class: 'ghost icon-only', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('close'));
  const dialog = h('dialog', { class: className, 'aria-labelledby': heading.id }, h('div', { class: 'dialog-head' }, heading, close), body);
  const before = document.activeElement;
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (before?.isConnected) {
      before.focus();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, body, close };
}

// field is a labelled input. It returns the input; its parent is to be shown.
export function field(label, input, help) {
  input.id = uniqueID('field');
  const parts = [h('label', { for: input.id }, label), input];
  if (help) {
    const note = h('p', { class: 'help', id: uniqueID('help') }, help);
    input.setAttribute('aria-describedby', note.id);
    parts.push(note);
  }
  return append(h('div', { class: 'field' }), parts);
}

// askKey asks for the key of the server.
export function askKey(wrong) {
  return new Promise((resolve) => {
    const { dialog, body } = openDialog('Key');
    const input = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    let given = null;
    put(
      body,
      h('form', {
        method: 'dialog',
        onsubmit: () => {
          given = input.value;
        },
      },
      wrong ? h('p', { class: 'notice bad', role: 'alert' }, icon('error'), 'That was not the key.') : null,
      h('p', null, 'This server asks for the key that it was started with. It is kept until this tab is closed, and sent to this server only.'),
      field('Key', input),
      h('div', { class: 'dialog-foot' }, h('button', { class: 'primary' }, 'Continue'))),
    );
    dialog.addEventListener('close', () => resolve(given));
    input.focus();
  });
}
