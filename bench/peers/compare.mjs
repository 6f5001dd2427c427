// Measures heed and its peers in turn; bench/peers/run starts it and bench/README.md describes it.
//
// They take turns on each workload and number of threads, twice, and of each its best counts: the
// speed of a shared machine drifts, and so hits all alike.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError, parseOptions } from './options.mjs';
import { Table, failures, peersJson, summarise } from './table.mjs';
import { trapCpuid } from './trap_cpuid.mjs';

const ROUNDS = 2;
// What OpenBLAS calls them.
const AVX512_KERNELS = ['skylakex', 'cooperlake', 'sapphirerapids', 'zen4'];
const AVX2_KERNELS = ['haswell', 'zen'];
const NOT_HIDDEN = 99;  // the status of hide_avx512.cc for a peer that was shown AVX-512 all the same

const here = dirname(fileURLToPath(import.meta.url));
const build = resolve(here, '../../build');
const installed = resolve(build, 'peers');
const ggmlLibraries = resolve(installed, 'node_modules/@node-llama-cpp/linux-x64/bins/linux-x64');
/** The folder of ONNX Runtime's libraries for this machine, in that of its interface's version. */
function onnxruntimeLibraries() {
  const versions = resolve(installed, 'node_modules/onnxruntime-node/bin');
  return readdirSync(versions).map((version) => resolve(versions, version, 'linux/x64')).find(existsSync);
}
const program = (name) => resolve(build, 'release/bin', name);

/** Installs and builds; what that prints is no part of the table. */
function prepare() {
  const { status } = spawnSync(resolve(here, 'prepare'), { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('heed and its peers could not be built');
}

/** Why a program did not do its work, in words. */
function complaint({ error, signal, status, stderr }) {
  if (error) return error.message;
  const last = stderr.trim().split('\n').at(-1);
  return last || (signal ? `ended by ${signal}` : `ended with status ${status}`);
}

function run(command, args, environment = process.env) {
  return spawnSync(command, args, { encoding: 'utf8', env: environment, maxBuffer: 2 ** 26 });
}

/** Makes copies of a folder's libraries that can be shown another processor (trap_cpuid.mjs). */
function trapLibraries(folder, copies) {
  const libraries = readdirSync(folder).filter((name) => /\.so(\.|$)/.test(name));
  // ggml chooses among all that it finds.
  for (const name of existsSync(copies) ? readdirSync(copies) : []) {
    if (!libraries.includes(name)) rmSync(resolve(copies, name));
  }
  const asking = libraries.filter((name) => trapCpuid(resolve(folder, name), resolve(copies, name)));
  if (asking.length === 0) throw new Error(`no library of ${folder} asks what the processor has`);
  return copies;
}

/**
 * Where peers' libraries are, the environment of the peers that look at the processor, and the
 * kernels that OpenBLAS, which takes orders, should choose by itself: where heed is limited to AVX2,
 * so are they.
 */
function limitPeers({ isa }) {
  const avx512 = /^flags\s*:.*\bavx512f\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  const peers = { environment: process.env, ggml: ggmlLibraries };
  if (!avx512) return peers;
  if (isa !== 'avx2') return { ...peers, kernels: AVX512_KERNELS, otherwise: 'SkylakeX' };
  const trapped = resolve(installed, 'trapped');
  const onnxruntime = trapLibraries(onnxruntimeLibraries(), resolve(trapped, 'onnxruntime'));
  return {
    environment: {
      ...process.env,
      HEED_TRAPPED: trapped,
      LD_LIBRARY_PATH: [onnxruntime, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
      LD_PRELOAD: resolve(build, 'release/bench/peers/libheed_hide_avx512.so'),
    },
    ggml: trapLibraries(ggmlLibraries, resolve(trapped, 'ggml')),
    kernels: AVX2_KERNELS,
    otherwise: 'Haswell',
  };
}

/** The lines of a peer's program. */
function runPeer(peer, command, args, environment) {
  const outcome = run(command, args, environment);
  if (outcome.status === NOT_HIDDEN) return [{ peer, error: complaint(outcome) }];
  const lines = (outcome.stdout ?? '').split('\n').filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  if (lines.length > 0 && !outcome.signal) return lines;
  return [...lines, { peer, error: complaint(outcome) }];
}

function runHeed(name, threads, { seconds, isa, 'kv-type': kvType }) {
  const file = resolve(installed, 'heed.json');
  rmSync(file, { force: true });
  const escaped = name.replace(/[^\w-]/g, '\\$&');
  const outcome = run(program('heed'), ['bench', '--warm', '--workload', `^${escaped}$`,
    '--threads', threads, '--seconds', seconds, '--json', file, '--kv-type', kvType,
    ...(isa === undefined ? [] : ['--isa', isa])]);
  if (outcome.status !== 0) return [{ peer: 'heed', error: complaint(outcome) }];
  const { host, results: [result] } = JSON.parse(readFileSync(file, 'utf8'));
  return [{ peer: 'heed', kernels: result.isa, cpu: host.model, ...result }];
}

/**
 * Everything that is timed, in the order of a turn: (workload, threads) → lines. ggml alone has
 * caches of other types; OpenBLAS computes plain workloads.
 */
function subjects(options, peers, openblas) {
  const { seconds, 'kv-type': kvType } = options;
  const both = [
    ({ name }, threads) => runHeed(name, threads, options),
    ({ name }, threads) => runPeer('ggml', program('heed_peer_ggml'),
      [name, threads, seconds, peers.ggml, kvType], peers.environment),
  ];
  if (kvType !== 'f32') return both;
  return [
    ...both,
    ({ name }, threads) => runPeer('onnxruntime', process.execPath,
      [resolve(here, 'onnxruntime.mjs'), name, threads, seconds, installed], peers.environment),
    ({ name, plain }, threads) => (plain ? runPeer('openblas', program('heed_peer_openblas'),
      [name, threads, seconds], openblas.environment) : []),
  ];
}

/**
 * An OpenBLAS older than the CPU chooses kernels of an older one, and one that sees AVX-512 those
 * for it; where others are wanted it is asked for those of SkylakeX or Haswell. Its settings in the
 * environment do not count: they may be those of another CPU.
 */
function chooseOpenblas(peers) {
  const environment = Object.fromEntries(Object.entries(process.env)
    .filter(([name]) => !name.startsWith('OPENBLAS_')));
  const chosen = run(program('heed_peer_openblas'), ['kernels'], environment).stdout?.trim();
  if (!chosen || !peers.kernels || peers.kernels.includes(chosen.toLowerCase())) {
    return { environment, remark: '' };
  }
  return { environment: { ...environment, OPENBLAS_CORETYPE: peers.otherwise },
    remark: `, by OPENBLAS_CORETYPE (left alone it chooses ${chosen})` };
}

const pinned = (name) => JSON.parse(readFileSync(resolve(here, 'package.json'), 'utf8'))
  .dependencies[name];

/** What was compared: known after the first turn. */
function headline({ best }, openblas, kvType) {
  const kernels = (peer) => best[peer]?.kernels ?? 'none';
  return [`${best.heed.cpu}; heed: ${kernels('heed')}; ONNX Runtime ${pinned('onnxruntime-node')};`,
    `ggml of @node-llama-cpp ${pinned('@node-llama-cpp/linux-x64')}: ${kernels('ggml')};`,
    `OpenBLAS: ${kernels('openblas')}${openblas.remark}`,
    `f32, keys and values ${kvType}, warm, best of all runs; ratio: time of the best peer by that of`
      + ' heed', ''].join('\n');
}

/** One row: every subject in turn, twice. */
function compare(workload, threads, turn) {
  const lines = [];
  for (let round = 0; round < ROUNDS; ++round) {
    for (const subject of turn) lines.push(...subject(workload, threads));
  }
  return summarise(workload.name, threads, lines);
}

function compareAll(options) {
  const peers = limitPeers(options);
  const openblas = chooseOpenblas(peers);
  const turn = subjects(options, peers, openblas);
  const table = new Table(options.workloads.map(({ name }) => name));
  const results = [];
  for (const workload of options.workloads) {
    for (const threads of options.threads) {
      const result = compare(workload, threads, turn);
      // Without heed there is nothing to compare with, and the next row would fare no better.
      if (!('heed' in result.best)) {
        throw new Error(result.errors.find(({ peer }) => peer === 'heed').error);
      }
      if (results.length === 0) {
        console.log(`${headline(result, openblas, options['kv-type'])}\n${table.head()}`);
      }
      console.log(table.row(result));
      results.push(result);
    }
  }
  return results;
}

function main(words) {
  const options = parseOptions(words);
  prepare();
  const results = compareAll(options);
  const sentences = failures(results);
  if (sentences.length > 0) console.log(`\n${sentences.join('\n')}`);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(peersJson(results), null, 1)}\n`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(`bench/peers/run: ${error.message}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
