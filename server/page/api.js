// What the page asks the server for: data of its own under page/data, which never
// changes anything, and for actions the HTTP API that any client uses.

const keyStore = 'taskhub.key';

// Problem is an answer that is none: what is wrong, and what to do.
export class Problem extends Error {
  constructor(message, hint, status) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

let askForKey = async () => null;

// onKeyNeeded sets what is asked for the key: a function that gets whether the last
// one was wrong, and returns a promise of one, or of null.
export function onKeyNeeded(ask) {
  askForKey = ask;
}

let memoryKey = null;

function key() {
  try {
    return sessionStorage.getItem(keyStore) ?? memoryKey;
  } catch {
    return memoryKey;
  }
}

function setKey(value) {
  memoryKey = value;
  try {
    if (value === null) {
      sessionStorage.removeItem(keyStore);
    } else {
      sessionStorage.setItem(keyStore, value);
    }
  } catch {
    // It is then kept as long as the page.
  }
}

let asking = null;

// newKey asks for the key, once for all requests that need it at the same time.
function newKey(used) {
  if (key() !== used && key() !== null) {
    return Promise.resolve(key()); // somebody has given one meanwhile
  }
  asking ??= askForKey(used !== null).then((value) => {
    setKey(value);
    return value;
  }).finally(() => {
    asking = null;
  });
  return asking;
}

async function send(url, options) {
  for (;;) {
    const used = key();
    const headers = { ...options.headers, 'x-taskhub-page': '1' };
    if (used !== null) {
      // A header takes Latin-1 only; another character can be in no key.
      headers['x-functions-key'] = [...used].every((c) => c.charCodeAt(0) < 256) ? used : '?';
    }
    let answer;
    try {
      answer = await fetch(url, { ...options, headers, cache: 'no-store', credentials: 'same-origin', redirect: 'error' });
    } catch (cause) {
      if (options.signal?.aborted) {
        throw cause;
      }
      throw new Problem('The server does not answer.', 'Is taskhub serve still running? Start it again and try once more.', 0);
    }
    if (answer.status !== 401) {
      return answer;
    }
    if (await newKey(used) === null) {
      throw new Problem('This server needs a key.', 'It was given to serve when it was started. Try again to enter it.', 401);
    }
  }
}

function query(parameters) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v !== null && v !== undefined && v !== '') {
        q.append(name, v);
      }
    }
  }
  return q.toString();
}

function dataURL(hub, name, parameters) {
  const which = hub ? { taskHub: hub.name, connection: hub.connection } : {};
  return `page/data/${name}?${query({ ...which, ...parameters })}`;
}

async function problem(answer) {
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // Not everything that answers speaks JSON.
  }
  const text = told.error ?? told.ExceptionMessage ?? told.Message ?? `The server answers ${answer.status}.`;
  const busy = answer.status === 503 ? 'The server is busy. Try again in a moment.' : '';
  return new Problem(text, told.hint ?? busy, answer.status);
}

// get returns data of the server.
export async function get(hub, name, parameters, signal) {
  const answer = await send(dataURL(hub, name, parameters), { signal });
  if (!answer.ok) {
    throw await problem(answer);
  }
  return answer.json();
}

// lines calls each with the lines of a stream, one after the other, and returns
// the last one.
export async function lines(hub, name, parameters, signal, each) {
  const answer = await send(dataURL(hub, name, parameters), { signal });
  if (!answer.ok) {
    throw await problem(answer);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let last = null;
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? '')).split('\n');
    rest = parts.pop();
    for (const part of parts) {
      last = JSON.parse(part);
      if (last.type === 'error') {
        throw new Problem(last.error, last.hint, 200);
      }
      each(last);
    }
    if (done) {
      break;
    }
  }
  if (last?.type !== 'done') {
    throw new Problem('The answer has ended too soon.', 'Try again.', 200);
  }
  return last;
}

// download saves a payload as a file.
export async function download(hub, parameters, name) {
  const answer = await send(dataURL(hub, 'payload', { ...parameters, download: 1 }), {});
  if (!answer.ok) {
    throw await problem(answer);
  }
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser has begun to save it when the next task runs.
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// path returns a path of the HTTP API, null for one that a browser cannot ask for: it
// takes some parts for steps in the path whatever their spelling, and half characters
// have no spelling at all.
export function path(...parts) {
  if (parts.some((part) => part === '.' || part === '..' || !part.isWellFormed())) {
    return null;
  }
  return parts.map(encodeURIComponent).join('/');
}

// act asks the HTTP API to change something; at is a path of it.
export async function act(hub, method, at, parameters, body) {
  const url = `runtime/webhooks/durabletask/${at}?${query({ ...parameters, taskHub: hub.name, connection: hub.connection })}`;
  const answer = await send(url, {
    method, body, headers: body === undefined ? {} : { 'content-type': 'application/json' },
  });
  if (answer.ok) {
    const text = await answer.text();
    return text === '' ? null : JSON.parse(text);
  }
  const known = {
    404: ['The server does not find the instance.', 'It may have been purged meanwhile. Look again.'],
    409: ['Somebody else has changed the instance meanwhile, or it has not ended.', 'Look again before you try once more.'],
    410: ['The instance has ended meanwhile.', 'Look again: there is nothing left to do.'],
    412: ['Only an instance that has failed can be rewound.', 'Look again: its status has changed.'],
  };
  const told = await problem(answer);
  if (known[answer.status] && (told.message.startsWith('The server answers') || answer.status !== 409)) {
    throw new Problem(known[answer.status][0], known[answer.status][1], answer.status);
  }
  throw told;
}
