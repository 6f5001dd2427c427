// Writes ONNX models of one node: as much of protocol buffers as that takes. The numbers are those
// of the fields in onnx.proto (ModelProto, GraphProto, NodeProto, ValueInfoProto).

export const FLOAT = 1;
export const INT32 = 6;
export const BOOL = 9;

/** An attribute that is a float, though its value may be an integer. */
export class Float {
  constructor(value) {
    this.value = value;
  }
}

const IR_VERSION = 10;
const OPSET = 23;  // the first with Attention
const VARINT = 0;
const LENGTH = 2;
const FIXED32 = 5;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;

function varint(number) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(number));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

const int = (field, number) => Buffer.concat([varint(field * 8 + VARINT), varint(number)]);

/** A field that holds text, or a message of the given fields. */
function nested(field, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([varint(field * 8 + LENGTH), varint(body.length), body]);
}

function float(field, number) {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(number);
  return Buffer.concat([varint(field * 8 + FIXED32), bytes]);
}

function attribute([name, value]) {
  return value instanceof Float
    ? nested(5, nested(1, name), float(2, value.value), int(20, ATTRIBUTE_FLOAT))
    : nested(5, nested(1, name), int(3, value), int(20, ATTRIBUTE_INT));
}

function node({ op, domain, inputs, outputs, attributes }) {
  return nested(1, ...inputs.map((name) => nested(1, name)),
    ...outputs.map((name) => nested(2, name)), nested(4, op),
    ...Object.entries(attributes).map(attribute), nested(7, domain));
}

function value(field, { name, type, dims }) {
  const shape = nested(2, ...dims.map((size) => nested(1, int(1, size))));
  return nested(field, nested(1, name), nested(2, nested(1, int(1, type), shape)));
}

/**
 * The bytes of a model. node: {op, domain, attributes: {name: integer or Float}}; inputs and
 * outputs, in the order of the operator: [{name, type, dims}], or null for one that is left out.
 */
export function onnxModel({ node: { op, domain, attributes }, inputs, outputs }) {
  const names = (values) => values.map((value) => value?.name ?? '');
  const graph = nested(7,
    node({ op, domain, attributes, inputs: names(inputs), outputs: names(outputs) }),
    nested(2, 'attention'), ...inputs.filter(Boolean).map((each) => value(11, each)),
    ...outputs.map((each) => value(12, each)));
  return Buffer.concat([int(1, IR_VERSION), graph, nested(8, nested(1, ''), int(2, OPSET)),
    nested(8, nested(1, 'com.microsoft'), int(2, 1))]);
}
