// The command line of bench/peers/run.
import { accessSync, constants, statSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { dirname, resolve } from 'node:path';
import { peerWorkloads } from './workloads.mjs';

const MAX_THREADS = 1024;

/** The user's mistake, in a sentence. */
export class UsageError extends Error {}

function workloads(text) {
  let regex;
  try {
    regex = new RegExp(text);
  } catch {
    throw new UsageError(`--workload ("${text}") must be a regular expression`);
  }
  const selected = peerWorkloads().filter(({ name }) => regex.test(name));
  if (selected.length > 0) return selected;
  throw new UsageError(
    `--workload ("${text}") must match the name of at least one that peers can run`);
}

function threads(text) {
  const counts = text.split(',').map((word) => (/^\d+$/.test(word) ? Number(word) : 0));
  if (counts.every((count) => count >= 1 && count <= MAX_THREADS)) return counts;
  throw new UsageError(`--threads ("${text}") must be integers from 1 to ${MAX_THREADS} with `
    + 'commas between, such as 1,2');
}

function seconds(text) {
  const number = text.trim() === '' ? NaN : Number(text);
  if (number > 0 && Number.isFinite(number)) return number;
  throw new UsageError(`--seconds ("${text}") must be a finite number above 0`);
}

function json(text) {
  const file = resolve(text);
  try {
    accessSync(dirname(file), constants.W_OK);
    if (!statSync(file, { throwIfNoEntry: false })?.isDirectory()) return file;
  } catch {
    // The same sentence.
  }
  throw new UsageError(`--json ("${text}") must name a file that can be written`);
}

/** Types that ggml has, too. */
const KV_TYPES = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'];

function kvType(text) {
  if (KV_TYPES.includes(text)) return text;
  throw new UsageError(`--kv-type ("${text}") must be one of ${KV_TYPES.join(', ')}`);
}

const parsers = { '--workload': workloads, '--threads': threads, '--seconds': seconds,
  '--isa': (text) => text, '--kv-type': kvType, '--json': json };

function defaultThreads() {
  const all = availableParallelism?.() ?? cpus().length;
  return all === 1 ? [1] : [1, all];
}

/** {workloads, threads, seconds, isa, kv-type, json}; throws a UsageError. */
export function parseOptions(words) {
  const options = { workloads: peerWorkloads(), threads: defaultThreads(), seconds: 1,
    'kv-type': 'f32' };
  for (let i = 0; i < words.length; i += 2) {
    const parse = parsers[words[i]];
    if (parse === undefined) {
      throw new UsageError(`"${words[i]}" must be one of ${Object.keys(parsers).join(', ')}`);
    }
    if (i + 1 === words.length) throw new UsageError(`${words[i]} needs a value`);
    const name = words[i] === '--workload' ? 'workloads' : words[i].slice(2);
    options[name] = parse(words[i + 1]);
  }
  return options;
}
