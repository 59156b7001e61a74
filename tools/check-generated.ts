// Regenerates what is generated and fails when anything differs from what is committed: generated files are
// never edited by hand.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const generated = [
  "src/**/tsconfig.json",
  "tsconfig.json",
  "tsconfig.build.json",
  ".oxlintrc.json",
  "src/api/kube/generated/**/*.ts",
];

function fingerprint(): Map<string, string> {
  const files = generated.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
  return new Map(
    files.map((file) => [
      file,
      createHash("sha256")
        .update(readFileSync(join(root, file)))
        .digest("hex"),
    ]),
  );
}

const before = fingerprint();
if (before.size === 0) {
  console.error("No generated file was found: the check is broken.");
  process.exit(1);
}
for (const script of ["tools/generate/layers.ts", "tools/generate/main.ts"]) {
  if (!existsSync(join(root, script))) continue;
  const { status } = spawnSync(process.execPath, [script], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) process.exit(1);
}
const after = fingerprint();
const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
  (file) => before.get(file) !== after.get(file),
);
for (const file of changed)
  console.error(`${file} is not what the generator makes; run npm run generate and commit it.`);
process.exit(changed.length === 0 ? 0 : 1);
