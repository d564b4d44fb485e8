// Calls every method of the official JavaScript client on behalf of the Go tests,
// without a Functions host.
//
// The first line on stdin says what to do: {"binding": {...}, "calls": "read"}.
// The binding is what the host would give to the function; calls is "read" or
// "write". Each call gets one line on stdout, in order: {"name", "value"}, where
// undefined is {"undefined": true}, or {"name", "error"}. The first line of all is
// {"ready": "<version of the client>"}, or {"missing": "<why>"} and the script
// ends; the last is {"methods": [...]}, those of the client that were called.
//
// Names and arguments of the calls are those of the recordings in
// testdata/recorded/functions-3, which hold what the client gave for them when it
// talked to the real extension.

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
console.log = console.error; // stdout is for the answers

const require = createRequire(import.meta.url);
let df;
try {
  df = require('durable-functions');
  say({ ready: require('durable-functions/package.json').version });
} catch (err) {
  say({ missing: String(err.message).split('\n')[0] });
  process.exit(1);
}

const [line] = await once(createInterface({ input: process.stdin }), 'line');
const { binding, calls } = JSON.parse(line);

// Without it the client takes every URL for one of the local host.
process.env.WEBSITE_HOSTNAME = new URL(binding.baseUrl).host;

const called = new Set();
const nothing = () => {};
const client = new Proxy(
  df.getClient({
    options: { extraInputs: [df.input.durableClient()] },
    extraInputs: { get: () => binding },
    log: nothing, trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing,
  }),
  { get: (target, name) => { called.add(name); return target[name].bind(target); } },
);

const plain = (value) => (value === undefined ? { undefined: true } : JSON.parse(JSON.stringify(value)));

async function call(name, f) {
  try {
    say({ name, value: plain(await f()) });
  } catch (err) {
    say({ name, error: String(err?.message ?? err) });
  }
}

const { Running, Failed, Terminated, Completed } = df.OrchestrationRuntimeStatus;
const response = async (r, body) => ({ status: r.status, headers: Object.fromEntries(r.headers), body: await r[body]() });
const [longAgo, farAway] = [new Date('2001-01-01'), new Date('2099-01-01')];

async function read() {
  const ids = [
    'hello-1', 'restart-vms', 'failing-1', 'wait-1', 'wait-4', 'wait-5', 'wait-6', 'large-in', 'large-out', 'parent-1',
    'timer-long', 'eternal-1', 'null-body', 'num-body', 'text-body',
  ];
  for (const id of ids) {
    await call(`getStatus ${id}`, () => client.getStatus(id));
    await call(`getStatus+history ${id}`, () => client.getStatus(id, { showHistory: true, showHistoryOutput: true, showInput: true }));
  }
  await call('getStatus missing', () => client.getStatus('no-such'));
  await call('getStatusAll', () => client.getStatusAll());
  await call('getStatusBy running', () => client.getStatusBy({ runtimeStatus: [Running] }));
  await call('getStatusBy two', () => client.getStatusBy({ runtimeStatus: [Failed, Terminated] }));
  await call('getStatusBy window', () => client.getStatusBy({ createdTimeFrom: longAgo, createdTimeTo: farAway, runtimeStatus: [Completed] }));
  await call('getStatusBy none', () => client.getStatusBy({ createdTimeFrom: farAway }));
  for (const [name, key] of [['Counter', 'c1'], ['Counter', 'c3'], ['counter', 'locked'], ['Counter', 'gone'], ['Device', 'd1'], ['Nobody', 'x']]) {
    await call(`readEntityState ${name} ${key}`, () => client.readEntityState(new df.EntityId(name, key)));
  }
  await call('createHttpManagementPayload', () => client.createHttpManagementPayload('hello-1'));
  await call('createCheckStatusResponse', () => response(client.createCheckStatusResponse(undefined, 'hello-1'), 'json'));
  for (const id of ['hello-1', 'failing-1', 'wait-5', 'wait-1']) {
    const times = { timeoutInMilliseconds: 1500, retryIntervalInMilliseconds: 500 };
    await call(`waitForCompletion ${id}`, async () =>
      response(await client.waitForCompletionOrCreateCheckStatusResponse({ url: binding.baseUrl + '/x' }, id, times), 'text'));
  }
}

async function write() {
  const start = 'E1_HelloSequence';
  await call('startNew', () => client.startNew(start, { instanceId: 'js-1', input: { a: 1, b: ['é'] } }));
  await call('startNew no input', () => client.startNew(start, { instanceId: 'js-2' }));
  await call('startNew null', () => client.startNew(start, { instanceId: 'js-3', input: null }));
  await call('startNew unknown', () => client.startNew('Nope', { instanceId: 'js-4' }));
  await call('startNew over running', () => client.startNew('WaitFor', { instanceId: 'wait-1' }));
  for (const id of ['wait-1', 'hello-1', 'nobody']) {
    await call(`raiseEvent ${id}`, () => client.raiseEvent(id, 'operation', [1, 2, 3]));
  }
  await call('raiseEvent undefined', () => client.raiseEvent('wait-1', 'operation', undefined));
  for (const operation of ['terminate', 'suspend', 'resume', 'rewind']) {
    for (const id of ['wait-7', 'hello-1', 'failing-1', 'wait-4', 'nobody']) {
      await call(`${operation} ${id}`, () => client[operation](id, 'by client'));
    }
  }
  const entity = new df.EntityId('Counter', 'c3');
  await call('signalEntity', () => client.signalEntity(entity, 'Add', 5));
  await call('signalEntity no content', () => client.signalEntity(entity, 'Reset'));
  await call('purgeInstanceHistory', () => client.purgeInstanceHistory('ecall-1'));
  await call('purgeInstanceHistory again', () => client.purgeInstanceHistory('ecall-1'));
  await call('purgeInstanceHistoryBy', () => client.purgeInstanceHistoryBy({ createdTimeFrom: longAgo, createdTimeTo: farAway, runtimeStatus: [Terminated] }));
  await call('purgeInstanceHistoryBy none', () => client.purgeInstanceHistoryBy({ createdTimeFrom: farAway }));
}

await (calls === 'write' ? write() : read());
say({ methods: [...called] });
process.exit(0); // connections that are kept alive would hold it
