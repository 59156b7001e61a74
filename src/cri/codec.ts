import protobuf from "protobufjs/light.js";
import { enums, messages } from "./schema.ts";

interface FieldDescriptor {
  type: string;
  id: number;
  rule?: "repeated";
  keyType?: "string";
}

/** Lines of `schema.ts` as words, continuation lines joined. */
export function schemaLines(text: string): string[][] {
  return text
    .trim()
    .replaceAll(/\n +/g, " ")
    .split("\n")
    .map((line) => line.trim().split(/ +/));
}

function fieldOf(word: string): [string, FieldDescriptor] {
  const [, name = "", type = "", list, number = ""] = /^(\w+):(\w+)(\[\])?=(\d+)$/.exec(word) ?? [];
  const id = Number(number);
  if (type === "map") return [name, { keyType: "string", type: "string", id }];
  return [name, { type, id, ...(list === undefined ? {} : { rule: "repeated" }) }];
}

function describe(): protobuf.Root {
  const nested: Record<string, unknown> = {};
  for (const [name = "", ...values] of schemaLines(enums)) {
    nested[name] = { values: Object.fromEntries(values.map((value, at) => [value, at])) };
  }
  for (const [name = "", ...fields] of schemaLines(messages)) {
    nested[name] = { fields: Object.fromEntries(fields.map(fieldOf)) };
  }
  const package_ = { runtime: { nested: { v1: { nested } } } };
  return protobuf.Root.fromJSON({ options: { syntax: "proto3" }, nested: package_ } as protobuf.INamespace);
}

/** CRI's messages between bytes and plain objects: enums as names, 64-bit numbers as numbers, defaults filled in. */
export class CriCodec {
  readonly #root = describe();

  #type(name: string): protobuf.Type {
    return this.#root.lookupType(`runtime.v1.${name}`);
  }

  encoder(name: string): (value: object) => Buffer {
    const type = this.#type(name);
    return (value) => Buffer.from(type.encode(type.fromObject(value as Record<string, unknown>)).finish());
  }

  decoder(name: string): (bytes: Buffer) => object {
    const type = this.#type(name);
    return (bytes) => type.toObject(type.decode(bytes), { defaults: true, enums: String, longs: Number });
  }
}
