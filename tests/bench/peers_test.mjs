// The parts of bench/peers that need neither network nor peers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FLOAT, Float, onnxModel } from '../../bench/peers/onnx_model.mjs';
import { Scores } from '../../bench/peers/scores.mjs';
import { Table, failures, peersJson, summarise } from '../../bench/peers/table.mjs';
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

test('a file of results says what it is, and how peers are called', () => {
  const results = [summarise('some', 1, [{ peer: 'heed', min_ms: 1 }])];
  const { date, ...json } = peersJson(results);
  assert.deepEqual(json, { schema: 'heed-peers', schema_version: 1,
    peers: { onnxruntime: 'ONNX Runtime', ggml: 'ggml', openblas: 'OpenBLAS' }, results });
  assert.match(date, /^\d{4}-\d\d-\d\dT/);
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
      headDim: 128, causal: true, plain: true });
});

test('workloads say what happens to scores', () => {
  const find = (wanted) => peerWorkloads().find(({ name }) => name === wanted);
  const shape = { batch: 1, queryHeads: 8, kvHeads: 8, queries: 1024, keys: 1024, headDim: 64,
    causal: true, plain: false };
  assert.deepEqual(find('all-but-bias-s1024-d64'),
    { name: 'all-but-bias-s1024-d64', ...shape, softcap: 50, alibi: true, sinks: true });
  assert.deepEqual(find('bias-s1024-d64'), { name: 'bias-s1024-d64', ...shape, bias: 'pair' });
  assert.equal(find('gpt-oss-20b-s2048').window, 128);
  assert.equal(find('padded-b8-s512-d64').visible, 'padding');
});

test('scores are changed and hidden as the workload says', () => {
  const w = { batch: 2, queryHeads: 2, kvHeads: 1, queries: 3, keys: 5, headDim: 4, causal: true };
  const alibi = new Scores({ ...w, alibi: true, window: 2, softcap: 2, sinks: true });
  assert.equal(alibi.logit(1, 0, 1, 0, 1), 2 * Math.tanh(0.5) - 2 ** -8);
  assert.equal(alibi.logit(1, 0, 1, 0, 0), -Infinity);  // before the window
  assert.equal(alibi.logit(1, 0, 1, 0, 3), -Infinity);  // after its position
  assert.deepEqual(alibi.additive().dims, [1, 2, 3, 5]);
  assert.deepEqual(alibi.sinks().data, Float32Array.of(-3, -2));
  const tree = new Scores({ ...w, visible: 'tree' }).shown();
  assert.deepEqual([...tree.data], [1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1]);
  const padding = new Scores({ ...w, causal: false, visible: 'padding' });
  assert.deepEqual([...padding.shownKeys().data], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
});

test('inputs may be left out, and attributes be floats', () => {
  const bytes = onnxModel({ node: { op: 'Some', domain: '', attributes: { a: new Float(1) } },
    inputs: [{ name: 'x', type: FLOAT, dims: [1] }, null], outputs: [] }).toString('latin1');
  assert.ok(bytes.includes('\x0a\x01x\x0a\x00'), 'an empty name');
  assert.ok(bytes.includes('\x0a\x01a\x15\x00\x00\x80\x3f'), '1 as a float');
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
