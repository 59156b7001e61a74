/**
 * Writes the committed tables under `src/api/kube/generated/tables/` from the published Go modules. Run
 * only when the offered Kubernetes version changes (`node tools/generate/main.ts --refresh`): needs Go.
 *
 * Where each fact comes from:
 * - field names, Go types (for the texts of decoding errors), order, omitempty, protobuf numbers, patch
 *   strategies and merge keys: struct tags of `k8s.io/api`, `k8s.io/apimachinery`,
 *   `k8s.io/apiextensions-apiserver`, `k8s.io/kube-aggregator`;
 * - required, list types and map keys, map types: `api/openapi-spec/swagger.json` of `k8s.io/kubernetes`,
 *   and marker comments for the few kinds that it has not;
 * - defaults and enumerations: marker comments and constants of the same packages;
 * - resources, short names, categories, verbs, subresources: `api/discovery/` of `k8s.io/kubernetes`.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readGoPackage, type GoField, type GoPackage } from "./go-source.ts";

const stagingVersion = "v0.36.0";
const kubernetesVersion = "v1.36.0";

interface SwaggerProperty {
  "x-kubernetes-list-type"?: string;
  "x-kubernetes-list-map-keys"?: string[];
  "x-kubernetes-map-type"?: string;
}
interface SwaggerDefinition {
  properties?: Record<string, SwaggerProperty>;
  required?: string[];
  "x-kubernetes-map-type"?: string;
  "x-kubernetes-group-version-kind"?: { group: string; version: string; kind: string }[];
}

interface Source {
  /** The table's name: `core/v1`, `meta/v1`. */
  name: string;
  folder: string;
  /** Name of the definitions in OpenAPI, without the type. */
  swagger: string;
  group: string | undefined;
}

function moduleFolder(path: string, version: string): string {
  const out = execFileSync("go", ["mod", "download", "-json", `${path}@${version}`], { encoding: "utf8", cwd: "/tmp" });
  return (JSON.parse(out) as { Dir: string }).Dir;
}

/** Import path → the table that holds its types. */
const importNames = new Map<string, string>();
/** Types that the codec knows by itself; their packages are not read. */
const builtin: Record<string, string> = {
  "k8s.io/apimachinery/pkg/api/resource.Quantity": "Quantity",
  "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "IntOrString",
  "k8s.io/apimachinery/pkg/runtime.RawExtension": "RawExtension",
  "k8s.io/apimachinery/pkg/types.UID": "types.UID",
  "k8s.io/apimachinery/pkg/types.NodeName": "types.NodeName",
  "k8s.io/apimachinery/pkg/types.NamespacedName": "types.NamespacedName",
};

/** `*metav1.Time` → `*meta/v1.Time`: Go's type text with the package named by its table. */
function qualify(goType: string, goPackage: GoPackage): string {
  return goType.replaceAll(/\b([a-z]\w*)\.(\w+)/g, (whole, alias: string, name: string) => {
    const path = goPackage.imports[alias];
    if (path === undefined) return whole;
    return builtin[`${path}.${name}`] ?? (importNames.has(path) ? `${importNames.get(path)}.${name}` : whole);
  });
}

function markerValue(markers: string[], name: string): string | undefined {
  return markers.find((marker) => marker.startsWith(`${name}=`))?.slice(name.length + 1);
}

function fieldLine(field: GoField, goPackage: GoPackage, swagger: SwaggerDefinition | undefined): string {
  const property = swagger?.properties?.[field.json];
  const flags: string[] = [];
  if (field.number !== undefined) flags.push(`p=${field.number}`);
  if (field.omitempty) flags.push("o");
  if (field.omitzero) flags.push("z");
  const optional =
    field.omitempty ||
    field.omitzero ||
    field.markers.some((marker) => marker === "optional" || marker.startsWith("optional "));
  if (swagger === undefined ? !optional && !field.inline : swagger.required?.includes(field.json)) flags.push("r");
  const listType =
    property?.["x-kubernetes-list-type"] ??
    (field.goType.startsWith("[]") ? markerValue(field.markers, "listType") : undefined);
  if (listType !== undefined) flags.push(`list=${listType}`);
  const keys =
    property?.["x-kubernetes-list-map-keys"] ??
    field.markers.filter((m) => m.startsWith("listMapKey=")).map((m) => m.slice(11));
  if (keys.length > 0) flags.push(`keys=${keys.join(",")}`);
  const mapType =
    property?.["x-kubernetes-map-type"] ??
    markerValue(field.markers, "structType") ??
    markerValue(field.markers, "mapType");
  if (mapType !== undefined && mapType !== "granular") flags.push(`map=${mapType}`);
  if (field.patchStrategy !== undefined) flags.push(`patch=${field.patchStrategy}`);
  if (field.patchMergeKey !== undefined) flags.push(`key=${field.patchMergeKey}`);
  const value = markerValue(field.markers, "default");
  const constant = value === undefined ? undefined : /^ref\((\w+)\)$/.exec(value)?.[1];
  if (constant !== undefined) flags.push(`d=${JSON.stringify(goPackage.constants[constant])}`);
  else if (value !== undefined && value !== '""') flags.push(`d=${JSON.stringify(JSON.parse(value))}`);
  return [field.inline ? "-" : field.json, qualify(field.goType, goPackage), flags.join(" ")].join("\t").trimEnd();
}

function tableText(source: Source, goPackage: GoPackage, definitions: Record<string, SwaggerDefinition>): string {
  const lines: string[] = [];
  for (const struct of goPackage.structs) {
    if (struct.fields.length === 0 && !(`${source.swagger}.${struct.name}` in definitions)) continue;
    const definition = definitions[`${source.swagger}.${struct.name}`];
    const flags: string[] = [];
    const isKind = struct.fields.some((field) => field.inline && /(^|\.)TypeMeta$/.test(field.goType));
    if (isKind) flags.push("kind");
    const mapType = definition?.["x-kubernetes-map-type"] ?? markerValue(struct.markers, "structType");
    if (mapType === "atomic") flags.push("atomic");
    lines.push(["T", struct.name, ...flags].join(" "));
    for (const field of struct.fields) lines.push(fieldLine(field, goPackage, definition));
  }
  for (const alias of goPackage.aliases) {
    if (alias.name.startsWith(alias.name[0]?.toLowerCase() ?? "")) continue;
    const values = alias.markers.includes("enum") ? [...new Set(alias.values)].toSorted() : [];
    lines.push(
      [
        "A",
        alias.name,
        qualify(alias.underlying, goPackage),
        ...(values.length > 0 ? [JSON.stringify(values)] : []),
      ].join(" "),
    );
  }
  return lines.join("\n");
}

const header = "// Generated by tools/generate/refresh.ts from published definitions. Do not edit.\n";

function sources(api: string): Source[] {
  const found: Source[] = [];
  const skipped = new Set(["extensions", "imagepolicy"]);
  for (const group of readdirSync(api, { withFileTypes: true })) {
    if (!group.isDirectory() || group.name === "testdata" || skipped.has(group.name)) continue;
    for (const version of readdirSync(join(api, group.name))) {
      if (!/^v\d/.test(version)) continue;
      const path = `k8s.io/api/${group.name}/${version}`;
      found.push({
        name: `${group.name}/${version}`,
        folder: join(api, group.name, version),
        swagger: `io.${path.replaceAll("/", ".").replace(/^k8s.io/, "k8s")}`,
        group: undefined,
      });
      importNames.set(path, `${group.name}/${version}`);
    }
  }
  return found;
}

/** Downloads the modules and rewrites every table. */
export function refresh(outFolder: string): void {
  const api = moduleFolder("k8s.io/api", stagingVersion);
  const machinery = moduleFolder("k8s.io/apimachinery", stagingVersion);
  const extensions = moduleFolder("k8s.io/apiextensions-apiserver", stagingVersion);
  const aggregator = moduleFolder("k8s.io/kube-aggregator", stagingVersion);
  const kubernetes = moduleFolder("k8s.io/kubernetes", kubernetesVersion);
  const swagger = JSON.parse(readFileSync(join(kubernetes, "api/openapi-spec/swagger.json"), "utf8")) as {
    definitions: Record<string, SwaggerDefinition>;
  };
  const served = new Set(
    readdirSync(join(kubernetes, "api/discovery")).map((file) =>
      /^apis__(.*)__(v\w+)\.json$/.exec(file)?.slice(1).join("/"),
    ),
  );

  const all: Source[] = [
    ...sources(api),
    {
      name: "meta/v1",
      folder: join(machinery, "pkg/apis/meta/v1"),
      swagger: "io.k8s.apimachinery.pkg.apis.meta.v1",
      group: "meta.k8s.io",
    },
    {
      name: "apiextensions/v1",
      folder: join(extensions, "pkg/apis/apiextensions/v1"),
      swagger: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
      group: "apiextensions.k8s.io",
    },
    {
      name: "apiregistration/v1",
      folder: join(aggregator, "pkg/apis/apiregistration/v1"),
      swagger: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
      group: "apiregistration.k8s.io",
    },
  ];
  importNames.set("k8s.io/apimachinery/pkg/apis/meta/v1", "meta/v1");
  // Kinds that are spoken but are no resources, beside what discovery lists.
  const spoken = new Set(["core/v1", "meta/v1", "admission/v1", "apidiscovery/v2", "apidiscovery/v2beta1"]);
  rmSync(outFolder, { recursive: true, force: true });
  mkdirSync(outFolder, { recursive: true });
  const index: string[] = [];
  for (const source of all) {
    const goPackage = readGoPackage(source.folder);
    const group = source.group ?? goPackage.groupName ?? source.name.replace(/\/.*/, "");
    const version = source.name.replace(/.*\//, "");
    if (!spoken.has(source.name) && !served.has(`${group}/${version}`)) continue;
    const file = source.name.replace("/", "-");
    const text = tableText(source, goPackage, swagger.definitions);
    writeFileSync(join(outFolder, `${file}.ts`), `${header}export default \`\n${text}\n\`;\n`);
    index.push(`${source.name}\t${group}\t${version}\t${source.swagger}\t${file}`);
  }
  writeIndex(outFolder, index);
  writeResources(outFolder, join(kubernetes, "api/discovery"));
}

function writeIndex(outFolder: string, rows: string[]): void {
  const imports = rows.map((row, at) => `import t${at} from "./${row.split("\t")[4]}.ts";`);
  const entries = rows.map((row, at) => {
    const [name, group, version, openapi] = row.split("\t");
    return `  { name: ${JSON.stringify(name)}, group: ${JSON.stringify(group)}, version: ${JSON.stringify(version)}, openapi: ${JSON.stringify(openapi)}, text: t${at} },`;
  });
  const type =
    "export interface TableSource {\n  name: string;\n  group: string;\n  version: string;\n  openapi: string;\n  text: string;\n}\n";
  writeFileSync(
    join(outFolder, "index.ts"),
    `${header}${imports.join("\n")}\n\n${type}\nexport const tables: TableSource[] = [\n${entries.join("\n")}\n];\n`,
  );
}

interface ApiResource {
  name: string;
  singularName: string;
  namespaced: boolean;
  group?: string;
  version?: string;
  kind: string;
  verbs: string[];
  shortNames?: string[];
  categories?: string[];
  storageVersionHash?: string;
}

/** One line per resource and subresource: group, version, name, singular, N or C, kind, verbs, short names, categories, hash. */
function writeResources(outFolder: string, folder: string): void {
  const rows: string[] = [];
  const groups = (
    JSON.parse(readFileSync(join(folder, "apis.json"), "utf8")) as {
      groups: { name: string; versions: { version: string }[] }[];
    }
  ).groups;
  const versions: [string, string, string][] = [["", "v1", "api__v1.json"]];
  for (const group of groups)
    for (const { version } of group.versions)
      versions.push([group.name, version, `apis__${group.name}__${version}.json`]);
  for (const [group, version, file] of versions) {
    const list = JSON.parse(readFileSync(join(folder, file), "utf8")) as { resources: ApiResource[] };
    for (const r of list.resources) {
      const kind =
        r.version === undefined || (r.group === group && r.version === version)
          ? r.kind
          : `${r.group ?? ""}/${r.version}/${r.kind}`;
      rows.push(
        [
          group,
          version,
          r.name,
          r.singularName,
          r.namespaced ? "N" : "C",
          kind,
          r.verbs.join(","),
          (r.shortNames ?? []).join(","),
          (r.categories ?? []).join(","),
          r.storageVersionHash ?? "",
        ].join("|"),
      );
    }
  }
  writeFileSync(join(outFolder, "resources.ts"), `${header}export default \`\n${rows.join("\n")}\n\`;\n`);
}
