// A headless Chromium, by the DevTools protocol over a pipe.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** No name of a host has an address, and no proxy is there. */
const WITHOUT_NETWORK = ['--host-resolver-rules=MAP * ~NOTFOUND', '--proxy-server=http://127.0.0.1:9'];

export class Browser {
  constructor(program) {
    const sandbox = process.getuid() === 0 ? ['--no-sandbox'] : [];
    this.process = spawn(program, ['--headless=new', '--disable-gpu', '--disable-dev-shm-usage',
      '--remote-debugging-pipe', ...sandbox, ...WITHOUT_NETWORK],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.answers = new Map();
    this.listeners = [];
    this.sent = 0;
    this.process.on('exit', () => {
      for (const { reject } of this.answers.values()) reject(new Error('the browser has ended'));
    });
    let text = '';
    this.process.stdio[4].setEncoding('utf8').on('data', (piece) => {
      const messages = (text + piece).split('\0');
      text = messages.pop();
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  #receive(message) {
    if (message.id === undefined) {
      for (const listener of this.listeners) listener(message);
      return;
    }
    const { resolve, reject } = this.answers.get(message.id);
    this.answers.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.sent;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.answers.set(id, { resolve, reject }));
  }

  /** Opens a page this wide, in pixels, in a light or a dark scheme, and waits until it is loaded. */
  async open(url, { width = 1000, scheme = 'light' } = {}) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    await page.send('Emulation.setDeviceMetricsOverride',
      { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 });
    await page.prefer({ scheme });
    const loaded = page.next('Page.loadEventFired');
    await page.send('Page.navigate', { url });
    await loaded;
    return page;
  }

  async close() {
    const ended = once(this.process, 'exit');
    await this.send('Browser.close');
    await ended;
  }
}

class Page {
  /** What the console and the log said, exceptions included, and what was asked of the network. */
  complaints = [];
  requests = [];

  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
    browser.listeners.push(({ method, params, sessionId }) => {
      if (sessionId !== session) return;
      if (/^(Runtime\.(consoleAPICalled|exceptionThrown)|Log\.entryAdded)$/.test(method)) {
        this.complaints.push(JSON.stringify(params));
      }
      if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
    });
  }

  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  next(wanted) {
    return new Promise((resolve) => {
      this.browser.listeners.push(({ method, sessionId }) => {
        if (method === wanted && sessionId === this.session) resolve();
      });
    });
  }

  prefer({ scheme, media = 'screen' }) {
    return this.send('Emulation.setEmulatedMedia',
      { media, features: [{ name: 'prefers-color-scheme', value: scheme }] });
  }

  /** Changes the scheme or the medium, and has a frame drawn, before which the page is told. */
  async change(wish) {
    await this.send('Page.bringToFront');  // no other page has frames
    await this.prefer(wish);
    await this.send('Page.captureScreenshot', { format: 'jpeg', quality: 1 });
  }

  /** What a function gives that runs in the page; it must need nothing from outside. */
  async evaluate(code) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate',
      { expression: `(${code})()`, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description);
    return result.value;
  }
}
