// Writes, from layers.json, the TypeScript project references (one tsconfig.json in each layer's
// folder and tsconfig.build.json at the top) and the import rules of .oxlintrc.json.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

const root = join(import.meta.dirname, "../..");
const table = JSON.parse(readFileSync(join(root, "layers.json"), "utf8")).layers as Record<string, string[]>;
// A folder without sources yet is no project: TypeScript refuses a project with no inputs.
const names = Object.keys(table).filter((name) => {
  const folder = join(root, "src", name);
  return existsSync(folder) && readdirSync(folder, { recursive: true }).some((file) => String(file).endsWith(".ts"));
});

/** The layers that `name` may import, with the `*` of composition roots resolved. */
export function allowedLayers(name: string): string[] {
  const allowed = table[name] ?? [];
  if (!allowed.includes("*")) return allowed.filter((layer) => names.includes(layer));
  return names
    .filter((layer) => layer !== name && !(table[layer] ?? []).includes("*"))
    .concat(name === "cli" ? ["daemon"] : []);
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

const outsideFolders = ["test", "tools", "bench"].filter((folder) => existsSync(join(root, folder)));
for (const name of names) {
  const folder = join(root, "src", name);
  const up = relative(folder, root);
  writeJson(join(folder, "tsconfig.json"), {
    extends: `${up}/tsconfig.base.json`,
    compilerOptions: {
      rootDir: `${up}/src`,
      outDir: `${up}/.tsbuild/types`,
      tsBuildInfoFile: `${up}/.tsbuild/${name.replaceAll("/", "-")}.tsbuildinfo`,
    },
    include: ["./**/*.ts"],
    references: allowedLayers(name).map((layer) => ({ path: relative(folder, join(root, "src", layer)) })),
  });
}
writeJson(join(root, "tsconfig.json"), {
  extends: "./tsconfig.base.json",
  compilerOptions: {
    composite: false,
    incremental: false,
    declaration: false,
    emitDeclarationOnly: false,
    noEmit: true,
  },
  include: outsideFolders.map((folder) => `${folder}/**/*.ts`),
  references: names.map((name) => ({ path: `./src/${name}` })),
});
writeJson(join(root, "tsconfig.build.json"), {
  files: [],
  references: names.map((name) => ({ path: `./src/${name}` })),
});

const forbidden = (name: string): string[] => {
  const allowed = new Set([name, ...allowedLayers(name)]);
  const inside = names.filter((layer) => layer.startsWith(`${name}/`));
  return names.filter((layer) => !allowed.has(layer) && !inside.includes(layer)).map((layer) => `#${layer}/*`);
};
const lintPath = join(root, ".oxlintrc.json");
const lint = JSON.parse(readFileSync(lintPath, "utf8")) as {
  overrides: { files: string[]; rules: Record<string, unknown> }[];
};
const isLayerRule = (rules: Record<string, unknown>): boolean => "no-restricted-imports" in rules;
lint.overrides = lint.overrides.filter((override) => !isLayerRule(override.rules));
for (const name of names) {
  const group = forbidden(name);
  if (group.length === 0) continue;
  lint.overrides.push({
    files: [`src/${name}/**/*.ts`],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: [{ group, message: `layers.json does not let ${name} import this layer.` }] },
      ],
    },
  });
}
writeJson(lintPath, lint);
