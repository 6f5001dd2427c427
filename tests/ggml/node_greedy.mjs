// Greedy texts in an unmodified node-llama-cpp, one and four of them side by side.
//
//     node node_greedy.mjs MODEL.gguf EXPECTED.jsonl
//
// Each line of EXPECTED has a prompt, "prompt", and the ids of its greedy text, "ids".
import fs from "node:fs";
import {getLlama} from "node-llama-cpp";

const [model, expected] = process.argv.slice(2);
const texts = fs.readFileSync(expected, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 0});
const loaded = await llama.loadModel({modelPath: model});

async function comesOut(sequence, {prompt, ids}) {
  const given = prompt === "" ? ids.slice(0, 1) : [ids[0], ...loaded.tokenize(prompt)];
  const found = [...given];
  await sequence.clearHistory();
  for await (const token of sequence.evaluate(given, {temperature: 0, yieldEogToken: true})) {
    found.push(token);
    if (found.length === ids.length) break;
  }
  return JSON.stringify(found) === JSON.stringify(ids);
}

let failures = 0;
for (const flashAttention of ["auto", true]) {
  for (const threads of [1, 2]) {
    for (const sequences of [1, 4]) {
      const context = await loaded.createContext({contextSize: 128, flashAttention, threads, sequences});
      const free = Array.from({length: sequences}, () => context.getSequence());
      const results = await Promise.all(
        Array.from({length: sequences}, (_, i) => comesOut(free[i], texts[i % texts.length]))
      );
      await context.dispose();
      if (results.every((result) => result)) continue;
      failures += 1;
      console.log(`other tokens than expected: flash attention ${flashAttention}, ` +
                  `${threads} threads, ${sequences} sequences`);
    }
  }
}
await llama.dispose();
if (failures === 0) console.log("all texts as expected");
process.exitCode = failures === 0 ? 0 : 1;
