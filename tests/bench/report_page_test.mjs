// report_page_test.mjs HEED CHROMIUM: pages of heed report in a browser.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { peersJson, summarise } from '../../bench/peers/table.mjs';
import { Browser } from './browser.mjs';

const [heed, chromium] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'heed-report-'));
const SHAPES = ['hq=4 q=96 d=32', 'hq=8 hkv=2 q=1 kv=2048 d=64', 'rows=64 length=256'];
let browser, measured;

function run(...words) {
  const { status, stdout, stderr } = spawnSync(heed, words, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  assert.equal(status, 0, stderr);
  return stdout;
}

function file(name, content) {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** The address of a page of these results, by heed report. */
function report(name, benches, peers = undefined) {
  const files = benches.map((bench, i) => file(`${name}-${i}.json`, bench));
  const others = peers === undefined ? [] : ['--peers', file(`${name}-peers.json`, peers)];
  return pathToFileURL(file(`${name}.html`, run('report', ...files, ...others))).href;
}

/** What was measured, with each result as `change` makes it; a list makes several of one. */
function changed(change) {
  const copy = structuredClone(measured);
  copy.results = copy.results.flatMap(change);
  return copy;
}

function peersOf({ results }) {
  return peersJson(results.map(({ name, threads, min_ms }) => summarise(name, threads, [{ peer: 'heed', min_ms },
    { peer: 'ggml', min_ms: 2 * min_ms }, { peer: 'openblas', min_ms: min_ms / 2 }])));
}

/** What a reader of the page sees: texts, and of each chart its labels and how many pixels have colours. */
function seen() {
  const colours = (canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const [red, green, blue, alpha] = data.slice(i, i + 4);
      if (alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) ++count;
    }
    return count;
  };
  const charts = [...document.querySelectorAll('canvas')].map((canvas) => {
    const { data, scales, chartArea } = Chart.getChart(canvas);
    return { most: scales.x.max, room: chartArea.width / canvas.clientWidth, section: canvas.closest('section').id, labels: data.labels, pixels: colours(canvas),
      caption: canvas.closest('figure').querySelector('figcaption').textContent,
      alternative: canvas.getAttribute('aria-label'), series: data.datasets.map(({ label }) => label),
      values: data.datasets.map((each) => each.data), colour: data.datasets[0].backgroundColor };
  });
  const cells = (row) => [...row.cells].map((cell) => cell.innerText);
  return { title: document.title, text: document.body.innerText, charts,
    figures: [...document.querySelectorAll('#figures tr')].map(cells),
    sections: [...document.querySelectorAll('section')].filter((each) => !each.hidden).map(({ id }) => id),
    paper: getComputedStyle(document.body).backgroundColor,
    width: document.documentElement.scrollWidth, viewport: document.documentElement.clientWidth };
}

/** Opens a page, in which nothing may go wrong or be loaded. */
async function look(url, options) {
  const page = await browser.open(url, options);
  const view = await page.evaluate(seen);
  assert.deepEqual(page.complaints, []);
  assert.deepEqual(page.requests.filter((each) => each !== url && !each.startsWith('data:')), []);
  assert.ok(view.width <= view.viewport, `${view.width} of ${view.viewport} pixels`);
  for (const { pixels, section, caption, alternative } of view.charts) {
    assert.ok(pixels > 100, `${section}: ${pixels} pixels of the chart have colours`);
    assert.ok(caption.length > 0 && alternative.startsWith(caption));
  }
  return { page, ...view };
}

function names({ results }) {
  return [...new Set(results.map(({ name }) => name))];
}

before(() => {
  const json = join(folder, 'measured.json');
  const words = ['bench', ...SHAPES.flatMap((shape) => ['--shape', shape]), '--threads', '1,2', '--seconds', '0.002', '--warm'];
  file('measured.html', run(...words, '--json', json, '--format', 'html'));
  measured = JSON.parse(readFileSync(json, 'utf8'));
  // Which limit binds may differ from run to run.
  for (const result of measured.results) {
    const prefill = result.kind === 'prefill';
    if (result.percent_of_tile !== null) result.percent_of_tile = prefill ? 80 : 10;
    if (result.percent_of_peak !== null) result.percent_of_peak = 0.9 * result.percent_of_tile;
    result.peak_gflops = 100 * result.threads;
    result.tile_gflops = 90 * result.threads;
    result.percent_of_bandwidth = prefill ? 10 : 80;
  }
  browser = new Browser(chromium);
});
after(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

test('the page of a run opens without complaints or network, and shows every workload', async () => {
  const { text, charts, figures } = await look(pathToFileURL(join(folder, 'measured.html')).href);
  const labels = charts.flatMap((chart) => chart.labels ?? []);
  for (const name of names(measured)) {
    assert.ok(figures.some(([workload]) => workload === name), name);
    assert.equal(labels.filter((label) => label === name).length, 1, name);
  }
  assert.equal(figures.length, 1 + measured.results.length);
  for (const fact of [measured.host.model, measured.heed.compiler, measured.date]) assert.ok(text.includes(fact), fact);
});

test('charts and tables have the figures', async () => {
  const { charts, figures, sections } = await look(report('figures', [measured], peersOf(measured)));
  assert.deepEqual(sections, ['machines', 'arithmetic', 'memory', 'peers', 'roofline', 'scaling', 'figures']);
  assert.deepEqual(charts.map(({ section }) => section),
    ['arithmetic', 'memory', 'peers', 'peers', 'roofline', 'scaling']);
  const [first, second] = measured.results;
  const [arithmetic, memory, , peers, , scaling] = charts;
  assert.deepEqual(arithmetic.series, ['1 thread', '1 thread, register tile', '2 threads', '2 threads, register tile']);
  assert.deepEqual(arithmetic.values, [[72], [90], [72], [90]]);
  assert.equal(arithmetic.most, 100);
  assert.deepEqual(memory.values, [[80, 80], [80, 80]]);
  assert.deepEqual(peers.series, ['ONNX Runtime', 'ggml', 'OpenBLAS']);
  assert.deepEqual(peers.values, [[null, null, null], [2, 2, 2], [0.5, 0.5, 0.5]]);
  assert.deepEqual(scaling.values[0], [{ x: 1, y: 1 }, { x: 2, y: first.min_ms / second.min_ms }]);
  const column = (title) => figures.map((row) => row[figures[0].indexOf(title)]);
  assert.equal(column('best ms')[1], first.min_ms.toFixed(4));
  assert.equal(column('efficiency')[1], '–');
  assert.equal(column('efficiency')[2], `${(50 * first.min_ms / second.min_ms).toFixed(1)}%`);
});

test('sections without figures are not there', async () => {
  const one = changed((result) => (result.threads === 1 && result.kind === 'softmax' ? [result] : []));
  const { sections, charts } = await look(report('softmax', [one]));
  assert.deepEqual(sections, ['machines', 'memory', 'figures']);
  assert.deepEqual(charts.map(({ section }) => section), ['memory']);
});

test('what disturbed the machine is told', async () => {
  const quiet = changed((result) => [{ ...result, disturbed: null }]);
  assert.match((await look(report('quiet', [quiet]))).text, /The machine was quiet\./);
  const loud = changed((result, i) => [{ ...result, disturbed: i === 0 ? '7% lost' : null,
    slices: result.slices.map((slice) => ({ ...slice, lost: 0.25 })) }]);
  const { text, figures } = await look(report('loud', [loud]));
  assert.match(text, /The machine was disturbed: 1 of 6 figures, 25\.0% of the time lost/);
  assert.ok(figures[1].includes('7% lost') && figures[2].includes('quiet'));
});

test('files of one machine that measured different threads are one run, others are not', async () => {
  const of = (threads) => changed((result) => (result.threads === threads ? [{ ...result, efficiency: null }] : []));
  const joined = await look(report('joined', [of(1), of(2)]));
  assert.deepEqual(joined.charts.at(-1).section, 'scaling');
  assert.deepEqual(joined.charts[1].series, ['1 thread', '2 threads']);
  const elsewhere = of(2);
  elsewhere.host.model = 'another machine';
  for (const other of [elsewhere, of(1)]) {
    const { charts, sections, figures } = await look(report('apart', [of(1), other]));
    assert.ok(!sections.includes('scaling'));
    assert.match(charts[1].series[0], /^apart-0, 1 thread$/);
    assert.match(charts[1].series[1], /^apart-1, [12] threads?$/);
    assert.deepEqual(figures.map((row) => row[1]).slice(0, 2), ['run', 'apart-0']);
  }
});

test('threads gain beside the fewest that were measured', async () => {
  const twice = changed((result) => [{ ...result, threads: 2 * result.threads, min_ms: 12 / result.threads }]);
  const { charts } = await look(report('twice', [twice]));
  assert.deepEqual(charts.at(-1).values[0], [{ x: 2, y: 2 }, { x: 4, y: 4 }]);
});

test('words of files are words, whatever they look like', async () => {
  const words = '</script><script>hostile=1</script><img src=x onerror="hostile=1"> \'"&amp;` é 猫 \u2028 ${hostile=1}';
  const hostile = changed((result) => [{ ...result, name: `${words} ${result.name}`, shape: words, disturbed: words }]);
  for (const field of ['model', 'system', 'governor']) hostile.host[field] = words;
  hostile.heed.compiler = words;
  const others = { ...peersOf(hostile), peers: { ggml: words } };
  const { page, title, figures, charts } = await look(report('hostile', [hostile], others));
  assert.equal(title, `heed on ${words}`);
  assert.equal(await page.evaluate(() => typeof hostile), 'undefined');
  assert.equal(await page.evaluate(() => document.images.length), 0);
  assert.ok(charts[0].labels[0].startsWith(words));
  assert.ok(figures[1][0].includes('</script><script>hostile=1</script><img src=x'));
});

test('a page on a phone is no wider than the phone', async () => {
  const long = changed((result) => [{ ...result, name: `${'a-long-name-'.repeat(8)}${result.name}` },
    { ...result, name: `${'without'.repeat(20)}${result.name}` }]);
  for (const width of [320, 360]) {
    const { viewport, charts } = await look(report('phone', [measured, long], peersOf(long)), { width });
    assert.equal(viewport, width);
    for (const { section, room } of charts) assert.ok(room > 0.5, `${section}: names leave ${room} of the chart`);
  }
});

test('a page is dark where the reader wants it, and changes with the wish', async () => {
  const { page, paper, charts } = await look(report('dark', [measured]), { scheme: 'dark' });
  const light = await look(report('light', [measured]));
  assert.notEqual(paper, light.paper);
  assert.notEqual(charts[0].colour, light.charts[0].colour);
  await page.change({ scheme: 'light' });
  const turned = await page.evaluate(seen);
  assert.equal(turned.paper, light.paper);
  assert.equal(turned.charts[0].colour, light.charts[0].colour);
  assert.equal(turned.charts.length, charts.length);
});

test('a page is printed light, without what would not fit', async () => {
  const { page } = await look(report('print', [measured]), { scheme: 'dark' });
  const light = await look(report('screen', [measured]));
  await page.change({ media: 'print', scheme: 'dark' });
  const printed = await page.evaluate(seen);
  assert.equal(printed.paper, light.paper);
  assert.equal(printed.charts[0].colour, light.charts[0].colour);
  assert.ok(printed.width <= printed.viewport, `${printed.width} of ${printed.viewport} pixels`);
  const { data } = await page.send('Page.printToPDF', {});
  assert.ok(Buffer.from(data, 'base64').subarray(0, 5).equals(Buffer.from('%PDF-')));
});

test('a page may load nothing', async () => {
  const { page } = await look(report('closed', [measured]));
  const blocked = await page.evaluate(() => new Promise((resolve) => {
    const seenBlocked = [];
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
      seenBlocked.push(effectiveDirective);
      if (seenBlocked.length === 2) resolve(seenBlocked.sort());
    });
    fetch('http://localhost/').catch(() => {});
    document.createElement('img').src = 'http://localhost/';
    setTimeout(() => resolve(seenBlocked), 5000);
  }));
  assert.deepEqual(blocked, ['connect-src', 'img-src']);
});
