// What happens to the scores of a workload, in the words of ../workloads.txt, for ONNX Runtime.
import { normal } from './tensors.mjs';

const BLOCK = 64;

/** Which keys the queries' own tokens see: token i follows token (i - 1) / 2. */
function isAncestor(token, other) {
  for (let i = token; i >= other; i = (i - 1) >> 1) {
    if (i === other) return true;
    if (i === 0) return false;
  }
  return false;
}

export class Scores {
  constructor(w) {
    this.w = w;
    this.past = w.keys - w.queries;
    /** Whether anything is added to scores, and whether more is hidden than by a causal mask. */
    this.changes = Boolean(w.alibi || w.bias);
    this.hides = Boolean(w.visible || w.window);
    if (w.bias === 'pair') this.biases = normal(w.queries * w.keys, 4);
    if (w.bias === 'all') this.biases = normal(w.batch * w.queryHeads * w.queries * w.keys, 4);
    if (w.visible === 'blocks') this.chooseBlocks();
    if (w.bias && !this.biases) throw new Error(`bias=${w.bias} is not known here`);
  }

  /** A quarter of all blocks, others in each head. */
  chooseBlocks() {
    const { queryHeads, queries, keys } = this.w;
    this.blocks = [Math.ceil(queries / BLOCK), Math.ceil(keys / BLOCK)];
    const order = normal(queryHeads * this.blocks[0] * this.blocks[1], 5);
    this.shownBlocks = order.map((x) => Number(x > 0.6745));  // a quarter of a normal distribution
  }

  sees(sequence, head, query, key) {
    const { batch, keys, causal, window, visible } = this.w;
    const position = this.past + query;
    if (causal && key > position) return false;
    if (window && key <= position - window) return false;
    if (visible === 'padding') {
      return key < keys - Math.floor(Math.floor(keys * 7 / 8) * sequence / batch);
    }
    if (visible === 'tree') return key < this.past || isAncestor(query, key - this.past);
    if (visible !== 'blocks') return true;
    const row = head * this.blocks[0] + Math.floor(query / BLOCK);
    return this.shownBlocks[row * this.blocks[1] + Math.floor(key / BLOCK)] === 1;
  }

  /** What is added to a score. */
  term(sequence, head, query, key) {
    const { queryHeads, queries, keys, alibi, bias } = this.w;
    if (alibi) return 2 ** (-8 * (head + 1) / queryHeads) * (key - this.past - query);
    if (bias === 'pair') return this.biases[query * keys + key];
    if (bias === 'all') {
      return this.biases[((sequence * queryHeads + head) * queries + query) * keys + key];
    }
    return 0;
  }

  sink(head) {
    return this.w.sinks ? (head % 7) - 3 : -Infinity;
  }

  logit(product, sequence, head, query, key) {
    if (!this.sees(sequence, head, query, key)) return -Infinity;
    const { softcap } = this.w;
    const capped = softcap ? softcap * Math.tanh(product / softcap) : product;
    return capped + this.term(sequence, head, query, key);
  }

  /** A tensor [sequence, head, query, key], of one sequence or head where they are alike. */
  fill(Elements, element) {
    const { batch, queryHeads, queries, keys, alibi, bias, visible } = this.w;
    const sequences = bias === 'all' || visible === 'padding' ? batch : 1;
    const heads = bias === 'all' || alibi || visible === 'blocks' ? queryHeads : 1;
    const data = new Elements(sequences * heads * queries * keys);
    let at = 0;
    for (let b = 0; b < sequences; ++b) {
      for (let h = 0; h < heads; ++h) {
        for (let i = 0; i < queries; ++i) {
          for (let j = 0; j < keys; ++j) data[at++] = element(b, h, i, j);
        }
      }
    }
    return { data, dims: [sequences, heads, queries, keys] };
  }

  /** What is added to scores, -Infinity where a key is hidden. */
  additive() {
    return this.fill(Float32Array, (...at) => (this.sees(...at) ? this.term(...at) : -Infinity));
  }

  /** 1 where a key is seen. */
  shown() {
    return this.fill(Uint8Array, (...at) => Number(this.sees(...at)));
  }

  /** The same of keys that all queries of a sequence see: [sequence, key]. */
  shownKeys() {
    const { batch, keys } = this.w;
    const data = Int32Array.from({ length: batch * keys },
      (_, i) => Number(this.sees(Math.floor(i / keys), 0, 0, i % keys)));
    return { data, dims: [batch, keys] };
  }

  /** [head], or null. */
  sinks() {
    if (!this.w.sinks) return null;
    const { queryHeads } = this.w;
    return { data: Float32Array.from({ length: queryHeads }, (_, head) => this.sink(head)),
      dims: [queryHeads] };
  }
}
