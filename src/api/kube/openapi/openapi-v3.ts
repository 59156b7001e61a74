/**
 * OpenAPI v3 documents of the built-in API, one for each group version, made from the tables: what kubectl
 * reads for explain, for apply and to see whether the server validates fields.
 */
import type { FieldSchema, ObjectSchema, ResourceInfo, SchemaType } from "../schema.ts";
import { scheme } from "../scheme.ts";

type Node = Record<string, unknown>;

const quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const intOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const rawExtension = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/** Types that are no structs in JSON. */
const leaves: Record<string, Node> = {
  [quantity]: { oneOf: [{ type: "string" }, { type: "number" }] },
  [intOrString]: { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] },
  [rawExtension]: { type: "object" },
  [`${meta}Time`]: { type: "string", format: "date-time" },
  [`${meta}MicroTime`]: { type: "string", format: "date-time" },
  [`${meta}Duration`]: { type: "string" },
  [`${meta}FieldsV1`]: { type: "object" },
  [`${meta}Patch`]: { type: "object" },
};

/** Texts for explain: by OpenAPI name and field ("" for the type itself). */
export type Describe = (type: string, field: string) => string | undefined;

class Builder {
  readonly schemas: Record<string, Node> = {};
  readonly #describe: Describe;

  constructor(describe: Describe) {
    this.#describe = describe;
  }

  /** A reference to a type, which is written when it is first named. */
  ref(name: string, make: () => Node): Node {
    if (this.schemas[name] === undefined) {
      // Set first: types may name themselves.
      this.schemas[name] = {};
      this.schemas[name] = make();
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  leaf(name: string): Node {
    return this.ref(name, () => withText(leaves[name] as Node, this.#describe(name, "")));
  }

  object(schema: ObjectSchema): Node {
    return this.ref(schema.openapi, () => {
      const properties: Record<string, Node> = {};
      const required: string[] = [];
      for (const field of schema.fields.values()) {
        properties[field.name] = this.field(schema, field);
        if (field.required) required.push(field.name);
      }
      return {
        ...textOf(this.#describe(schema.openapi, "")),
        type: "object",
        ...(required.length === 0 ? {} : { required: required.sort() }),
        properties,
        ...(schema.atomic ? { "x-kubernetes-map-type": "atomic" } : {}),
      };
    });
  }

  field(owner: ObjectSchema, field: FieldSchema): Node {
    const node = this.type(field.type);
    const text = textOf(this.#describe(owner.openapi, field.name));
    const extensions: Node = {};
    if (field.default !== undefined) extensions["default"] = field.default;
    if (field.listType !== undefined) extensions["x-kubernetes-list-type"] = field.listType;
    if (field.listKeys.length > 0) extensions["x-kubernetes-list-map-keys"] = field.listKeys;
    if (field.atomic) extensions["x-kubernetes-map-type"] = "atomic";
    if (field.patchStrategies.length > 0) extensions["x-kubernetes-patch-strategy"] = field.patchStrategies.join(",");
    if (field.patchMergeKey !== undefined) extensions["x-kubernetes-patch-merge-key"] = field.patchMergeKey;
    // Nothing may stand beside a $ref.
    if (node["$ref"] !== undefined) return { ...text, allOf: [node], ...extensions };
    return { ...text, ...node, ...extensions };
  }

  type(type: SchemaType): Node {
    switch (type.kind) {
      case "string":
        return { type: "string", ...(type.enum === undefined ? {} : { enum: type.enum }) };
      case "bool":
        return { type: "boolean" };
      case "int32":
      case "int64":
        return { type: "integer", format: type.kind };
      case "float64":
        return { type: "number", format: "double" };
      case "bytes":
        return { type: "string", format: "byte" };
      case "quantity":
        return this.leaf(quantity);
      case "time":
        return this.leaf(`${meta}Time`);
      case "microTime":
        return this.leaf(`${meta}MicroTime`);
      case "duration":
        return this.leaf(`${meta}Duration`);
      case "intOrString":
        return this.leaf(intOrString);
      case "rawExtension":
        return this.leaf(rawExtension);
      case "fieldsV1":
        return this.leaf(`${meta}FieldsV1`);
      case "list": {
        const items = this.type(type.items);
        return { type: "array", items: items["$ref"] === undefined ? items : { allOf: [items], default: {} } };
      }
      case "map": {
        const values = this.type(type.values);
        return {
          type: "object",
          additionalProperties: values["$ref"] === undefined ? values : { allOf: [values], default: {} },
        };
      }
      case "object":
        return this.object(type.object);
      default:
        return {};
    }
  }
}

function textOf(description: string | undefined): Node {
  return description === undefined || description === "" ? {} : { description };
}

function withText(node: Node, description: string | undefined): Node {
  return { ...textOf(description), ...node };
}

const query = (name: string, type: string, description: string): Node => ({
  name,
  in: "query",
  description,
  schema: { type, uniqueItems: true },
});

const dryRun = query("dryRun", "string", "Only 'All' is known: everything is done but the write.");
const fieldManager = query("fieldManager", "string", "Who makes the change.");
const fieldValidation = query(
  "fieldValidation",
  "string",
  "What happens to unknown and repeated fields: Ignore, Warn or Strict.",
);
const pretty = query("pretty", "string", "Indent the answer.");
const listParameters = [
  "allowWatchBookmarks:boolean",
  "continue:string",
  "fieldSelector:string",
  "labelSelector:string",
  "limit:integer",
  "resourceVersion:string",
  "resourceVersionMatch:string",
  "sendInitialEvents:boolean",
  "timeoutSeconds:integer",
  "watch:boolean",
].map((text) => {
  const [name = "", type = ""] = text.split(":");
  return query(name, type, "");
});
const bodyTypes = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const patchTypes = [
  "application/apply-patch+yaml",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];

interface Verb {
  verb: string;
  method: "get" | "post" | "put" | "patch" | "delete";
  action: string;
  collection: boolean;
  parameters: Node[];
}

const verbs: Verb[] = [
  { verb: "list", method: "get", action: "list", collection: true, parameters: listParameters },
  {
    verb: "create",
    method: "post",
    action: "post",
    collection: true,
    parameters: [dryRun, fieldManager, fieldValidation],
  },
  {
    verb: "deletecollection",
    method: "delete",
    action: "deletecollection",
    collection: true,
    parameters: listParameters,
  },
  { verb: "get", method: "get", action: "get", collection: false, parameters: [] },
  {
    verb: "update",
    method: "put",
    action: "put",
    collection: false,
    parameters: [dryRun, fieldManager, fieldValidation],
  },
  {
    verb: "patch",
    method: "patch",
    action: "patch",
    collection: false,
    parameters: [
      dryRun,
      fieldManager,
      fieldValidation,
      query("force", "boolean", "Take fields over from other managers."),
    ],
  },
  {
    verb: "delete",
    method: "delete",
    action: "delete",
    collection: false,
    parameters: [dryRun, query("gracePeriodSeconds", "integer", ""), query("propagationPolicy", "string", "")],
  },
];

function content(types: readonly string[], schema: Node): Node {
  return Object.fromEntries(types.map((type) => [type, { schema }]));
}

function operation(
  info: ResourceInfo,
  subresource: string,
  verb: Verb,
  kind: { group: string; version: string; kind: string },
  body: Node,
  patch: Node,
): Node {
  const id = `${verb.action}${info.namespaced ? "Namespaced" : ""}${info.group}${info.version}${info.kind}${subresource}`;
  const out: Node = {
    tags: [`${info.group === "" ? "core" : info.group}_${info.version}`],
    operationId: id.replace(/[^A-Za-z0-9]/g, ""),
    parameters: verb.parameters,
    responses: {
      "200": { description: "OK", content: content(bodyTypes, body) },
      "401": { description: "Unauthorized" },
    },
    "x-kubernetes-action": verb.action,
    "x-kubernetes-group-version-kind": { group: kind.group, kind: kind.kind, version: kind.version },
  };
  if (verb.method === "post" || verb.method === "put")
    out["requestBody"] = { content: { "*/*": { schema: body } }, required: true };
  if (verb.method === "patch") out["requestBody"] = { content: content(patchTypes, patch), required: true };
  return out;
}

/** The document of one group version; undefined when the tables have none. */
export function openApiV3Document(group: string, version: string, describe: Describe = () => undefined): unknown {
  const builder = new Builder(describe);
  const paths: Record<string, Node> = {};
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const patchBody = builder.leaf(`${meta}Patch`);
  let found = false;
  for (const info of scheme.resources) {
    if (info.group !== group || info.version !== version) continue;
    found = true;
    const body = kindOf(builder, info);
    const listKind = scheme.kind(group, version, `${info.kind}List`);
    const list =
      listKind === undefined ? body : markKind(builder, listKind, { group, version, kind: `${info.kind}List` });
    const base = `${root}${info.namespaced ? "/namespaces/{namespace}" : ""}/${info.plural}`;
    const named = `${base}/{name}`;
    const parameters = (one: boolean): Node[] => [
      ...(one ? [path("name")] : []),
      ...(info.namespaced ? [path("namespace")] : []),
      pretty,
    ];
    for (const verb of verbs) {
      if (!info.verbs.includes(verb.verb)) continue;
      const at = (paths[verb.collection ? base : named] ??= { parameters: parameters(!verb.collection) });
      at[verb.method] = operation(info, "", verb, info, verb.verb === "list" ? list : body, patchBody);
    }
    if (info.namespaced && info.verbs.includes("list"))
      paths[`${root}/${info.plural}`] = {
        get: operation(info, "ForAllNamespaces", verbs[0] as Verb, info, list, patchBody),
      };
    for (const sub of info.subresources) {
      const schema = scheme.kind(sub.group, sub.version, sub.kind);
      const subBody = schema === undefined ? {} : markKind(builder, schema, sub);
      const at: Node = (paths[`${named}/${sub.name}`] ??= { parameters: parameters(true) });
      for (const verb of verbs) {
        const method = verb.verb === "create" ? "post" : verb.method;
        if (!sub.verbs.includes(verb.verb) || (verb.collection && verb.verb !== "create")) continue;
        at[method] = operation(info, sub.name, verb, sub, subBody, patchBody);
      }
    }
  }
  if (!found) return undefined;
  const options = scheme.kind("meta.k8s.io", "v1", "DeleteOptions");
  if (options !== undefined) builder.object(options);
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.36.0" },
    paths,
    components: {
      schemas: builder.schemas,
      securitySchemes: { BearerToken: { type: "apiKey", in: "header", name: "authorization" } },
    },
  };
}

function path(name: string): Node {
  return { name, in: "path", required: true, description: "", schema: { type: "string", uniqueItems: true } };
}

function kindOf(builder: Builder, info: ResourceInfo): Node {
  return markKind(builder, info.schema, info);
}

function markKind(
  builder: Builder,
  schema: ObjectSchema,
  kind: { group: string; version: string; kind: string },
): Node {
  const ref = builder.object(schema);
  const node = builder.schemas[schema.openapi] as Node;
  node["x-kubernetes-group-version-kind"] = [{ group: kind.group, kind: kind.kind, version: kind.version }];
  return ref;
}
