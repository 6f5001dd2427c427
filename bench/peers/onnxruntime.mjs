// Times ONNX Runtime's CPU operators of attention: a line of JSON for each that fits the workload.
//
//   node onnxruntime.mjs NAME THREADS SECONDS FOLDER        FOLDER: where its package is installed
//
// Inputs and the output are allocated once. The grown cache of GroupQueryAttention is not fetched,
// as that would copy it.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { BOOL, FLOAT, Float, INT32, onnxModel } from './onnx_model.mjs';
import { Scores } from './scores.mjs';
import { Heads } from './tensors.mjs';
import { peerWorkloads } from './workloads.mjs';

const MICROSOFT = 'com.microsoft';
const TOLERANCE = 1e-3;  // as in peer.cc
const SAMPLED_ROWS = 16;

/** What GroupQueryAttention and MultiHeadAttention add to scores; null where there is nothing. */
const addition = (scores) => (scores.changes || scores.hides ? scores.additive() : null);

/**
 * The operators. Each says how it computes the workload w from its tensors, or null where it
 * cannot: {node, inputs: {name: tensor or null}, outputs: {name: dims}}. Causal masks of the first
 * two are aligned to the start.
 */
const operators = {
  MultiHeadAttention(w, { q, k, v, scores }) {
    const causal = w.causal && w.queries > 1;
    if (w.queryHeads !== w.kvHeads || (causal && w.queries !== w.keys)) return null;
    if (w.softcap || w.sinks) return null;
    const attributes = { num_heads: w.queryHeads, unidirectional: Number(causal) };
    const inputs = { q: q.byToken(), k: k.byToken(), v: v.byToken(), projectionBias: null,
      keyMask: w.visible === 'padding' ? scores.shownKeys() : null };
    if (inputs.keyMask === null) inputs.addition = addition(scores);
    return { node: { domain: MICROSOFT, attributes }, inputs, outputs: { out: inputs.q.dims } };
  },

  Attention(w, { q, k, v, scores }) {
    if (w.sinks) return null;
    const causal = w.causal && w.queries > 1;
    const aligned = w.queries === w.keys;
    const attributes = { is_causal: Number(causal && aligned), softcap: new Float(w.softcap ?? 0) };
    const inputs = { q: q.byHead(), k: k.byHead(), v: v.byHead(), mask: null };
    if (scores.changes) {
      inputs.mask = scores.additive();
    } else if (scores.hides || (causal && !aligned)) {
      inputs.mask = scores.shown();
    }
    return { node: { domain: '', attributes }, inputs, outputs: { out: inputs.q.dims } };
  },

  GroupQueryAttention(w, { q, k, v, scores }) {  // the last keys are the queries' own
    if (!w.causal) return null;
    const past = w.keys - w.queries;
    const attributes = { num_heads: w.queryHeads, kv_num_heads: w.kvHeads,
      softcap: new Float(w.softcap ?? 0), local_window_size: w.window ?? -1 };
    const inputs = { q: q.byToken(), k: k.slice(past).byToken(), v: v.slice(past).byToken(),
      pastKeys: k.slice(0, past).byHead(), pastValues: v.slice(0, past).byHead(),
      lastKey: { data: new Int32Array(w.batch).fill(w.keys - 1), dims: [w.batch] },
      keys: { data: Int32Array.of(w.keys), dims: [] }, cosines: null, sines: null, positions: null,
      addition: scores.changes || w.visible ? scores.additive() : null, sinks: scores.sinks() };
    return { node: { domain: MICROSOFT, attributes }, inputs,
      outputs: { out: inputs.q.dims, allKeys: k.byHead().dims, allValues: v.byHead().dims } };
  },
};

/** What ONNX, and what its runtime, call the type of a tensor. */
function typeOf({ data }) {
  if (data instanceof Float32Array) return { number: FLOAT, name: 'float32' };
  if (data instanceof Uint8Array) return { number: BOOL, name: 'bool' };
  return { number: INT32, name: 'int32' };
}

/** An operator, loaded, with its tensors. */
async function load(ort, op, { node, inputs, outputs }, threads) {
  const given = Object.entries(inputs).filter(([, x]) => x !== null);
  const model = onnxModel({
    node: { op, ...node },
    inputs: Object.entries(inputs).map(([name, x]) =>
      (x === null ? null : { name, type: typeOf(x).number, dims: x.dims })),
    outputs: Object.entries(outputs).map(([name, dims]) => ({ name, type: FLOAT, dims })),
  });
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads,
    interOpNumThreads: 1, executionMode: 'sequential', logSeverityLevel: 3 });
  const tensor = (x) => new ort.Tensor(typeOf(x).name, x.data, x.dims);
  const feeds = Object.fromEntries(given.map(([name, x]) => [name, tensor(x)]));
  const size = outputs.out.reduce((product, each) => product * each, 1);
  const out = tensor({ data: new Float32Array(size), dims: outputs.out });
  return { run: () => session.run(feeds, { out }), out, close: () => session.release() };
}

/** As repeat() of bench/timing.h. */
async function repeat(seconds, once) {
  const timed = async () => {
    const start = performance.now();
    await once();
    return performance.now() - start;
  };
  const milliseconds = 1000 * seconds;
  const warmUp = performance.now();
  let last;
  do last = await timed(); while (performance.now() - warmUp < milliseconds / 8);
  const atLeast = 5 * last > 4 * milliseconds ? 3 : 5;
  const times = [];
  const start = performance.now();
  do times.push(await timed());
  while (times.length < atLeast || performance.now() - start < milliseconds);
  times.sort((a, b) => a - b);
  const middle = (times[(times.length - 1) >> 1] + times[times.length >> 1]) / 2;
  return { min_ms: times[0], median_ms: middle, runs: times.length };
}

/** One output row in float64. */
function referenceRow(w, { q, k, v, scores }, sequence, head, position) {
  const kvHead = Math.floor(head / (w.queryHeads / w.kvHeads));
  const query = q.row(sequence, head, position);
  const logits = Array.from({ length: w.keys }, (_, j) => {
    const key = k.row(sequence, kvHead, j);
    const product = query.reduce((sum, x, i) => sum + x * key[i], 0) / Math.sqrt(w.headDim);
    return scores.logit(product, sequence, head, position, j);
  });
  const largest = logits.reduce((a, b) => Math.max(a, b), scores.sink(head));
  let sum = Math.exp(scores.sink(head) - largest);
  const out = new Float64Array(w.headDim);
  logits.forEach((logit, j) => {
    const weight = Math.exp(logit - largest);
    sum += weight;
    v.row(sequence, kvHead, j).forEach((x, i) => { out[i] += weight * x; });
  });
  return out.map((x) => x / sum);
}

/** The largest distance of sampled rows from float64, which is NaN where one is. */
function largestError(w, tensors, out) {
  const byHead = out.dims.length === 4;
  let largest = 0;
  for (let i = 0; i < SAMPLED_ROWS; ++i) {
    const pick = (count) => Math.round(((i * 7) % SAMPLED_ROWS) / (SAMPLED_ROWS - 1) * (count - 1));
    const sequence = pick(w.batch), position = pick(w.queries);
    const head = Math.round(i / (SAMPLED_ROWS - 1) * (w.queryHeads - 1));
    const row = byHead ? (sequence * w.queryHeads + head) * w.queries + position
      : (sequence * w.queries + position) * w.queryHeads + head;
    referenceRow(w, tensors, sequence, head, position).forEach((x, j) => {
      largest = Math.max(largest, Math.abs(x - out.data[row * w.headDim + j]));
    });
  }
  return largest;
}

async function measure(ort, op, w, tensors, { threads, seconds }) {
  const description = operators[op](w, tensors);
  if (description === null) return null;
  const operator = await load(ort, op, description, threads);
  operator.out.data.fill(NaN);
  const timing = await repeat(seconds, operator.run);
  const maxError = largestError(w, tensors, operator.out);
  await operator.close();
  if (!(maxError <= TOLERANCE)) throw new Error(`its result lies ${maxError} from float64`);
  return { operation: op, ...timing, max_error: maxError };
}

async function main([name, threads, seconds, folder]) {
  const ort = createRequire(resolve(folder, 'package.json'))('onnxruntime-node');
  const w = peerWorkloads().find((each) => each.name === name);
  const tensors = { q: Heads.random(w.batch, w.queryHeads, w.queries, w.headDim, 1),
    k: Heads.random(w.batch, w.kvHeads, w.keys, w.headDim, 2),
    v: Heads.random(w.batch, w.kvHeads, w.keys, w.headDim, 3), scores: new Scores(w) };
  for (const op of Object.keys(operators)) {
    const line = { peer: 'onnxruntime' };
    try {
      const figure = await measure(ort, op, w, tensors,
        { threads: Number(threads), seconds: Number(seconds) });
      if (figure === null) continue;
      Object.assign(line, figure);
    } catch (error) {
      line.error = `${op}: ${error.message}`;
    }
    console.log(JSON.stringify(line));
  }
}

await main(process.argv.slice(2));
