// A model's prompts and tokens in llama.cpp, with heed's plug-in and without it, in turns:
//
//     node llama.mjs LLAMA_BENCH PLUGIN MODEL.gguf [ROUNDS]
//
// Tokens per second of llama-bench: a prompt of 4096 tokens, and 32 tokens after 4096; the best of all
// rounds, and heed's over ggml's.
import {spawnSync} from "node:child_process";
import os from "node:os";

const [bench, plugin, model, rounds = "3"] = process.argv.slice(2);
const threads = [...new Set([1, os.availableParallelism()])];
const types = ["f16", "q8_0"];
const works = [
  {name: "prompt of 4096", args: ["-p", "4096", "-n", "0"]},
  {name: "32 tokens after 4096", args: ["-p", "0", "-n", "32", "-d", "4096"]}
];

function measure(withHeed, type, work) {
  const env = {...process.env};
  delete env.GGML_BACKEND_PATH;
  if (withHeed) env.GGML_BACKEND_PATH = plugin;
  const args = ["-m", model, "-fa", "1", "-r", "1", "-t", threads.join(","), "-ctk", type, "-ctv", type,
                "-o", "json", ...work.args];
  const result = spawnSync(bench, args, {env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"]});
  if (result.status !== 0) throw new Error(`${bench}: ${result.stderr}`);
  return JSON.parse(result.stdout).map(({n_threads, avg_ts}) => [n_threads, avg_ts]);
}

const best = new Map();
for (let round = 0; round < Number(rounds); ++round) {
  for (const type of types) {
    for (const work of works) {
      for (const withHeed of [false, true]) {
        for (const [count, speed] of measure(withHeed, type, work)) {
          const key = [type, work.name, count].join();
          const row = best.get(key) ?? {type, work: work.name, threads: count, ggml: 0, heed: 0};
          const side = withHeed ? "heed" : "ggml";
          row[side] = Math.max(row[side], speed);
          best.set(key, row);
        }
      }
    }
  }
}
console.log("| cache | work | threads | ggml, tokens/s | heed, tokens/s | ratio |");
console.log("|---|---|---|---|---|---|");
for (const {type, work, threads: count, ggml, heed} of best.values()) {
  console.log(`| ${type} | ${work} | ${count} | ${ggml.toFixed(1)} | ${heed.toFixed(1)} | ${(heed / ggml).toFixed(2)} |`);
}
