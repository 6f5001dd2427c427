// Greedy texts of an unmodified llama-server, with heed's plug-in and without it: many requests at once,
// and again while others are cancelled.
//
//     node server_requests.mjs LLAMA_SERVER MODEL.gguf EXPECTED.jsonl
//
// GGML_BACKEND_PATH names the plug-in, and ggml finds its own backends in the working folder. Each line
// of EXPECTED has the ids of a greedy text, "ids".
import {spawn} from "node:child_process";
import {once} from "node:events";
import fs from "node:fs";
import readline from "node:readline";

const kPrompt = 8;  // ids of each text that are given; the others must be found
const kRequests = 48;  // at once, for four sequences
const [program, model, expected] = process.argv.slice(2);
const texts = fs.readFileSync(expected, "utf8").trim().split("\n").map((line) => JSON.parse(line).ids);

// A server, once it listens, and how many requests it has cancelled.
async function start(env, options) {
  const args = ["--model", model, "--host", "127.0.0.1", "--port", "0", "--parallel", "4", "--ctx-size", "512",
                "--offline", "--no-webui", ...options];
  const child = spawn(program, args, {env, stdio: ["ignore", "inherit", "pipe"]});
  const server = {child, ended: once(child, "close"), url: "", cancelled: 0};
  await new Promise((resolve, reject) => {
    child.on("close", () => reject(new Error("llama-server has ended")));
    readline.createInterface({input: child.stderr}).on("line", (line) => {
      if (line.startsWith("heed:")) console.error(line);
      if (line.includes("cancel task")) server.cancelled += 1;
      const listening = /listening on (http:\S+)/.exec(line);
      if (listening === null) return;
      server.url = listening[1];
      resolve();
    });
  });
  return server;
}

function request(server, ids, more) {
  const body = {prompt: ids.slice(0, kPrompt), n_predict: ids.length - kPrompt, temperature: 0,
                return_tokens: true, cache_prompt: false, ...more};
  return fetch(`${server.url}/completion`, {method: "POST", body: JSON.stringify(body),
                                            headers: {"Content-Type": "application/json"}});
}

// The ids of a text that the server has continued.
async function continued(server, ids) {
  const {tokens} = await (await request(server, ids)).json();
  return [...ids.slice(0, kPrompt), ...tokens];
}

// A request that is left after so many pieces of its text.
async function left(server, ids, pieces) {
  const {body} = await request(server, ids, {stream: true});
  const reader = body.getReader();
  for (let i = 0; i < pieces; ++i) await reader.read();
  await reader.cancel();
  return null;
}

// The texts of a server, in the order of the requests; every second of some requests is left.
function ask(server, leaves) {
  return Promise.all(Array.from({length: kRequests}, (_, i) => {
    const ids = texts[i % texts.length];
    return leaves && i % 2 === 1 ? left(server, ids, i % 11) : continued(server, ids);
  }));
}

async function answers(env, options) {
  const server = await start(env, options);
  const found = [...await ask(server, false), ...await ask(server, true), ...await ask(server, false)];
  server.child.kill("SIGTERM");
  const [code, signal] = await server.ended;
  return {texts: found.filter((text) => text !== null), cancelled: server.cancelled, end: code ?? signal};
}

const {GGML_BACKEND_PATH: plugin, ...without} = process.env;
const due = Array.from({length: kRequests}, (_, i) => texts[i % texts.length]);
const all = JSON.stringify([...due, ...due.filter((_, i) => i % 2 === 0), ...due]);
let failures = 0, cancelled = 0;
for (const options of [["--threads", "1"], ["--threads", "2", "--flash-attn", "on", "--kv-unified"]]) {
  for (const [name, env] of [["ggml", without], ["heed", {...without, GGML_BACKEND_PATH: plugin}]]) {
    const found = await answers(env, options);
    cancelled += found.cancelled;
    if (JSON.stringify(found.texts) === all && found.cancelled > 0 && found.end === 0) continue;
    failures += 1;
    console.log(`${name}, ${options.join(" ")}: ${found.texts.length} texts, some other than expected; ` +
                `${found.cancelled} requests cancelled; the server ended with ${found.end}`);
  }
}
if (failures === 0) console.log(`all texts of llama-server as expected, ${cancelled} requests cancelled`);
process.exitCode = failures === 0 ? 0 : 1;
