/**
 * Reads the struct, alias and constant declarations of one Go package of API types: enough of gofmt's
 * regular layout to see names, types, struct tags and marker comments. It is no Go parser.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface GoField {
  /** Go's name; for an embedded field that of its type. */
  goName: string;
  /** As written: `[]Volume`, `*int64`, `map[string]string`, `metav1.ObjectMeta`. */
  goType: string;
  json: string;
  inline: boolean;
  omitempty: boolean;
  omitzero: boolean;
  /** Protobuf field number; absent for TypeMeta and what is not sent. */
  number: number | undefined;
  patchStrategy: string | undefined;
  patchMergeKey: string | undefined;
  /** The lines of the comment above that begin with `+`, without it. */
  markers: string[];
}

export interface GoStruct {
  name: string;
  fields: GoField[];
  markers: string[];
}

export interface GoAlias {
  name: string;
  underlying: string;
  markers: string[];
  /** Values of the constants of this type, in source order. */
  values: string[];
}

export interface GoPackage {
  structs: GoStruct[];
  aliases: GoAlias[];
  /** Import name → import path. */
  imports: Record<string, string>;
  groupName: string | undefined;
  /** String constants: name → value. */
  constants: Record<string, string>;
}

const fieldLine = /^\t(?:(\w+)\s+)?([\w.[\]*]+)\s+`([^`]*)`/;
const tagOf = (tags: string, name: string): string | undefined =>
  new RegExp(`(?:^| )${name}:"([^"]*)"`).exec(tags)?.[1];

function parseField(line: string, markers: string[]): GoField | undefined {
  const match = fieldLine.exec(line);
  if (!match) return undefined;
  const [, name, goType, tags] = match as unknown as [string, string | undefined, string, string];
  const json = tagOf(tags, "json");
  if (json === undefined || json === "-") return undefined;
  const [jsonName = "", ...options] = json.split(",");
  const number = tagOf(tags, "protobuf")?.split(",")[1];
  return {
    goName: name ?? goType.replace(/^.*[.*]/, ""),
    goType,
    json: jsonName,
    inline: options.includes("inline") || (jsonName === "" && name === undefined),
    omitempty: options.includes("omitempty"),
    omitzero: options.includes("omitzero"),
    number: number === undefined || number === "" ? undefined : Number(number),
    patchStrategy: tagOf(tags, "patchStrategy"),
    patchMergeKey: tagOf(tags, "patchMergeKey"),
    markers,
  };
}

/** Parses the hand-written type files of the package in `folder`. */
export function readGoPackage(folder: string): GoPackage {
  const result: GoPackage = { structs: [], aliases: [], imports: {}, groupName: undefined, constants: {} };
  const constants: [type: string, value: string][] = [];
  for (const file of readdirSync(folder).toSorted()) {
    if (
      !file.endsWith(".go") ||
      file.endsWith("_test.go") ||
      /zz_generated|generated\.(pb|protomessage)|_generated|_proto\.go/.test(file)
    )
      continue;
    readGoFile(readFileSync(join(folder, file), "utf8"), result, constants);
  }
  for (const alias of result.aliases)
    alias.values = constants.filter(([type]) => type === alias.name).map(([, value]) => value);
  return result;
}

function readGoFile(text: string, result: GoPackage, constants: [string, string][]): void {
  result.groupName ??= /^\/\/ \+groupName=(.*)$/m.exec(text)?.[1];
  for (const match of text.matchAll(/^(?:import |\t)(?:(\w+) )?"([\w./-]+)"$/gm)) {
    const path = match[2] as string;
    result.imports[match[1] ?? path.replace(/^.*\//, "")] = path;
  }
  for (const match of text.matchAll(/^(?:\t|const )(\w+)\s+(\w+)\s*=\s*"([^"]*)"/gm)) {
    constants.push([match[2] as string, match[3] as string]);
    result.constants[match[1] as string] = match[3] as string;
  }

  let open: GoStruct | undefined;
  let markers: string[] = [];
  for (const line of text.split("\n")) {
    const marker = /^\t?\/\/ ?\s*\+(.*)$/.exec(line);
    if (marker) markers.push((marker[1] as string).trim());
    else if (/^\s*\/\//.test(line)) continue;
    else if (open !== undefined) {
      if (line === "}") open = undefined;
      else {
        const field = parseField(line, markers);
        if (field) open.fields.push(field);
      }
      markers = [];
    } else {
      const struct = /^type (\w+) struct ?\{(\})?/.exec(line);
      const alias = /^type (\w+) (?:= )?([\w.[\]*]+)$/.exec(line.replace(/\s*\/\/.*$/, ""));
      if (struct) {
        const parsed: GoStruct = { name: struct[1] as string, fields: [], markers };
        result.structs.push(parsed);
        if (struct[2] === undefined) open = parsed;
      } else if (alias)
        result.aliases.push({ name: alias[1] as string, underlying: alias[2] as string, markers, values: [] });
      if (line !== "" || !/^\s*$/.test(line)) markers = [];
    }
  }
}
