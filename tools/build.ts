// Bundles the program: dist/cli.js (small: never loads the server) and dist/gantryd.js, with shared chunks.
import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import packageJson from "../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const started = performance.now();
mkdirSync(dist, { recursive: true });
// A process that runs from the old bundle may load a chunk later: chunks have a hash in their name and stay
// until the next build but one.
const chunks = join(dist, "chunks");
const oldChunks = join(dist, "chunks.old");
if (existsSync(chunks)) {
  rmSync(oldChunks, { recursive: true, force: true });
}
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
});
writeFileSync(join(dist, "package.json"), '{"type":"module"}\n');
writeFileSync(join(dist, "meta.json.tmp"), JSON.stringify(result.metafile));
renameSync(join(dist, "meta.json.tmp"), join(dist, "meta.json"));
const now = new Date();
utimesSync(join(dist, "cli.js"), now, now);
const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
console.log(
  `built ${Object.keys(result.metafile.outputs).length} files, ${(bytes / 1e6).toFixed(1)} MB, in ${(performance.now() - started).toFixed(0)} ms`,
);
