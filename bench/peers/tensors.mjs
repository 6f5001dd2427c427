// Tensors that ONNX Runtime's operators are measured on.

/** Normal random numbers; the seed tells tensors apart. As many as 2²⁰ are made and repeated. */
export function normal(count, seed) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const numbers = new Float32Array(count);
  const made = Math.min(count, 2 ** 20 + 7);
  for (let i = 0; i < made; ++i) {
    numbers[i] = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  }
  for (let i = made; i < count; i += made) {
    numbers.copyWithin(i, 0, Math.min(made, count - i));
  }
  return numbers;
}

/** A tensor [batch, heads, positions, headDim], and what operators make of it. */
export class Heads {
  constructor(batch, heads, positions, headDim, data) {
    Object.assign(this, { batch, heads, positions, headDim, data });
  }

  static random(batch, heads, positions, headDim, seed) {
    return new Heads(batch, heads, positions, headDim,
      normal(batch * heads * positions * headDim, seed));
  }

  row(sequence, head, position) {
    const start = ((sequence * this.heads + head) * this.positions + position) * this.headDim;
    return this.data.subarray(start, start + this.headDim);
  }

  slice(first, end = this.positions) {
    const positions = end - first;
    const part = new Heads(this.batch, this.heads, positions, this.headDim,
      new Float32Array(this.batch * this.heads * positions * this.headDim));
    part.eachRow((row, sequence, head, position) =>
      row.set(this.row(sequence, head, first + position)));
    return part;
  }

  eachRow(visit) {
    for (let sequence = 0; sequence < this.batch; ++sequence) {
      for (let head = 0; head < this.heads; ++head) {
        for (let i = 0; i < this.positions; ++i) {
          visit(this.row(sequence, head, i), sequence, head, i);
        }
      }
    }
  }

  byHead() {
    return { data: this.data, dims: [this.batch, this.heads, this.positions, this.headDim] };
  }

  /** As a projection writes it: [batch, positions, heads · headDim]. */
  byToken() {
    const width = this.heads * this.headDim;
    const data = new Float32Array(this.data.length);
    this.eachRow((row, sequence, head, position) =>
      data.set(row, (sequence * this.positions + position) * width + head * this.headDim));
    return { data, dims: [this.batch, this.positions, width] };
  }
}
