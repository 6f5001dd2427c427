// The workloads of ../workloads.txt that peers can run: dense attention on normal inputs of f32, not
// in pages, each peer in the layout that it takes.
import { readFileSync } from 'node:fs';

/** Options that say what queries see and what happens to scores, and what each reads as. */
const SCORES = { window: Number, softcap: Number, alibi: () => true, sinks: () => true,
  bias: (kind) => kind, visible: (kind) => kind };

/** Numbers of a shape, and what each is called here. */
const SIZES = { b: 'batch', hq: 'queryHeads', hkv: 'kvHeads', q: 'queries', kv: 'keys', d: 'headDim' };

/** What a line describes; nothing where it is a comment or none for peers. */
function parse(line) {
  const [name, ...words] = line.trim().split(/\s+/);
  if (!name || name.startsWith('#')) return [];
  const sizes = { batch: 1 }, scores = {};
  let causal = false;
  for (const word of words.filter((each) => !each.startsWith('beside='))) {
    const [key, value] = word.split('=');
    if (SIZES[key] !== undefined) {
      if (!/^\d+$/.test(value)) return [];
      sizes[SIZES[key]] = Number(value);
    } else if (key === 'causal') {
      causal = true;
    } else if (SCORES[key] !== undefined) {
      scores[key] = SCORES[key](value);
    } else {
      return [];
    }
  }
  return [{ name, kvHeads: sizes.queryHeads, keys: sizes.queries, ...sizes, causal,
    plain: Object.keys(scores).length === 0, ...scores }];
}

export function peerWorkloads() {
  const text = readFileSync(new URL('../workloads.txt', import.meta.url), 'utf8');
  return text.split('\n').flatMap(parse);
}
