// The workloads of ../workloads.txt that peers can run: dense attention on normal inputs, not in
// pages, each peer in the layout that it takes.
import { readFileSync } from 'node:fs';

/** What a line describes; nothing where it is a comment or none for peers. */
function parse(line) {
  const [name, ...columns] = line.trim().split(/\s+/);
  if (!name || name.startsWith('#') || columns[0] === 'softmax') return [];
  const numbers = columns.slice(0, 6).map(Number);
  const [mask, ...options] = columns.slice(6);
  const ragged = numbers.some((number) => !Number.isInteger(number));
  if (ragged || options.some((option) => option !== 'normal')) return [];
  const [batch, queryHeads, kvHeads, queries, keys, headDim] = numbers;
  return [{ name, batch, queryHeads, kvHeads, queries, keys, headDim, causal: mask === 'causal' }];
}

export function peerWorkloads() {
  const text = readFileSync(new URL('../workloads.txt', import.meta.url), 'utf8');
  return text.split('\n').flatMap(parse);
}
