// Times ONNX Runtime's CPU operators of attention: a line of JSON for each that fits the workload.
//
//   node onnxruntime.mjs NAME THREADS SECONDS FOLDER        FOLDER: where its package is installed
//
// Inputs and the output are allocated once. The grown cache of GroupQueryAttention is not fetched,
// as that would copy it.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { FLOAT, INT32, onnxModel } from './onnx_model.mjs';
import { peerWorkloads } from './workloads.mjs';

const MICROSOFT = 'com.microsoft';
const TOLERANCE = 1e-3;  // as in peer.cc
const SAMPLED_ROWS = 16;

/** Normal random numbers; the seed tells tensors apart. As many as 2²⁰ are made and repeated. */
function normal(count, seed) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const numbers = new Float32Array(count);
  const made = Math.min(count, 2 ** 20 + 7);
  for (let i = 0; i < made; ++i) {
    numbers[i] = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  }
  for (let i = made; i < count; i += made) {
    numbers.copyWithin(i, 0, Math.min(made, count - i));
  }
  return numbers;
}

/** A tensor [batch, heads, positions, headDim], and what operators make of it. */
class Heads {
  constructor(batch, heads, positions, headDim, data) {
    Object.assign(this, { batch, heads, positions, headDim, data });
  }

  static random(batch, heads, positions, headDim, seed) {
    return new Heads(batch, heads, positions, headDim,
      normal(batch * heads * positions * headDim, seed));
  }

  row(sequence, head, position) {
    const start = ((sequence * this.heads + head) * this.positions + position) * this.headDim;
    return this.data.subarray(start, start + this.headDim);
  }

  slice(first, end = this.positions) {
    const positions = end - first;
    const part = new Heads(this.batch, this.heads, positions, this.headDim,
      new Float32Array(this.batch * this.heads * positions * this.headDim));
    part.eachRow((row, sequence, head, position) =>
      row.set(this.row(sequence, head, first + position)));
    return part;
  }

  eachRow(visit) {
    for (let sequence = 0; sequence < this.batch; ++sequence) {
      for (let head = 0; head < this.heads; ++head) {
        for (let i = 0; i < this.positions; ++i) {
          visit(this.row(sequence, head, i), sequence, head, i);
        }
      }
    }
  }

  byHead() {
    return { data: this.data, dims: [this.batch, this.heads, this.positions, this.headDim] };
  }

  /** As a projection writes it: [batch, positions, heads · headDim]. */
  byToken() {
    const width = this.heads * this.headDim;
    const data = new Float32Array(this.data.length);
    this.eachRow((row, sequence, head, position) =>
      data.set(row, (sequence * this.positions + position) * width + head * this.headDim));
    return { data, dims: [this.batch, this.positions, width] };
  }
}

/** Which keys each query sees, as a term of the scores. */
function causalMask({ queries, keys }) {
  const data = new Float32Array(queries * keys);
  for (let i = 0; i < queries; ++i) {
    data.fill(-Infinity, i * keys + keys - queries + i + 1, (i + 1) * keys);
  }
  return { data, dims: [queries, keys] };
}

/**
 * The operators. Each says how it computes the workload w from q, k and v, or null where it cannot:
 * {node, inputs, outputs: {name: dims}}. Causal masks of the first two are aligned to the start.
 */
const operators = {
  MultiHeadAttention(w, { q, k, v }) {
    const causal = w.causal && w.queries > 1;
    if (w.queryHeads !== w.kvHeads || (causal && w.queries !== w.keys)) return null;
    const attributes = { num_heads: w.queryHeads, unidirectional: Number(causal) };
    const inputs = { q: q.byToken(), k: k.byToken(), v: v.byToken() };
    return { node: { domain: MICROSOFT, attributes }, inputs, outputs: { out: inputs.q.dims } };
  },

  Attention(w, { q, k, v }) {
    const causal = w.causal && w.queries > 1;
    const aligned = w.queries === w.keys;
    const attributes = { is_causal: Number(causal && aligned) };
    const inputs = { q: q.byHead(), k: k.byHead(), v: v.byHead() };
    if (causal && !aligned) inputs.mask = causalMask(w);
    return { node: { domain: '', attributes }, inputs, outputs: { out: inputs.q.dims } };
  },

  GroupQueryAttention(w, { q, k, v }) {  // the queries' own keys and values are the last of a cache
    if (!w.causal) return null;
    const past = w.keys - w.queries;
    const attributes = { num_heads: w.queryHeads, kv_num_heads: w.kvHeads };
    const inputs = { q: q.byToken(), k: k.slice(past).byToken(), v: v.slice(past).byToken(),
      pastKeys: k.slice(0, past).byHead(), pastValues: v.slice(0, past).byHead(),
      lastKey: { data: new Int32Array(w.batch).fill(w.keys - 1), dims: [w.batch] },
      keys: { data: Int32Array.of(w.keys), dims: [] } };
    return { node: { domain: MICROSOFT, attributes }, inputs,
      outputs: { out: inputs.q.dims, allKeys: k.byHead().dims, allValues: v.byHead().dims } };
  },
};

/** An operator, loaded, with its tensors. */
async function load(ort, op, { node, inputs, outputs }, threads) {
  const type = ({ data }) => (data instanceof Float32Array ? FLOAT : INT32);
  const model = onnxModel({
    node: { op, ...node },
    inputs: Object.entries(inputs).map(([name, x]) => ({ name, type: type(x), dims: x.dims })),
    outputs: Object.entries(outputs).map(([name, dims]) => ({ name, type: FLOAT, dims })),
  });
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads,
    interOpNumThreads: 1, executionMode: 'sequential', logSeverityLevel: 3 });
  const tensor = ({ data, dims }) =>
    new ort.Tensor(data instanceof Float32Array ? 'float32' : 'int32', data, dims);
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, tensor(x)]));
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
function referenceRow(w, { q, k, v }, sequence, head, position) {
  const kvHead = Math.floor(head / (w.queryHeads / w.kvHeads));
  const visible = w.causal ? w.keys - w.queries + position + 1 : w.keys;
  const query = q.row(sequence, head, position);
  const weights = Array.from({ length: visible }, (_, j) => {
    const key = k.row(sequence, kvHead, j);
    return query.reduce((sum, x, i) => sum + x * key[i], 0) / Math.sqrt(w.headDim);
  });
  const largest = weights.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  const out = new Float64Array(w.headDim);
  weights.forEach((logit, j) => {
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
    v: Heads.random(w.batch, w.kvHeads, w.keys, w.headDim, 3) };
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
