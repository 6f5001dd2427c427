// Copies a program or library of x86-64 with `ud0` in the place of every `cpuid`, which is as long: each
// then ends in the handler of hide_avx512.cc, which answers in the processor's place. Linux can have `cpuid`
// itself fault, but few virtual machines let it.
//
//   node trap_cpuid.mjs FILE COPY
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const CPUID = Buffer.from([0x0f, 0xa2]);
const UD0 = Buffer.from([0x0f, 0xff]);
const self = fileURLToPath(import.meta.url);

function linesOf(command) {
  const { error, status, stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', command],
    { encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (error || status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`);
  return stdout.split('\n');
}

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

/** Where the bytes of addresses are in a file, by its LOAD segments. */
function offsetsOf(file, addresses) {
  const segments = linesOf(`readelf --segments --wide ${quoted(file)}`)
    .map((line) => line.trim().split(/\s+/)).filter(([type]) => type === 'LOAD')
    .map(([, offset, address, , size]) => ({ offset: +offset, address: +address, size: +size }));
  return addresses.map((each) => {
    const segment = segments.find(({ address, size }) => each >= address && each < address + size);
    if (!segment) throw new Error(`${file} has no segment with the address ${each}`);
    return each - segment.address + segment.offset;
  });
}

/** Addresses of a file's `cpuid` instructions: 0f a2 may be a part of others. */
const addressesOf = (file) => linesOf(
  `objdump --disassemble --no-show-raw-insn ${quoted(file)} | sed -n 's/^ *\\([0-9a-f]*\\):\\tcpuid *$/\\1/p'`)
  .filter(Boolean).map((digits) => parseInt(digits, 16));

const isFresh = (file, copy) => {
  const made = statSync(copy, { throwIfNoEntry: false });
  return made !== undefined && [file, self].every((older) => made.ctimeMs > statSync(older).ctimeMs);
};

/** Makes the copy, where there is none that is newer; returns whether the file has any `cpuid`. */
export function trapCpuid(file, copy) {
  if (isFresh(file, copy)) return !readFileSync(file).equals(readFileSync(copy));
  const bytes = readFileSync(file);
  const offsets = offsetsOf(file, addressesOf(file));
  for (const offset of offsets) {
    if (!bytes.subarray(offset, offset + 2).equals(CPUID)) throw new Error(`no cpuid at ${offset} of ${file}`);
    UD0.copy(bytes, offset);
  }
  mkdirSync(dirname(copy), { recursive: true });
  const unfinished = `${copy}.${process.pid}`;
  writeFileSync(unfinished, bytes);
  chmodSync(unfinished, statSync(file).mode);
  renameSync(unfinished, copy);
  return offsets.length > 0;
}

if (process.argv[1] && realpathSync(process.argv[1]) === self) {
  const [file, copy] = process.argv.slice(2);
  if (!copy) throw new Error('usage: node trap_cpuid.mjs FILE COPY');
  if (!trapCpuid(file, copy)) throw new Error(`${file} has no cpuid`);
}
