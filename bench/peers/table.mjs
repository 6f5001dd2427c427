// From the lines that programs of peers print to one table.

/** The peers, as they are named on lines and in the table. */
export const PEERS = { onnxruntime: 'ONNX Runtime', ggml: 'ggml', openblas: 'OpenBLAS' };

/**
 * What is known of one workload on one number of threads. lines: all that heed and its peers
 * printed in all rounds, each {peer, operation, min_ms} or {peer, error}.
 */
export function summarise(name, threads, lines) {
  const result = { name, threads, best: {}, errors: [] };
  for (const line of lines) {
    if (line.error !== undefined) {
      result.errors.push(line);
    } else if (!(result.best[line.peer]?.min_ms <= line.min_ms)) {
      result.best[line.peer] = line;
    }
  }
  const peers = Object.keys(PEERS).filter((peer) => peer in result.best);
  peers.sort((a, b) => result.best[a].min_ms - result.best[b].min_ms);
  result.best_peer = peers[0] ?? null;
  result.ratio = result.best_peer !== null && 'heed' in result.best
    ? result.best[result.best_peer].min_ms / result.best.heed.min_ms : null;
  return result;
}

const OPERATORS = { MultiHeadAttention: 'MHA', Attention: 'Attention', GroupQueryAttention: 'GQA' };

/** A peer's time, or that it failed; peers that were not asked have none. */
function milliseconds({ best, errors }, peer) {
  if (best[peer] !== undefined) return best[peer].min_ms.toFixed(4);
  return errors.some((error) => error.peer === peer) ? 'failed' : '-';
}

/** The cells of a row, in the order of `columns`. */
function cells(result) {
  const { best } = result;
  return [result.name, String(result.threads), milliseconds(result, 'heed'),
    ...Object.keys(PEERS).map((peer) => milliseconds(result, peer)),
    OPERATORS[best.onnxruntime?.operation] ?? '-', PEERS[result.best_peer] ?? '-',
    result.ratio === null ? '-' : result.ratio.toFixed(2)];
}

/** Prints rows as they come. */
export class Table {
  constructor(names) {
    const name = Math.max(8, ...names.map((each) => each.length));
    this.widths = [-name, 7, 10, 15, 10, 10, -12, -12, 7];
  }

  head() {
    const peers = Object.values(PEERS).map((peer) => `${peer} ms`);
    return this.line(['workload', 'threads', 'heed ms', ...peers, 'its operator', 'best peer',
      'ratio']);
  }

  row(result) {
    return this.line(cells(result));
  }

  line(words) {
    return words.map((word, i) => (this.widths[i] < 0 ? word.padEnd(-this.widths[i])
      : word.padStart(this.widths[i]))).join('  ').trimEnd();
  }
}

/** What --json writes, and heed report reads; the names of peers are those that people know. */
export function peersJson(results) {
  return { schema: 'heed-peers', schema_version: 1, date: new Date().toISOString(), peers: PEERS,
    results };
}

/** A sentence for each failure, those of several rounds once. */
export function failures(results) {
  const sentences = results.flatMap(({ name, threads, errors }) => errors.map(({ peer, error }) =>
    `${PEERS[peer] ?? peer} failed on ${name}, threads: ${threads}: ${error}`));
  return [...new Set(sentences)];
}
