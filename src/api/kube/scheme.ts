import resourceRows from "./generated/tables/resources.ts";
import { tables, type TableSource } from "./generated/tables/index.ts";
import type {
  FieldSchema,
  GroupInfo,
  ObjectSchema,
  PatchStrategy,
  ResourceInfo,
  ScalarKind,
  SchemaType,
  SchemeTables,
  SubresourceInfo,
} from "./schema.ts";

const scalars: Record<string, ScalarKind> = {
  string: "string",
  bool: "bool",
  int: "int64",
  int32: "int32",
  int64: "int64",
  uint32: "int64",
  uint64: "int64",
  float64: "float64",
  "[]byte": "bytes",
  Quantity: "quantity",
  IntOrString: "intOrString",
  RawExtension: "rawExtension",
  "runtime.Object": "rawExtension",
  "types.UID": "string",
  "types.NodeName": "string",
  "meta/v1.Time": "time",
  "meta/v1.MicroTime": "microTime",
  "meta/v1.Duration": "duration",
  "meta/v1.FieldsV1": "fieldsV1",
  "apiextensions/v1.JSON": "json",
  "apiextensions/v1.JSONSchemaPropsOrBool": "schemaOrBool",
  "apiextensions/v1.JSONSchemaPropsOrArray": "schemaOrArray",
  "apiextensions/v1.JSONSchemaPropsOrStringArray": "schemaOrStringArray",
};
const scalarGoNames: Record<string, string> = {
  Quantity: "resource.Quantity",
  IntOrString: "intstr.IntOrString",
  RawExtension: "runtime.RawExtension",
  "[]byte": "[]uint8",
};

/** One generated table, its types parsed one by one on first use. */
class Table {
  readonly source: TableSource;
  readonly #typeLines = new Map<string, string>();
  readonly #aliases = new Map<string, { underlying: string; values: readonly string[] | undefined }>();
  readonly #objects = new Map<string, ObjectSchema>();

  constructor(source: TableSource) {
    this.source = source;
    const { text } = source;
    // A type's lines run from its `T` line to the next; aliases follow at the end.
    let from = text.indexOf("\nT ");
    const aliasStart = text.indexOf("\nA ");
    const end = aliasStart === -1 ? text.length : aliasStart;
    while (from !== -1 && from < end) {
      const next = text.indexOf("\nT ", from + 1);
      const lines = text.slice(from + 3, next === -1 || next > end ? end : next);
      this.#typeLines.set(/^\w+/.exec(lines)?.[0] ?? "", lines);
      from = next;
    }
    if (aliasStart === -1) return;
    for (const line of text.slice(aliasStart).split("\n")) {
      const match = /^A (\w+) (\S+)(?: (.*))?$/.exec(line);
      if (!match) continue;
      const [, name, underlying, values] = match as unknown as [string, string, string, string | undefined];
      this.#aliases.set(name, {
        underlying,
        values: values === undefined ? undefined : (JSON.parse(values) as string[]),
      });
    }
  }

  get typeNames(): Iterable<string> {
    return this.#typeLines.keys();
  }

  alias(name: string): { underlying: string; values: readonly string[] | undefined } | undefined {
    return this.#aliases.get(name);
  }

  object(name: string): ObjectSchema | undefined {
    const known = this.#objects.get(name);
    if (known !== undefined) return known;
    const lines = this.#typeLines.get(name);
    if (lines === undefined) return undefined;
    const object = new TableObject(this, lines);
    this.#objects.set(name, object);
    return object;
  }
}

class TableObject implements ObjectSchema {
  readonly name: string;
  readonly table: string;
  readonly openapi: string;
  readonly isKind: boolean;
  readonly atomic: boolean;
  readonly layout: readonly FieldSchema[];
  #fields: Map<string, FieldSchema> | undefined;

  constructor(table: Table, text: string) {
    const [head = "", ...lines] = text.split("\n");
    const [name = "", ...flags] = head.split(" ");
    this.name = name;
    this.table = table.source.name;
    this.openapi = `${table.source.openapi}.${name}`;
    this.isKind = flags.includes("kind");
    this.atomic = flags.includes("atomic");
    this.layout = lines.filter((line) => line !== "").map((line) => new TableField(table, line));
  }

  get fields(): ReadonlyMap<string, FieldSchema> {
    if (this.#fields === undefined) {
      const fields = new Map<string, FieldSchema>();
      for (const field of this.layout) {
        if (!field.inline) fields.set(field.name, field);
        else if (field.type.kind === "object")
          for (const [name, inner] of field.type.object.fields) fields.set(name, inner);
      }
      this.#fields = fields;
    }
    return this.#fields;
  }
}

class TableField implements FieldSchema {
  readonly name: string;
  readonly number: number | undefined;
  readonly inline: boolean;
  readonly pointer: boolean;
  readonly omitempty: boolean = false;
  readonly omitzero: boolean = false;
  readonly required: boolean = false;
  readonly listType: "atomic" | "set" | "map" | undefined;
  readonly listKeys: readonly string[] = [];
  readonly atomic: boolean = false;
  readonly patchStrategies: readonly PatchStrategy[] = [];
  readonly patchMergeKey: string | undefined;
  readonly default: unknown;
  readonly #table: Table;
  readonly #goType: string;
  #type: SchemaType | undefined;

  constructor(table: Table, line: string) {
    const [name = "", goType = "", flags = ""] = line.split("\t");
    this.inline = name === "-";
    this.name = this.inline ? "" : name;
    this.pointer = goType.startsWith("*");
    this.#table = table;
    this.#goType = goType;
    for (const flag of flags === "" ? [] : flags.split(" ")) {
      const at = flag.indexOf("=");
      const value = flag.slice(at + 1);
      switch (at === -1 ? flag : flag.slice(0, at)) {
        case "p":
          this.number = Number(value);
          break;
        case "o":
          this.omitempty = true;
          break;
        case "z":
          this.omitzero = true;
          break;
        case "r":
          this.required = true;
          break;
        case "list":
          this.listType = value as "atomic";
          break;
        case "keys":
          this.listKeys = value.split(",");
          break;
        case "map":
          this.atomic = value === "atomic";
          break;
        case "patch":
          this.patchStrategies = value.split(",") as PatchStrategy[];
          break;
        case "key":
          this.patchMergeKey = value;
          break;
        case "d":
          this.default = JSON.parse(value);
          break;
        default:
          throw new Error(`unknown flag ${flag} in table ${table.source.name}`);
      }
    }
  }

  get type(): SchemaType {
    this.#type ??= resolveType(this.#table, this.#goType);
    return this.#type;
  }
}

const loaded = new Map<string, Table>();
const sourceByName = new Map(tables.map((source) => [source.name, source]));

function tableOf(name: string): Table | undefined {
  let table = loaded.get(name);
  if (table === undefined) {
    const source = sourceByName.get(name);
    if (source === undefined) return undefined;
    table = new Table(source);
    loaded.set(name, table);
  }
  return table;
}

/** Go's type text in `table`'s words → type. */
function resolveType(table: Table, goType: string): SchemaType {
  const text = goType.replace(/^\*/, "");
  const own = scalars[text] ?? scalars[`${table.source.name}.${text}`];
  if (own !== undefined)
    return {
      kind: own,
      go:
        scalarGoNames[text] ?? (/^[a-z]/.test(text) && !text.includes("/") ? text : `v1.${text.replace(/^.*\./, "")}`),
    };
  if (text.startsWith("[]")) {
    const items = resolveType(table, text.slice(2));
    return { kind: "list", items, go: `[]${items.go}` };
  }
  const map = /^map\[([^\]]+)\](.*)$/.exec(text);
  if (map) {
    const values = resolveType(table, map[2] as string);
    return {
      kind: "map",
      values,
      go: `map[${map[1] === "string" ? "string" : `${table.source.version}.${map[1]}`}]${values.go}`,
    };
  }
  const dot = text.lastIndexOf(".");
  const home = dot === -1 ? table : tableOf(text.slice(0, dot));
  const name = text.slice(dot + 1);
  const go = `${home?.source.version ?? ""}.${name}`;
  const object = home?.object(name);
  if (object !== undefined) return { kind: "object", object, go };
  const alias = home?.alias(name);
  if (home === undefined || alias === undefined)
    throw new Error(`type ${goType} of table ${table.source.name} is in no table`);
  const under = resolveType(home, alias.underlying);
  switch (under.kind) {
    case "list":
      return { ...under, go, message: true };
    case "string":
      return alias.values === undefined ? { kind: "string", go } : { kind: "string", go, enum: alias.values };
    case "object":
      return under;
    default:
      return { ...under, go };
  }
}

class TableResource implements ResourceInfo {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly subresources: SubresourceInfo[] = [];
  readonly servedByDefault: boolean;
  readonly storageVersionHash: string;

  constructor(row: string[]) {
    const [
      group = "",
      version = "",
      plural = "",
      singular = "",
      scope,
      kind = "",
      verbs = "",
      shortNames = "",
      categories = "",
      hash = "",
    ] = row;
    this.group = group;
    this.version = version;
    this.plural = plural;
    this.singular = singular;
    this.namespaced = scope === "N";
    this.kind = kind;
    this.verbs = verbs.split(",");
    this.shortNames = shortNames === "" ? [] : shortNames.split(",");
    this.categories = categories === "" ? [] : categories.split(",");
    this.storageVersionHash = hash;
    this.servedByDefault = /^v\d+$/.test(version);
  }

  get schema(): ObjectSchema {
    const schema = scheme.kind(this.group, this.version, this.kind);
    if (schema === undefined) throw new Error(`no schema of ${this.group}/${this.version} ${this.kind}`);
    return schema;
  }
}

class Scheme implements SchemeTables {
  readonly resources: readonly ResourceInfo[];
  readonly groups: readonly GroupInfo[];
  readonly #byPlural = new Map<string, TableResource>();
  readonly #byKind = new Map<string, TableResource>();
  readonly #tableOfGroup = new Map(tables.map((source) => [`${source.group}/${source.version}`, source.name]));

  constructor() {
    const groups = new Map<string, string[]>();
    for (const line of resourceRows.trim().split("\n")) {
      const row = line.split("|");
      const [group = "", version = "", path = "", , , kind = "", verbs = ""] = row;
      const versions = groups.get(group) ?? [];
      groups.set(group, versions);
      if (!versions.includes(version)) versions.push(version);
      const [plural = "", subresource] = path.split("/");
      if (subresource === undefined) {
        const resource = new TableResource(row);
        this.#byPlural.set(`${group}/${version}/${plural}`, resource);
        const kindKey = `${group}/${version}/${kind}`;
        if (!this.#byKind.has(kindKey)) this.#byKind.set(kindKey, resource);
      } else {
        const named = kind.split("/");
        const [kindGroup, kindVersion, kindName] =
          named.length === 3 ? (named as [string, string, string]) : [group, version, kind];
        this.#byPlural.get(`${group}/${version}/${plural}`)?.subresources.push({
          name: subresource,
          group: kindGroup,
          version: kindVersion,
          kind: kindName,
          verbs: verbs.split(","),
        });
      }
    }
    this.resources = [...this.#byPlural.values()];
    this.groups = [...groups].map(([name, versions]) => ({ name, versions }));
  }

  resource(group: string, version: string, plural: string): ResourceInfo | undefined {
    return this.#byPlural.get(`${group}/${version}/${plural}`);
  }

  resourceOfKind(group: string, version: string, kind: string): ResourceInfo | undefined {
    return this.#byKind.get(`${group}/${version}/${kind}`);
  }

  kind(group: string, version: string, kind: string): ObjectSchema | undefined {
    const name = this.#tableOfGroup.get(`${group}/${version}`);
    const own = name === undefined ? undefined : tableOf(name)?.object(kind);
    if (own?.isKind === true) return own;
    const shared = tableOf("meta/v1")?.object(kind);
    return shared?.isKind === true && (name !== undefined || group === "meta.k8s.io") ? shared : undefined;
  }

  object(table: string, name: string): ObjectSchema | undefined {
    return tableOf(table)?.object(name);
  }

  /** Every type of every table, for generators and tests. */
  *everyObject(): Generator<ObjectSchema> {
    for (const source of tables) {
      const table = tableOf(source.name);
      for (const name of table?.typeNames ?? []) {
        const object = table?.object(name);
        if (object !== undefined) yield object;
      }
    }
  }
}

/** The tables of the built-in API. Costs some milliseconds at import; a type is parsed when first asked for. */
export const scheme = new Scheme();
