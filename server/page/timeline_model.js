// What is drawn of a timeline: work from its request to its answer, and what
// happened at one moment.

import { millis } from './format.js';

const requests = {
  TaskScheduled: 'activity', SubOrchestrationInstanceCreated: 'child', TimerCreated: 'timer', EventSent: 'call',
};

const kindWords = {
  activity: 'activity', child: 'sub-orchestration', timer: 'timer', call: 'entity call', sent: 'event sent', event: 'event received', mark: 'event',
};

const stateWords = {
  completed: 'completed', failed: 'failed', waiting: 'waiting', open: 'no answer in this window', unanswered: 'not waited for', fired: 'fired', moment: '', rewound: 'rewound',
};

export { kindWords, stateWords };

// rowsOf returns what is drawn of the first instance of a timeline, in the order in
// which it began.
export function rowsOf(data) {
  const instance = data.instances[0];
  const entries = data.entries.filter((e) => e.instance === 0);
  const answers = new Map();
  for (const e of entries) {
    if (e.answers && !e.duplicate) {
      const old = answers.get(e.answers);
      if (!old || old.rewound) {
        answers.set(e.answers, e);
      }
    }
  }
  // Of a part of a history, the time is that of its events.
  const inside = entries.filter((e) => data.first === 0 || parseInt(e.row_key, 16) >= data.first).map((e) => millis(e.time));
  const until = data.next >= 0 ? inside.reduce((a, b) => Math.max(a, b), -Infinity) : millis(data.until);
  const ended = instance.ended ? millis(instance.ended) : NaN;
  const failures = new Map(); // of a name: how many attempts in a row have failed
  const rows = [];
  for (const e of entries) {
    const row = rowOf(e, answers.get(e.row_key), { until, ended, cut: data.next >= 0 });
    if (row) {
      rows.push(row);
    }
  }
  for (const row of rows) {
    countAttempts(row, failures);
  }
  const began = data.first > 0 ? inside.reduce((a, b) => Math.min(a, b), Infinity) : millis(instance.began);
  return { rows: rows.filter((r) => r.end >= began), episodes: episodesOf(entries), instance, until, began, ended };
}

function rowOf(e, answer, { until, ended, cut }) {
  const start = millis(e.time);
  const common = { key: e.row_key, name: e.name ?? '', number: e.event_id, peer: e.peer ?? '', start, due: e.due ? millis(e.due) : NaN, entry: e, answer };
  const kind = requests[e.event];
  if (kind && (kind !== 'call' || answer || e.waiting)) {
    return { ...common, kind, ...stateOf(e, answer, kind, { until, ended, cut }) };
  }
  if (e.event === 'EventSent') {
    return { ...common, kind: 'sent', end: start, state: 'moment' };
  }
  if (e.event === 'EventRaised' && !e.answers) {
    return { ...common, kind: 'event', end: start, state: 'moment' };
  }
  if (['ExecutionTerminated', 'ExecutionSuspended', 'ExecutionResumed', 'ExecutionRewound', 'GenericEvent'].includes(e.event)) {
    return { ...common, kind: 'mark', name: e.event, end: start, state: 'moment' };
  }
  return null;
}

function stateOf(e, answer, kind, { until, ended, cut }) {
  if (answer) {
    const end = Math.max(millis(answer.time), millis(e.time));
    const state = answer.rewound || e.rewound ? 'rewound' : (answer.failed ? 'failed' : (kind === 'timer' ? 'fired' : 'completed'));
    return { end, state };
  }
  if (e.waiting) {
    return { end: until, state: 'waiting' };
  }
  if (e.rewound) {
    return { end: millis(e.time), state: 'rewound' };
  }
  if (!Number.isNaN(ended)) {
    return { end: Math.max(ended, millis(e.time)), state: 'unanswered' };
  }
  return { end: until, state: cut ? 'open' : 'unanswered' };
}

// countAttempts tells of an activity or child that begins after one of the same name
// has failed that it is another attempt, as retries of the framework are.
function countAttempts(row, failures) {
  if (row.kind !== 'activity' && row.kind !== 'child') {
    return;
  }
  const key = `${row.kind} ${row.name}`;
  const last = failures.get(key);
  row.attempt = last && last.end <= row.start ? last.attempt + 1 : 1;
  if (row.state === 'failed') {
    failures.set(key, { end: row.end, attempt: row.attempt });
  } else if (row.attempt > 1) {
    failures.delete(key);
  }
}

function episodesOf(entries) {
  const out = [];
  let begun = NaN;
  for (const e of entries) {
    if (e.event === 'OrchestratorStarted') {
      begun = millis(e.time);
    } else if (e.event === 'OrchestratorCompleted' && !Number.isNaN(begun)) {
      out.push([begun, Math.max(begun, millis(e.time))]);
      begun = NaN;
    }
  }
  return out;
}

// busyTimes are those in which something happened: not the time of timers, and of
// what has not ended.
export function busyTimes(model) {
  const busy = (r) => r.kind !== 'timer' && r.state !== 'waiting' && r.state !== 'open' && r.state !== 'unanswered';
  return [...model.episodes, ...model.rows.filter(busy).map((r) => [r.start, r.end])];
}

// groupsOf puts rows with the same name together, in lanes in which they do not
// overlap.
export function groupsOf(rows) {
  const groups = new Map();
  for (const row of rows) {
    const key = `${row.kind} ${row.kind === 'timer' ? '' : row.name}`;
    if (!groups.has(key)) {
      groups.set(key, { kind: row.kind, name: row.name, rows: [], lanes: [] });
    }
    const group = groups.get(key);
    let lane = group.lanes.findIndex((end) => end <= row.start);
    if (lane < 0) {
      lane = group.lanes.length < 40 ? group.lanes.length : 39;
    }
    group.lanes[lane] = row.end;
    group.rows.push({ ...row, lane });
  }
  return [...groups.values()];
}
