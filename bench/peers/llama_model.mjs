// A model to measure llama.cpp with, where there is no other:
//
//     node llama_model.mjs OUT.gguf
//
// Two layers of Llama 3.2 1B's shapes with random weights of q8_0 and a vocabulary of 512 tokens without
// words: what a layer costs depends on its shapes, and a small vocabulary leaves the layers most of the time.
import fs from "node:fs";

const kLayers = 2, kWidth = 2048, kHidden = 8192, kHeads = 32, kKvHeads = 8, kHeadDim = 64, kVocabulary = 512;
const kContext = 16384, kAlignment = 32;
// GGUF's numbers of the types of fields and of tensors.
const kUint32 = 4, kFloat32 = 6, kString = 8, kTensorF32 = 0, kTensorQ80 = 8;

const number = (bytes, write) => (value) => {
  const buffer = Buffer.alloc(bytes);
  buffer[write](value);
  return buffer;
};
const u32 = number(4, "writeUInt32LE"), f32 = number(4, "writeFloatLE");
const u64 = (value) => number(8, "writeBigUInt64LE")(BigInt(value));
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const padding = (bytes) => Buffer.alloc((kAlignment - (bytes % kAlignment)) % kAlignment);

const fields = [
  ["general.architecture", kString, text("llama")],
  ["general.name", kString, text("two layers of Llama 3.2 1B's shapes")],
  ["llama.context_length", kUint32, u32(kContext)],
  ["llama.embedding_length", kUint32, u32(kWidth)],
  ["llama.block_count", kUint32, u32(kLayers)],
  ["llama.feed_forward_length", kUint32, u32(kHidden)],
  ["llama.attention.head_count", kUint32, u32(kHeads)],
  ["llama.attention.head_count_kv", kUint32, u32(kKvHeads)],
  ["llama.attention.layer_norm_rms_epsilon", kFloat32, f32(1e-5)],
  ["llama.rope.dimension_count", kUint32, u32(kHeadDim)],
  ["llama.vocab_size", kUint32, u32(kVocabulary)],
  ["tokenizer.ggml.model", kString, text("no_vocab")]
];

let state = 1;
function random() {  // Marsaglia's xorshift, of 32 bits
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state;
}

// Blocks of 32 codes of 8 bits with a scale in f16, 2⁻¹².
function codes(elements) {
  const blocks = Buffer.alloc((elements / 32) * 34);
  for (let at = 0; at < blocks.length; at += 34) {
    blocks.writeUInt16LE(0x0C00, at);
    for (let i = 2; i < 34; i += 4) blocks.writeInt32LE(random(), at + i);
  }
  return blocks;
}
const matrix = (name, columns, rows) =>
  ({name, dimensions: [columns, rows], type: kTensorQ80, data: codes(columns * rows)});
const norm = (name) =>
  ({name, dimensions: [kWidth], type: kTensorF32, data: Buffer.concat(Array(kWidth).fill(f32(1)))});

const tensors = [matrix("token_embd.weight", kWidth, kVocabulary), norm("output_norm.weight")];
for (let layer = 0; layer < kLayers; ++layer) {
  const name = (part) => `blk.${layer}.${part}.weight`;
  tensors.push(
    norm(name("attn_norm")),
    matrix(name("attn_q"), kWidth, kHeads * kHeadDim),
    matrix(name("attn_k"), kWidth, kKvHeads * kHeadDim),
    matrix(name("attn_v"), kWidth, kKvHeads * kHeadDim),
    matrix(name("attn_output"), kHeads * kHeadDim, kWidth),
    norm(name("ffn_norm")),
    matrix(name("ffn_gate"), kWidth, kHidden),
    matrix(name("ffn_up"), kWidth, kHidden),
    matrix(name("ffn_down"), kHidden, kWidth)
  );
}

// The head of GGUF, version 3: fields, then where each tensor lies.
const head = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(fields.length)];
for (const [key, type, value] of fields) head.push(text(key), u32(type), value);
let offset = 0;
for (const {name, dimensions, type, data} of tensors) {
  head.push(text(name), u32(dimensions.length), ...dimensions.map(u64), u32(type), u64(offset));
  offset += data.length + padding(data.length).length;
}
const start = Buffer.concat(head);
const parts = [start, padding(start.length)];
for (const {data} of tensors) parts.push(data, padding(data.length));
fs.writeFileSync(process.argv[2], Buffer.concat(parts));
