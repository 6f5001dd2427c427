// The parts of bench/peers that need neither network nor peers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FLOAT, onnxModel } from '../../bench/peers/onnx_model.mjs';
import { Table, failures, summarise } from '../../bench/peers/table.mjs';
import { peerWorkloads } from '../../bench/peers/workloads.mjs';

function readVarint(bytes, at) {
  let number = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    assert.notEqual(byte, undefined, 'a number ends before its message');
    number += (byte & 127) * 2 ** shift;
    if (byte < 128) return [number, at];
  }
}

/** A message as {field: [values]}; texts and nested messages are bytes. */
function readMessage(bytes) {
  const fields = {};
  for (let at = 0; at < bytes.length;) {
    let tag, value;
    [tag, at] = readVarint(bytes, at);
    [value, at] = readVarint(bytes, at);
    if (tag % 8 === 2) {
      assert.ok(at + value <= bytes.length, 'a field is longer than its message');
      [value, at] = [bytes.subarray(at, at + value), at + value];
    } else {
      assert.equal(tag % 8, 0);
    }
    (fields[tag >> 3] ??= []).push(value);
  }
  return fields;
}

test('a model can be read back', () => {
  const model = readMessage(onnxModel({
    node: { op: 'Attention', domain: 'd', attributes: { heads: 300 } },
    inputs: [{ name: 'q', type: FLOAT, dims: [2, 1024] }, { name: 'k', type: FLOAT, dims: [0] }],
    outputs: [{ name: 'out', type: FLOAT, dims: [] }],
  }));
  assert.deepEqual(Object.keys(model), ['1', '7', '8']);
  assert.equal(model[8].length, 2);
  const graph = readMessage(model[7][0]);
  const node = readMessage(graph[1][0]);
  assert.deepEqual(node[1].map(String), ['q', 'k']);
  assert.deepEqual([node[2], node[4], node[7]].map(String), ['out', 'Attention', 'd']);
  const attribute = readMessage(node[5][0]);
  assert.equal(String(attribute[1]), 'heads');
  assert.deepEqual([attribute[3], attribute[20]], [[300], [2]]);
  const dims = (value) => {
    const tensor = readMessage(readMessage(readMessage(value)[2][0])[1][0]);
    assert.deepEqual(tensor[1], [FLOAT]);
    return (readMessage(tensor[2][0])[1] ?? []).map((dim) => readMessage(dim)[1][0]);
  };
  assert.deepEqual(graph[11].map(dims), [[2, 1024], [0]]);
  assert.deepEqual(graph[12].map(dims), [[]]);
});

test('the best of all rounds counts, and failures are told', () => {
  const result = summarise('some', 2, [
    { peer: 'heed', min_ms: 2 }, { peer: 'onnxruntime', operation: 'Attention', min_ms: 5 },
    { peer: 'onnxruntime', operation: 'GroupQueryAttention', min_ms: 3 },
    { peer: 'ggml', error: 'ended by SIGILL' }, { peer: 'openblas', min_ms: 4 },
    { peer: 'heed', min_ms: 1 }, { peer: 'ggml', error: 'ended by SIGILL' },
    { peer: 'openblas', min_ms: 6 },
  ]);
  const words = new Table(['some']).row(result).split(/\s+/);
  assert.deepEqual(words, ['some', '2', '1.0000', '3.0000', 'failed', '4.0000', 'GQA', 'ONNX',
    'Runtime', '3.00']);
  assert.deepEqual(failures([result]), ['ggml failed on some, threads: 2: ended by SIGILL']);
});

test('a row without peers has no ratio', () => {
  const row = new Table(['some']).row(summarise('some', 1, [{ peer: 'heed', min_ms: 1 }]));
  assert.match(row, /^some +1 +1\.0000( +-){6}$/);
});

test('workloads are dense ones on normal inputs in the usual layout and no pages', () => {
  const workloads = peerWorkloads();
  const names = workloads.map(({ name }) => name);
  assert.ok(names.includes('gpt2-s1024'));
  assert.ok(names.includes('llama3-8b-decode-b8-kv2k'));
  assert.ok(!names.some((name) => /sharp|ragged|mixed|softmax|-b[hs][hs]|paged|shared/.test(name)), names);
  assert.deepEqual(workloads.find(({ name }) => name === 'llama3-8b-spec8-kv4k'),
    { name: 'llama3-8b-spec8-kv4k', batch: 1, queryHeads: 32, kvHeads: 8, queries: 8, keys: 4096,
      headDim: 128, causal: true });
});

test('mistakes on the command line are told in a sentence, with status 2', () => {
  const script = fileURLToPath(new URL('../../bench/peers/compare.mjs', import.meta.url));
  const mistakes = { '--nix 1': 'must be one of',
    '--threads 1,0': 'must be integers from 1 to 1024',
    '--seconds -1': 'must be a finite number', '--workload (': 'must be a regular expression',
    '--workload none-such': 'must match the name', '--json /none/such': 'can be written',
    '--kv-type fp8': 'must be one of f32, f16, bf16, q8_0, q4_0',
    '--isa': 'needs a value' };
  for (const [words, sentence] of Object.entries(mistakes)) {
    const { status, stderr } = spawnSync(process.execPath, [script, ...words.split(' ')],
      { encoding: 'utf8' });
    assert.equal(status, 2, words);
    assert.match(stderr, /^bench\/peers\/run: .*\n$/);
    assert.ok(stderr.includes(sentence), stderr);
  }
});
