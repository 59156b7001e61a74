// Bundles the program: dist/cli.js (small: never loads the server) and dist/gantryd.js, with shared chunks.
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { type Plugin, build } from "esbuild";
import { writeDescriptions } from "./generate/descriptions.ts";
import packageJson from "../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const started = performance.now();
mkdirSync(dist, { recursive: true });
// A process that runs from the last bundle may load one of its chunks later: they have a hash in their name,
// and stay until the next build but one.
const chunks = join(dist, "chunks");
if (existsSync(chunks) && existsSync(join(dist, "meta.json"))) {
  const { outputs } = JSON.parse(readFileSync(join(dist, "meta.json"), "utf8")) as { outputs: Record<string, unknown> };
  for (const name of readdirSync(chunks)) if (!(`dist/chunks/${name}` in outputs)) rmSync(join(chunks, name));
}

/**
 * With splitting, esbuild gives a CommonJS package behind `import()` a default export alone. Its names, which
 * Node would find by reading its source, are written out here.
 */
const namedImports: Plugin = {
  name: "named-imports-of-commonjs",
  setup({ onResolve, onLoad }) {
    const require = createRequire(import.meta.url);
    onResolve({ filter: /^(undici|rfc6902)$/ }, ({ path, kind, namespace }) =>
      kind === "dynamic-import" && namespace !== "named" ? { path, namespace: "named" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "named" }, ({ path }) => {
      const names = Object.keys(require(path) as object).filter(
        (name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default",
      );
      const contents = `import * as all from ${JSON.stringify(path)};\nexport const { ${names.join(", ")} } = all.default ?? all;\n`;
      return { contents, resolveDir: root };
    });
  },
};

const result = await build({
  absWorkingDir: root,
  entryPoints: { cli: "src/cli/main.ts", gantryd: "src/daemon/main.ts", "unpack-worker": "src/image/unpack-worker.ts" },
  outdir: "dist",
  entryNames: "[name]",
  chunkNames: "chunks/[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  // ES modules where a package has them: a CommonJS package behind import() would lose its names.
  mainFields: ["module", "main"],
  target: "node24",
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: false,
  sourcemap: false,
  legalComments: "none",
  // koffi finds its prebuilt library beside itself; node:sqlite is part of Node.
  external: ["koffi"],
  define: { GANTRY_VERSION: JSON.stringify(packageJson.version), GANTRY_BUNDLED: "true" },
  // CommonJS packages inside an ES module bundle ask for these.
  banner: {
    js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
  },
  logLevel: "warning",
  metafile: true,
  plugins: [namedImports],
});
writeDescriptions(join(dist, "kube-descriptions.json"));
writeFileSync(join(dist, "package.json"), '{"type":"module"}\n');
writeFileSync(join(dist, "meta.json.tmp"), JSON.stringify(result.metafile));
renameSync(join(dist, "meta.json.tmp"), join(dist, "meta.json"));
const now = new Date();
utimesSync(join(dist, "cli.js"), now, now);
const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
console.log(
  `built ${Object.keys(result.metafile.outputs).length} files, ${(bytes / 1e6).toFixed(1)} MB, in ${(performance.now() - started).toFixed(0)} ms`,
);
