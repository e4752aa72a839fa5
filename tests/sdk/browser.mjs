// Headless Chromium with pages that run the unmodified SDK, bundled as an application would, from an origin of their own. The pages are
// isolated from other origins, as those of the wasm core have to be: every answer of the server must let them in.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
const HTML = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';

export class Browser {
  static async start() {
    const browser = new Browser();
    const entryPoints = [join(here, 'page.mjs')];
    const { outputFiles } = await build({ entryPoints, bundle: true, format: 'esm', write: false, logLevel: 'warning' });
    const files = { '/': ['text/html', HTML], '/page.js': ['text/javascript', outputFiles[0].text] };
    browser.files = createServer((request, response) => {
      const [type, body] = files[request.url] ?? [];
      response.writeHead(type ? 200 : 404, { 'Content-Type': type ?? 'text/plain', ...ISOLATED }).end(body);
    });
    await once(browser.files.listen(0, '127.0.0.1'), 'listening');
    const { port } = browser.files.address();
    /** Where the pages are, and another origin with the same pages. */
    [browser.origin, browser.otherOrigin] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
    // Without its sandbox, which Chromium does not have for root.
    const executablePath = process.env.MAGPIE_CHROMIUM ?? '/usr/bin/chromium';
    browser.chromium = await chromium.launch({ executablePath, chromiumSandbox: false });
    return browser;
  }

  /** A page with nothing of the others: as in the browser of another person. */
  async open(origin = this.origin) {
    const page = new Page(origin);
    page.context = await this.chromium.newContext();
    page.page = await page.context.newPage();
    await page.page.exposeFunction('raised', (event, answer) => page.handlers.get(event)?.(answer));
    await page.visit();
    return page;
  }

  async remove() {
    await this.chromium.close();
    this.files.close();
  }
}

export class Page {
  constructor(origin) {
    this.origin = origin;
    this.handlers = new Map();
  }

  async visit() {
    await this.page.goto(this.origin);
    await this.page.waitForFunction(() => globalThis.call);
  }

  async reload() {
    await this.page.reload();
    await this.page.waitForFunction(() => globalThis.call);
  }

  async leave() {
    await this.page.goto('about:blank');
  }

  evaluate(script) {
    return this.page.evaluate(script);
  }

  /** The SDK of this page: its methods answer here as they do there. */
  sdk() {
    const on = (event, handler) => this.handlers.set(event, handler);
    const call = async (name, args) => {
      const { answer, refusal } = await this.page.evaluate((all) => globalThis.call(...all), [name, args]);
      if (refusal) throw refusal;
      return answer;
    };
    return new Proxy({}, { get: (_, name) => (name === 'on' ? on : (...args) => call(name, args)) });
  }
}
