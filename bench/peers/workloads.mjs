// The workloads of ../workloads.txt that peers can run: dense attention on normal inputs of f32, not
// in pages, each peer in the layout that it takes.
import { readFileSync } from 'node:fs';

/** Options that say what queries see and what happens to scores, and what each reads as. */
const SCORES = { window: Number, softcap: Number, alibi: () => true, sinks: () => true,
  bias: (kind) => kind, visible: (kind) => kind };

/** {window, softcap, …} of the options, or null where one is none for peers. */
function scoresOf(options) {
  const scores = {};
  for (const option of options.filter((each) => each !== 'normal' && !each.startsWith('beside='))) {
    const [name, value] = option.split('=');
    if (SCORES[name] === undefined) return null;
    scores[name] = SCORES[name](value);
  }
  return scores;
}

/** What a line describes; nothing where it is a comment or none for peers. */
function parse(line) {
  const [name, ...columns] = line.trim().split(/\s+/);
  if (!name || name.startsWith('#') || columns[0] === 'softmax') return [];
  const numbers = columns.slice(0, 6).map(Number);
  const [mask, ...options] = columns.slice(6);
  const ragged = numbers.some((number) => !Number.isInteger(number));
  const scores = scoresOf(options);
  if (ragged || scores === null) return [];
  const [batch, queryHeads, kvHeads, queries, keys, headDim] = numbers;
  return [{ name, batch, queryHeads, kvHeads, queries, keys, headDim, causal: mask === 'causal',
    plain: Object.keys(scores).length === 0, ...scores }];
}

export function peerWorkloads() {
  const text = readFileSync(new URL('../workloads.txt', import.meta.url), 'utf8');
  return text.split('\n').flatMap(parse);
}
