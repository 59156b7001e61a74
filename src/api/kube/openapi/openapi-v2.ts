/**
 * The OpenAPI v2 document of the whole built-in API, as JSON and in the protobuf form that older kubectls read
 * (gnostic, openapiv2). Made from the v3 documents: older clients need schemas, patch strategies and which
 * parameters a verb takes, and get those.
 */
type Node = Record<string, unknown>;

const refPrefix = "#/components/schemas/";

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A v3 schema in v2's words. */
function schemaV2(value: unknown): Node {
  if (!isNode(value)) return {};
  const out: Node = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === "$ref") out[key] = String(item).replace(refPrefix, "#/definitions/");
    else if (key === "allOf") Object.assign(out, schemaV2((item as unknown[])[0]));
    else if (key === "oneOf") out["type"] = "string";
    else if (key === "items" || (key === "additionalProperties" && isNode(item))) {
      const inner = schemaV2(item);
      delete inner["default"];
      out[key] = inner;
    } else if (key === "properties") {
      out[key] = Object.fromEntries(Object.entries(item as Node).map(([name, each]) => [name, schemaV2(each)]));
    } else if (key !== "default" || !isNode(item)) out[key] = item;
  }
  return out;
}

function parameterV2(value: unknown): Node {
  const { name, in: where, description, required, schema } = value as Node;
  return {
    name,
    in: where,
    ...(description ? { description } : {}),
    ...(required === true ? { required } : {}),
    type: (schema as Node | undefined)?.["type"] ?? "string",
    uniqueItems: true,
  };
}

function operationV2(value: Node): Node {
  const { tags, operationId, parameters, requestBody } = value;
  const body = isNode(requestBody) ? (requestBody["content"] as Node) : undefined;
  const bodySchema = body === undefined ? undefined : (Object.values(body)[0] as Node)["schema"];
  return {
    tags,
    operationId,
    ...(body === undefined ? {} : { consumes: Object.keys(body) }),
    produces: ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"],
    schemes: ["https"],
    parameters: [
      ...(bodySchema === undefined ? [] : [{ name: "body", in: "body", required: true, schema: schemaV2(bodySchema) }]),
      ...((parameters as unknown[] | undefined) ?? []).map(parameterV2),
    ],
    responses: { "200": { description: "OK" }, "401": { description: "Unauthorized" } },
    ...Object.fromEntries(Object.entries(value).filter(([key]) => key.startsWith("x-"))),
  };
}

/** Joins v3 documents into one v2 document. */
export function openApiV2Document(documents: readonly unknown[]): Node {
  const paths: Record<string, Node> = {};
  const definitions: Record<string, Node> = {};
  for (const document of documents) {
    if (!isNode(document)) continue;
    for (const [path, item] of Object.entries(document["paths"] as Node)) {
      const out: Node = {};
      for (const [key, each] of Object.entries(item as Node))
        out[key] = key === "parameters" ? (each as unknown[]).map(parameterV2) : operationV2(each as Node);
      paths[path] = out;
    }
    const { schemas } = document["components"] as { schemas: Node };
    for (const [name, schema] of Object.entries(schemas)) definitions[name] ??= schemaV2(schema);
  }
  return { swagger: "2.0", info: { title: "Kubernetes", version: "v1.36.0" }, paths, definitions };
}

type Value = string | boolean | Buffer | undefined;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A message of [field number, value or values]. */
function message(...fields: [number, Value | readonly Value[]][]): Buffer {
  const parts: Buffer[] = [];
  for (const [number, values] of fields) {
    for (const value of Array.isArray(values) ? (values as readonly Value[]) : [values as Value]) {
      if (value === undefined) continue;
      if (typeof value === "boolean") parts.push(varint(number * 8), Buffer.from([value ? 1 : 0]));
      else {
        const bytes = typeof value === "string" ? Buffer.from(value) : value;
        parts.push(varint(number * 8 + 2), varint(bytes.length), bytes);
      }
    }
  }
  return Buffer.concat(parts);
}

const text = (value: unknown): string | undefined => (value === undefined ? undefined : String(value));
const any = (value: unknown): Buffer => message([2, JSON.stringify(value)]);
const extensions = (node: Node): Buffer[] =>
  Object.entries(node)
    .filter(([key]) => key.startsWith("x-"))
    .map(([key, value]) => message([1, key], [2, any(value)]));

function schemaMessage(node: Node): Buffer {
  const properties = node["properties"] as Record<string, Node> | undefined;
  const additional = node["additionalProperties"];
  return message(
    [1, text(node["$ref"])],
    [2, text(node["format"])],
    [4, text(node["description"])],
    [5, node["default"] === undefined ? undefined : any(node["default"])],
    [19, node["required"] as string[] | undefined],
    [20, (node["enum"] as unknown[] | undefined)?.map(any)],
    [21, isNode(additional) ? message([1, schemaMessage(additional)]) : undefined],
    [22, node["type"] === undefined ? undefined : message([1, text(node["type"])])],
    [23, isNode(node["items"]) ? message([1, schemaMessage(node["items"])]) : undefined],
    [
      25,
      properties === undefined
        ? undefined
        : message([1, Object.entries(properties).map(([name, each]) => message([1, name], [2, schemaMessage(each)]))]),
    ],
    [31, extensions(node)],
  );
}

function parameterMessage(node: Node): Buffer {
  const {
    name,
    in: where,
    description,
    required,
    type,
    schema,
  } = node as Record<string, string | boolean | undefined> & { schema?: Node };
  if (where === "body")
    return message([
      1,
      message([
        1,
        message(
          [1, text(description)],
          [2, text(name)],
          [3, "body"],
          [4, required === true],
          [5, schemaMessage(schema ?? {})],
        ),
      ]),
    ]);
  const inPath = where === "path";
  const fields = inPath
    ? message([1, true], [2, "path"], [3, text(description)], [4, text(name)], [5, text(type)], [19, true])
    : message([2, "query"], [3, text(description)], [4, text(name)], [6, text(type)], [20, true]);
  return message([1, message([2, message([inPath ? 4 : 3, fields])])]);
}

function operationMessage(node: Node): Buffer {
  const responses = Object.entries(node["responses"] as Record<string, Node>).map(([code, { description }]) =>
    message([1, code], [2, message([1, message([1, text(description)])])]),
  );
  return message(
    [1, node["tags"] as string[]],
    [5, text(node["operationId"])],
    [6, node["produces"] as string[]],
    [7, node["consumes"] as string[] | undefined],
    [8, (node["parameters"] as Node[]).map(parameterMessage)],
    [9, message([1, responses])],
    [10, node["schemes"] as string[]],
    [13, extensions(node)],
  );
}

const methods: [string, number][] = [
  ["get", 2],
  ["put", 3],
  ["post", 4],
  ["delete", 5],
  ["patch", 8],
];

/** The protobuf form of a v2 document. */
export function openApiV2Protobuf(document: Node): Buffer {
  const paths = Object.entries(document["paths"] as Record<string, Node>).map(([name, item]) => {
    const operations = methods
      .filter(([method]) => item[method] !== undefined)
      .map(([method, number]): [number, Buffer] => [number, operationMessage(item[method] as Node)]);
    const parameters: [number, Buffer[]] = [
      9,
      ((item["parameters"] as Node[] | undefined) ?? []).map(parameterMessage),
    ];
    return message([1, name], [2, message(...operations, parameters)]);
  });
  const definitions = Object.entries(document["definitions"] as Record<string, Node>).map(([name, schema]) =>
    message([1, name], [2, schemaMessage(schema)]),
  );
  const { title, version } = document["info"] as { title: string; version: string };
  return message(
    [1, "2.0"],
    [2, message([1, title], [2, version])],
    [8, message([2, paths])],
    [9, message([1, definitions])],
  );
}
