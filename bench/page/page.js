'use strict';
// Fills the page with the figures of its data: JSON of heed bench, and of bench/peers/run.

const { benches, peers } = JSON.parse(document.getElementById('data').textContent);

const NARROW = 560; // pixels: names of workloads take several lines of a chart

// The columns of the table: field, title, how it is shown. Minor ones are not printed.
const COLUMNS = [
  ['threads', 'threads', String],
  ['min_ms', 'best ms', digits(4)],
  ['median_ms', 'median ms', digits(4)],
  ['gflops', 'GFLOP/s', digits(1)],
  ['gbps', 'GB/s', digits(1)],
  ['percent_of_peak', 'of peak', percent],
  ['percent_of_tile', 'of tile', percent],
  ['percent_of_bandwidth', 'of memory', percent],
  ['efficiency', 'efficiency', (part) => percent(100 * part)],
  ['max_error', 'max error', (value) => value.toExponential(1)],
  ['disturbed', 'machine', String],
  ['lost', 'time lost', (part) => percent(100 * part), 'minor'],
  ['cores', 'cores', digits(2), 'minor'],
  ['runs', 'runs', String, 'minor'],
  ['run_ms', 'undisturbed ms', digits(4), 'minor'],
  ['plan_ms', 'plan ms', digits(4), 'minor'],
  ['peak_gflops', 'peak GFLOP/s', digits(1), 'minor'],
  ['tile_gflops', 'tile GFLOP/s', digits(1), 'minor'],
  ['read_gbps', 'read GB/s', digits(1), 'minor'],
  ['copy_gbps', 'copy GB/s', digits(1), 'minor'],
  ['peak_spread', 'peak varies', (part) => percent(100 * part), 'minor'],
  ['tile_spread', 'tile varies', (part) => percent(100 * part), 'minor'],
  ['read_spread', 'read varies', (part) => percent(100 * part), 'minor'],
  ['visible_scores', 'visible scores', String, 'minor'],
  ['isa', 'kernels', String, 'minor'],
  ['q_type', 'queries', String, 'minor'],
  ['kv_type', 'keys, values', String, 'minor'],
  ['layout', 'layout', String, 'minor'],
  ['kind', 'kind', String, 'minor'],
  ['shape', 'shape', String, 'minor'],
];
const WORDS = ['disturbed', 'isa', 'q_type', 'kv_type', 'layout', 'kind', 'shape'];

// Figures in words

function digits(count) {
  return (value) => value.toFixed(count);
}

function percent(value) {
  return `${value.toFixed(1)}%`;
}

function threadsInWords(threads) {
  return `${threads} thread${threads === 1 ? '' : 's'}`;
}

function bytes(count) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(count) / 10)));
  return `${Number((count / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

function shown(value, show) {
  return value === null || value === undefined ? '–' : show(value);
}

// What was measured

/** What has to be the same for figures to be of one run. */
function identity({ heed, host, setting }) {
  return JSON.stringify([heed, host.model, host.logical_cpus, host.system, setting.isa, setting.warm,
    setting.pinned]);
}

function keyOf({ name, threads }) {
  return JSON.stringify([name, threads]);
}

/** Files of one heed and one machine that measured different things are one run. */
function runsOf(files) {
  const runs = [];
  for (const { name, bench } of files) {
    const keys = bench.results.map(keyOf);
    const id = identity(bench);
    const same = runs.find((run) => run.id === id && !keys.some((key) => run.keys.has(key)));
    const run = same ?? { id, names: [], keys: new Set(), bench, results: [] };
    if (!same) runs.push(run);
    run.names.push(name.replace(/\.json$/, ''));
    run.results.push(...bench.results);
    for (const key of keys) run.keys.add(key);
  }
  return runs;
}

/** How many times as fast each result is as one thread would be; the fewest threads lose nothing to each other. */
function addSpeedUps(results) {
  for (const result of results) {
    const fewest = results.filter(({ name }) => name === result.name)
      .reduce((a, b) => (b.threads < a.threads ? b : a));
    result.speed_up = fewest.threads * fewest.min_ms / result.min_ms;
    result.efficiency = fewest === result ? null : result.speed_up / result.threads;
  }
}

/** What has one colour: a run on one number of threads. */
function seriesOf(runs) {
  return runs.flatMap((run) => {
    const counts = [...new Set(run.results.map(({ threads }) => threads))].sort((a, b) => a - b);
    return counts.map((threads) => ({
      label: [...(runs.length > 1 ? [run.names.join(' + ')] : []), threadsInWords(threads)].join(', '),
      results: new Map(run.results.filter((each) => each.threads === threads)
        .map((each) => [each.name, each])),
    }));
  });
}

const runs = runsOf(benches);
for (const run of runs) addSpeedUps(run.results);
const series = seriesOf(runs);
const allResults = runs.flatMap(({ results }) => results);

function boundByArithmetic({ percent_of_tile, percent_of_bandwidth }) {
  return Number.isFinite(percent_of_tile) && percent_of_tile >= (percent_of_bandwidth ?? 0);
}

/** Each workload's name once: in which chart its bars are, the first result of it says. */
function namesWhere(condition) {
  const firsts = new Map();
  for (const result of allResults) if (!firsts.has(result.name)) firsts.set(result.name, result);
  return [...firsts.values()].filter(condition).map(({ name }) => name);
}

// Text and tables

function element(tag, text = '', className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function facts({ heed, host, setting, date }) {
  const cpus = `${host.logical_cpus}, ${host.cores} cores, ${host.numa_nodes} NUMA node`
    + (host.numa_nodes === 1 ? '' : 's');
  const caches = [host.l1d_bytes, host.l2_bytes, host.l3_bytes].map((size) => shown(size, bytes));
  const clock = [shown(host.mhz, (mhz) => `${Math.round(mhz)} MHz`),
    ...(host.max_mhz ? [`at most ${Math.round(host.max_mhz)} MHz`] : []),
    ...(host.governor ? [host.governor] : [])];
  const commit = heed.commit ? `, commit ${heed.commit.replace(/^([0-9a-f]{9})[0-9a-f]*/, '$1')}` : '';
  return {
    processor: host.model, CPUs: cpus, 'L1d, L2, L3': caches.join(', '), clock: clock.join(', '),
    memory: shown(host.memory_bytes, bytes), system: host.system, kernels: setting.isa,
    heed: `${heed.version}${commit}, ${heed.compiler}, ${heed.threads}`,
    measured: date, 'keys and values': setting.warm ? 'warm: the same every time'
      : `from memory: copies of ${shown(setting.stream_bytes, bytes)} in turn`,
    'time of each': `${setting.seconds} s${setting.pinned ? ', threads pinned' : ''}`,
  };
}

function writeMachines() {
  const models = [...new Set(runs.map(({ bench }) => bench.host.model))];
  document.title = `heed on ${models.join(', ')}`;
  document.querySelector('h1').textContent = document.title;
  const dates = [...new Set(benches.map(({ bench }) => String(bench.date).slice(0, 10)))];
  document.getElementById('summary').textContent = 'Multi-head attention for CPUs: '
    + `${new Set(allResults.map(({ name }) => name)).size} workloads, ${dates.join(', ')}.`;
  for (const run of runs) {
    const card = element('div');
    if (runs.length > 1) card.append(element('h3', run.names.join(' + ')));
    const list = element('dl');
    for (const [name, value] of Object.entries(facts(run.bench))) {
      list.append(element('dt', name), element('dd', shown(value, String)));
    }
    card.append(list);
    document.querySelector('#machines .cards').append(card);
  }
}

function writeDisturbances() {
  const slices = allResults.flatMap((result) => result.slices);
  const time = slices.reduce((sum, { seconds }) => sum + seconds, 0);
  const lost = slices.reduce((sum, slice) => sum + slice.lost * slice.seconds, 0);
  const count = allResults.filter(({ disturbed }) => disturbed).length;
  document.querySelector('#machines .quiet').textContent = count === 0
    ? 'The machine was quiet.'
    : `The machine was disturbed: ${count} of ${allResults.length} figures, ${percent(100 * lost / time)} `
      + 'of the time lost to other programs. The last columns of the table say which, and by what.';
}

/** A table that scrolls in a box of its own. head: {title, words, minor}; rows: the first cell names it. */
function writeTable(section, captionText, head, rows) {
  const table = element('table');
  table.append(element('caption', captionText));
  const classes = head.map(({ words, minor }) => [words ? 'words' : '', minor ?? ''].join(' ').trim());
  const headRow = table.createTHead().insertRow();
  head.forEach(({ title }, i) => {
    const cell = element('th', title, classes[i]);
    cell.scope = 'col';
    headRow.append(cell);
  });
  const body = table.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    cells.forEach((text, i) => row.append(element(i === 0 ? 'th' : 'td', text, classes[i])));
    row.firstChild.scope = 'row';
  }
  const box = element('div', '', 'scroll');
  box.tabIndex = 0;
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', captionText);
  box.append(table);
  document.getElementById(section).append(box);
}

function writeFigures() {
  const head = [{ title: 'workload', words: true },
    ...(runs.length > 1 ? [{ title: 'run', words: true }] : []),
    ...COLUMNS.map(([field, title, , minor]) => ({ title, minor, words: WORDS.includes(field) }))];
  const rows = runs.flatMap((run) => run.results.map((result) => [result.name,
    ...(runs.length > 1 ? [run.names.join(' + ')] : []),
    ...COLUMNS.map(([field, , show]) => (field === 'disturbed' ? result.disturbed ?? 'quiet'
      : shown(result[field], show)))]));
  writeTable('figures', 'The figures that all charts are drawn from', head, rows);
}

function writePeers() {
  const names = Object.keys(peers.peers);
  const head = [{ title: 'workload', words: true }, { title: 'threads' }, { title: 'heed ms' },
    ...names.map((name) => ({ title: `${peers.peers[name]} ms` }))];
  const rows = peers.results.map(({ name, threads, best }) => [name, String(threads),
    ...['heed', ...names].map((peer) => shown(best[peer]?.min_ms, digits(4)))]);
  writeTable('peers', 'The best times of heed and of others', head, rows);
}

// Charts

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function seriesColour(i, alpha = '') {
  return colour(`series-${i % 6}`) + alpha;
}

/** Lines of a name, each at most so long. */
function wrapped(name, length) {
  const parts = name.split(/(?<=[-_ ])/).flatMap((part) => part.match(new RegExp(`.{1,${length}}`, 'gu')) ?? []);
  const lines = [''];
  for (const part of parts) {
    if (lines.at(-1) && lines.at(-1).length + part.length > length) lines.push('');
    lines[lines.length - 1] += part;
  }
  return lines;
}

const charts = [];

/** Draws a chart in a section, before its table. */
function draw(section, captionText, height, config) {
  const figure = element('figure'), box = element('div', '', 'chart'), canvas = element('canvas');
  box.style.height = `${height}px`;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `${captionText} The tables of this page have the figures.`);
  box.append(canvas);
  figure.append(box, element('figcaption', captionText));
  const place = document.getElementById(section);
  place.insertBefore(figure, place.querySelector('.scroll'));
  const options = { animation: false, responsive: true, maintainAspectRatio: false, locale: 'en' };
  charts.push([figure, new Chart(canvas, { ...config, options: { ...options, ...config.options } })]);
}

function axis(text, more = {}) {
  const { ticks = {}, grid = {}, ...rest } = more;
  return { title: { display: true, text, color: colour('faint') },
    ticks: { color: colour('faint'), ...ticks }, grid: { color: colour('line'), ...grid }, ...rest };
}

function legend(more = {}) {
  return { position: 'top', align: 'start', labels: { color: colour('ink'), boxWidth: 12,
    filter: ({ datasetIndex }, { datasets }) => !datasets[datasetIndex].behind, ...more } };
}

/** Horizontal bars, a row of them for each name. */
function drawBars(section, captionText, names, datasets, valueAxis) {
  const narrow = document.body.clientWidth < NARROW;
  const rows = datasets.filter(({ behind }) => !behind).length;
  const label = function label(value) {
    return wrapped(this.getLabelForValue(value), narrow ? 16 : 48);
  };
  draw(section, captionText, 90 + names.length * Math.max(narrow ? 40 : 18, 8 + 10 * rows), {
    type: 'bar',
    data: { labels: names, datasets },
    options: {
      indexAxis: 'y',
      interaction: { mode: 'index', axis: 'y', intersect: false },
      scales: { x: { stacked: false, ...valueAxis }, y: { stacked: true, grid: { display: false },
        ticks: { autoSkip: false, callback: label, color: colour('ink'), font: { size: narrow ? 10 : 12 } } } },
      plugins: { legend: legend() },
    },
  });
}

/** A logarithmic axis, with the powers of ten in words. */
function decades(text) {
  return axis(text, { type: 'logarithmic',
    ticks: { callback: (value) => (Number.isInteger(Math.log10(value)) ? value.toLocaleString('en') : null) } });
}

function percentAxis(text) {
  return axis(text, { suggestedMax: 100, beginAtZero: true, position: 'top', ticks: { stepSize: 20 },
    grid: { color: ({ tick }) => colour(tick?.value === 100 ? 'ink' : 'line') } });
}

function drawArithmetic() {
  const names = namesWhere(boundByArithmetic);
  const datasets = series.flatMap(({ label, results }, i) => {
    const values = (value) => names.map((name) => (results.has(name) ? value(results.get(name)) : null));
    return [{ label, stack: `${i}`, barPercentage: 0.6, backgroundColor: seriesColour(i),
      data: values((each) => each.percent_of_peak) },
    { label: `${label}, register tile`, stack: `${i}`, order: 1, behind: true, barPercentage: 1,
      backgroundColor: seriesColour(i, '40'),
      data: values((each) => 100 * each.tile_gflops / each.peak_gflops) }];
  });
  if (names.length === 0) return;
  drawBars('arithmetic', 'What workloads reach of the peak, and what the register tile fed from L1 does.',
    names, datasets, percentAxis('% of the peak'));
}

function drawMemory() {
  const names = namesWhere((result) => !boundByArithmetic(result));
  const datasets = series.map(({ label, results }, i) => ({ label, stack: `${i}`, barPercentage: 0.8,
    backgroundColor: seriesColour(i),
    data: names.map((name) => results.get(name)?.percent_of_bandwidth ?? null) }));
  if (names.length === 0) return;
  drawBars('memory', 'What workloads reach of the bandwidth.', names, datasets,
    percentAxis('% of the bandwidth'));
}

function drawPeers() {
  const counts = [...new Set(peers.results.map(({ threads }) => threads))].sort((a, b) => a - b);
  for (const threads of counts) {
    const results = peers.results.filter((result) => result.threads === threads && result.best.heed);
    const datasets = Object.entries(peers.peers).map(([peer, label], i) => ({
      label, stack: peer, barPercentage: 0.8, base: 1, backgroundColor: seriesColour(i),
      data: results.map(({ best }) => (best[peer] ? best[peer].min_ms / best.heed.min_ms : null)) }));
    const least = Math.min(1, ...datasets.flatMap(({ data }) => data.filter((ratio) => ratio !== null)));
    drawBars('peers', `The time of others by that of heed, on ${threadsInWords(threads)}.`,
      results.map(({ name }) => name), datasets,
      axis('times the time of heed', { type: 'logarithmic', position: 'top', min: 0.9 * least,
        grid: { color: ({ tick }) => colour(tick?.value === 1 ? 'ink' : 'line') } }));
  }
}

function ofBf16Products({ q_type, kv_type }) {
  return q_type === 'bf16' && kv_type === 'bf16';
}

function median(numbers) {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Operations by bytes, and operations by time: of a run that others do not disturb, as its limits are. */
function pointOf(result) {
  return { x: result.gflops / result.gbps, y: result.percent_of_peak / 100 * result.peak_gflops,
    name: result.name };
}

/** The lines of what memory lets through, up to each limit of arithmetic; that of f32 where there is one. */
function roofs(results, i, [least, most]) {
  const usual = results.filter((result) => !ofBf16Products(result));
  const limit = (field) => median((usual.length > 0 ? usual : results).map((result) => result[field]));
  const read = limit('read_gbps');
  return ['peak_gflops', 'tile_gflops'].map((field) => {
    const height = limit(field), ridge = height / read;
    return { behind: true, showLine: true, pointRadius: 0, borderWidth: 1.5, borderColor: seriesColour(i),
      borderDash: field === 'tile_gflops' ? [6, 4] : [],
      data: [{ x: least, y: read * least }, { x: ridge, y: height }, { x: Math.max(most, 2 * ridge), y: height }] };
  });
}

function drawRoofline() {
  const shapes = ['circle', 'triangle', 'rect', 'rectRot', 'star', 'cross'];
  const groups = series.map(({ label, results }) => ({ label,
    results: [...results.values()].filter(({ gflops, gbps }) => gflops > 0 && gbps > 0) }))
    .filter(({ results }) => results.length > 0);
  const all = groups.flatMap(({ results }) => results.map((result) => pointOf(result).x));
  if (all.length === 0) return;
  const ends = [Math.min(...all) / 2, Math.max(...all) * 2];
  const datasets = groups.flatMap(({ label, results }, i) => [
    { label, data: results.map(pointOf), pointStyle: shapes[i % shapes.length], pointRadius: 4,
      backgroundColor: seriesColour(i), borderColor: seriesColour(i) },
    ...roofs(results, i, ends)]);
  const point = ({ raw }) => `${raw.name}: ${raw.y.toFixed(1)} GFLOP/s, ${raw.x.toFixed(1)} FLOP/byte`;
  draw('roofline', 'Operations per second by operations per byte of keys and values.', 420, {
    type: 'scatter',
    data: { datasets },
    options: {
      scales: { x: decades('FLOP per byte'), y: decades('GFLOP/s') },
      plugins: { legend: legend({ usePointStyle: true }),
        tooltip: { filter: ({ raw }) => raw.name !== undefined, callbacks: { label: point } } },
    },
  });
}

function drawScaling() {
  const most = Math.max(...allResults.map(({ threads }) => threads));
  const colours = { true: colour('series-0'), false: colour('series-1') };
  const line = (results) => {
    const arithmetic = boundByArithmetic(results[0]);
    return { label: results[0].name, borderWidth: 1.5, pointRadius: 2, borderColor: colours[arithmetic],
      backgroundColor: colours[arithmetic], borderDash: arithmetic ? [] : [6, 4],
      data: results.map(({ threads, speed_up }) => ({ x: threads, y: speed_up })) };
  };
  const datasets = runs.flatMap((run) => [...new Set(run.results.map(({ name }) => name))].map((name) =>
    run.results.filter((each) => each.name === name).sort((a, b) => a.threads - b.threads)))
    .filter((results) => results.length > 1).map(line);
  if (datasets.length === 0) return;
  const key = (text, colourName, lineDash) => ({ text, strokeStyle: colour(colourName), fillStyle: 'transparent',
    fontColor: colour('ink'), lineWidth: 2, lineDash });
  const entries = [key('arithmetic binds', 'series-0', []), key('memory binds', 'series-1', [6, 4]),
    key('as many times as threads', 'ink', [2, 3])];
  draw('scaling', 'Speed on more threads, by that of one.', 380, {
    type: 'line',
    data: { datasets: [...datasets, { label: 'as many times as threads', pointRadius: 0, borderWidth: 1.5,
      borderColor: colour('ink'), borderDash: [2, 3], data: [{ x: 1, y: 1 }, { x: most, y: most }] }] },
    options: {
      interaction: { mode: 'nearest', intersect: false },
      scales: { x: axis('threads', { type: 'linear', min: 1, ticks: { precision: 0 } }),
        y: axis('times as fast', { beginAtZero: true }) },
      plugins: { legend: { ...legend({ generateLabels: () => entries, filter: () => true }), onClick: null } },
    },
  });
}

function drawAll() {
  for (const [figure, chart] of charts.splice(0)) {
    chart.destroy();
    figure.remove();
  }
  drawArithmetic();
  drawMemory();
  if (peers) drawPeers();
  drawRoofline();
  drawScaling();
}

writeMachines();
writeDisturbances();
if (peers) writePeers();
writeFigures();
drawAll();
for (const section of document.querySelectorAll('section')) {
  section.hidden = section.querySelector('figure, table, dl') === null;
}
// Colours change with the page's.
for (const query of ['(prefers-color-scheme: dark)', 'print']) {
  matchMedia(query).addEventListener('change', drawAll);
}
