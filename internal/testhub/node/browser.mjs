// Drives a Chromium on behalf of the Go tests, so that a page is used as people use
// it: by its roles and names, its keys, and what can be seen of it.
//
// Each line on stdin is a request, {"do": "...", ...}; each gets one line on
// stdout, in order: {"value": ...} or {"error": "..."}. The first line of all,
// before any request, is {"ready": "<version>"}, or {"missing": "<why>"} and the
// script ends. It ends with its input.
//
// The one argument is the path of the browser.

import { createInterface } from 'node:readline';

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

let chromium;
try {
  ({ chromium } = await import('playwright-core'));
} catch (err) {
  say({ missing: String(err.message).split('\n')[0] });
  process.exit(1);
}

let browser;
try {
  browser = await chromium.launch({
    executablePath: process.argv[2],
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--force-color-profile=srgb', '--font-render-hinting=none',
    ],
  });
} catch (err) {
  say({ missing: String(err.message).split('\n')[0] });
  process.exit(1);
}

const patience = 20_000; // milliseconds for anything to come about
const pages = new Map();

// What a page must not have: errors on its console, exceptions, requests that fail
// or go elsewhere, dialogs that nobody has asked for.
function watch(page, origin, problems, requests) {
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') {
      problems.push(`console ${m.type()}: ${m.text()} ${m.location().url}`);
    }
  });
  page.on('pageerror', (e) => problems.push(`exception: ${e.stack ?? e}`));
  page.on('dialog', (d) => {
    problems.push(`dialog: ${d.message()}`);
    d.dismiss().catch(() => {});
  });
  page.on('request', (r) => {
    requests.push(`${r.method()} ${r.url()}`);
    if (!r.url().startsWith(origin) && !r.url().startsWith('data:') && !r.url().startsWith('blob:')) {
      problems.push(`request to somebody else: ${r.url()}`);
    }
  });
}

async function open({ page: name, url, width = 1280, height = 800, scheme = 'light', zone = 'Europe/Berlin', reducedMotion = 'reduce' }) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, timezoneId: zone, locale: 'en-GB', reducedMotion, acceptDownloads: true,
  });
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (e) => console.error(`policy violation: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const state = { page, problems: [], requests: [] };
  watch(page, new URL(url).origin, state.problems, state.requests);
  pages.set(name, state);
  await page.goto(url);
}

// find returns what a request is about: a role with a name, or a selector.
function find({ page }, { role, name, selector, exact = true, nth = 0 }) {
  return (role ? page.getByRole(role, { name, exact }) : page.locator(selector)).nth(nth);
}

const actions = {
  goto: ({ page }, r) => page.goto(r.url),
  back: ({ page }) => page.goBack(),
  click: (state, r) => find(state, r).click(),
  fill: (state, r) => find(state, r).fill(r.text),
  choose: (state, r) => find(state, r).selectOption(r.text),
  press: ({ page }, r) => page.keyboard.press(r.text),
  type: ({ page }, r) => page.keyboard.type(r.text),
  wait: (state, r) => find(state, r).waitFor({ state: r.state ?? 'visible' }),
  // until waits for an expression to be true, which is looked at before each frame.
  // The policies of pages forbid what Playwright has for that.
  until: ({ page }, r) => page.evaluate(`new Promise((resolve, reject) => {
    const stop = performance.now() + ${patience};
    const look = () => {
      if (${r.text}) {
        resolve(null);
      } else if (performance.now() > stop) {
        reject(new Error('it never came true: ' + document.body.innerText.slice(0, 1000)));
      } else {
        requestAnimationFrame(look);
      }
    };
    look();
  })`),
  evaluate: ({ page }, r) => page.evaluate(r.text),
  text: (state, r) => find(state, r).innerText(),
  texts: ({ page }, r) => page.locator(r.selector).allInnerTexts(),
  attribute: (state, r) => find(state, r).getAttribute(r.text),
  resize: ({ page }, r) => page.setViewportSize({ width: r.width, height: r.height }),
  media: ({ page }, r) => page.emulateMedia({ colorScheme: r.scheme }),
  // tree is the accessibility tree, as [role, name] of what is in it.
  async tree({ page }) {
    const client = await page.context().newCDPSession(page);
    const { nodes } = await client.send('Accessibility.getFullAXTree');
    await client.detach();
    return nodes.filter((n) => !n.ignored).map((n) => [n.role?.value ?? '', n.name?.value ?? '']);
  },
  async download(state, r) {
    const [file] = await Promise.all([state.page.waitForEvent('download'), find(state, r).click()]);
    await file.saveAs(r.path);
    return file.suggestedFilename();
  },
  async screenshot({ page }, r) {
    await page.screenshot({ path: r.path, animations: 'disabled', caret: 'hide', scale: 'css' });
  },
  problems: ({ problems }) => problems,
  requests: ({ requests }) => requests,
  async close(state, r) {
    await state.page.context().close();
    pages.delete(r.page);
  },
};

async function answer(r) {
  if (r.do === 'open') {
    await open(r);
    return null;
  }
  const value = await actions[r.do](pages.get(r.page), r);
  return value === undefined || r.do === 'goto' || r.do === 'back' ? null : value;
}

say({ ready: browser.version() });

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  try {
    say({ value: await answer(JSON.parse(line)) });
  } catch (err) {
    say({ error: String(err.message) });
  }
}
await browser.close();
