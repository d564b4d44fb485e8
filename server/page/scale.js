// The scale of a timeline: from times to places between 0 and 1, where long idle
// time can be shortened, and the part of it that is seen.

import { clock, duration } from './format.js';

// An idle stretch is shortened if it is longer than this part of the whole, and is
// then this wide.
const longIdle = 0.06;
const shortWidth = 0.035;

const steps = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000,
  3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000, 2_592_000_000, 31_536_000_000,
];

export class Scale {
  // busy are [from, to] in which something went on.
  constructor(from, to, busy, shorten) {
    this.from = from;
    this.to = Math.max(to, from + 1);
    this.idle = idleStretches(this.from, this.to, busy);
    this.segments = segments(this.from, this.to, shorten ? this.idle : []);
    this.fit();
  }

  // mostlyIdle reports whether shortening would show much more.
  get mostlyIdle() {
    return this.idle.reduce((sum, [a, b]) => sum + b - a, 0) > 0.75 * (this.to - this.from);
  }

  fit() {
    this.left = 0;
    this.right = 1;
  }

  // place returns where a time is on the whole scale.
  place(t) {
    const at = this.segments.find((s) => t <= s.to) ?? this.segments.at(-1);
    const part = at.to === at.from ? 0 : (Math.min(Math.max(t, at.from), at.to) - at.from) / (at.to - at.from);
    return at.at + part * at.width;
  }

  // seen returns where a time is in what is seen: between 0 and 1 if it is seen.
  seen(t) {
    return (this.place(t) - this.left) / (this.right - this.left);
  }

  zoom(factor, around = 0.5) {
    const width = Math.min(1, Math.max(1e-7, (this.right - this.left) / factor));
    const centre = this.left + around * (this.right - this.left);
    this.left = Math.min(Math.max(0, centre - around * width), 1 - width);
    this.right = this.left + width;
  }

  move(part) {
    const width = this.right - this.left;
    this.left = Math.min(Math.max(0, this.left + part * width), 1 - width);
    this.right = this.left + width;
  }

  // breaks are the shortened stretches that are seen.
  breaks() {
    return this.segments.filter((s) => s.short).map((s) => ({
      from: (s.at - this.left) / (this.right - this.left), to: (s.at + s.width - this.left) / (this.right - this.left), text: duration(s.to - s.from),
    })).filter((b) => b.to > 0 && b.from < 1);
  }

  // ticks are round times that are seen, at least so far apart; width is that of
  // what is seen, in pixels.
  ticks(width, apart = 92) {
    const out = [];
    let last = -Infinity;
    for (const s of this.segments) {
      if (s.short) {
        continue;
      }
      const pixels = (s.width / (this.right - this.left)) * width;
      const perPixel = (s.to - s.from) / Math.max(pixels, 1e-9);
      const step = steps.find((n) => n / perPixel >= apart) ?? steps.at(-1);
      // Only what is seen is walked through, which can be little of a long time.
      const first = this.timeAt(Math.max(0, (s.at - this.left) / (this.right - this.left)), s);
      const end = this.timeAt(Math.min(1, (s.at + s.width - this.left) / (this.right - this.left)), s);
      const zone = new Date(first).getTimezoneOffset() * 60_000;
      for (let t = Math.ceil((first - zone) / step) * step + zone; t <= end && out.length < 60; t += step) {
        const x = this.seen(t) * width;
        if (x - last >= apart && x >= 0 && x <= width) {
          out.push({ x: x / width, text: clock(t, step < 1000).slice(step >= 86_400_000 ? 0 : 11, step >= 86_400_000 ? 10 : (step >= 60_000 ? 16 : undefined)) });
          last = x;
        }
      }
    }
    return out;
  }

  // first returns the earliest time that is seen.
  first() {
    const at = this.segments.findLast((s) => s.at <= this.left) ?? this.segments[0];
    return this.timeAt(0, at);
  }

  timeAt(x, segment) {
    const place = this.left + x * (this.right - this.left);
    return segment.from + ((place - segment.at) / segment.width) * (segment.to - segment.from);
  }
}

// idleStretches returns what of the time is not busy, as far as it is long.
function idleStretches(from, to, busy) {
  const out = [];
  let at = from;
  const least = longIdle * (to - from);
  for (const [a, b] of [...busy].sort((x, y) => x[0] - y[0])) {
    if (a - at > least) {
      out.push([at, a]);
    }
    at = Math.max(at, b);
  }
  if (to - at > least) {
    out.push([at, to]);
  }
  return out;
}

function segments(from, to, idle) {
  const idleTime = idle.reduce((sum, [a, b]) => sum + b - a, 0);
  const left = 1 - idle.length * shortWidth;
  const perMS = idle.length > 0 && idleTime < to - from ? left / (to - from - idleTime) : 1 / (to - from);
  const out = [];
  let at = 0;
  let time = from;
  const add = (end, short) => {
    if (end > time || out.length === 0) {
      const width = short ? shortWidth : (end - time) * perMS;
      out.push({ from: time, to: end, at, width, short });
      at += width;
      time = end;
    }
  };
  for (const [a, b] of idle) {
    // A little of the time on both sides stays, so that what ends and begins there
    // does not touch the break.
    const margin = Math.min((b - a) / 4, (to - from - idleTime) * 0.01);
    add(a + margin, false);
    add(b - margin, true);
  }
  add(to, false);
  const whole = at || 1;
  for (const s of out) {
    s.at /= whole;
    s.width /= whole;
  }
  return out;
}
