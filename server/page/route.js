// Addresses of what the page shows. They are in the part after #, which browsers
// keep for themselves: an instance ID is in no log on the way.

// encode writes a part of an address. Text with half a character, which no address
// can hold, becomes what is nearest to it.
function encode(text) {
  return encodeURIComponent(text.toWellFormed());
}

// hubAddress is the address of something of a hub: a list of parts, and parameters
// of which empty ones are left out.
export function hubAddress(hub, parts, parameters = {}) {
  const path = ['hubs', hub.connection, hub.name, ...parts].map(encode).join('/');
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v !== null && v !== undefined && v !== '' && v !== false) {
        q.append(name, v);
      }
    }
  }
  const text = q.toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

// instanceAddress is the address of an instance, of one of its tabs.
export function instanceAddress(hub, id, tab = '', parameters = {}) {
  return hubAddress(hub, ['instance', id, ...(tab ? [tab] : [])], parameters);
}

// parse reads an address. What it cannot read is the list of hubs.
export function parse(hash) {
  const [path, text = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  let parts;
  try {
    parts = path.split('/').map(decodeURIComponent);
  } catch {
    parts = [];
  }
  const parameters = new URLSearchParams(text);
  if (parts[0] !== 'hubs' || parts.length < 3) {
    return { view: 'hubs', connection: null, hub: null, rest: [], parameters, explicit: parts[0] === 'hubs' };
  }
  const [, connection, hub, view = 'instances', ...rest] = parts;
  return { view: view || 'instances', connection, hub, rest, parameters, explicit: true };
}
