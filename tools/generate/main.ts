// Writes src/api/kube/generated/types.ts from the committed tables; with --refresh, first the tables
// themselves from the published Go modules; with --check, fails when types.ts is not what it would write.
// Both ways it compares the tables with the models of the npm package @kubernetes/client-node, which is of the
// same release: every field that one has, the other must have.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const generated = join(import.meta.dirname, "../../src/api/kube/generated");
if (process.argv.includes("--refresh")) {
  const { refresh } = await import("./refresh.ts");
  refresh(join(generated, "tables"));
}
const { modelDifferences } = await import("./model-differences.ts");
for (const difference of modelDifferences()) {
  process.stderr.write(`${difference}\n`);
  process.exitCode = 1;
}
const { typesText } = await import("./types.ts");
const target = join(generated, "types.ts");
const text = typesText();
if (!process.argv.includes("--check")) writeFileSync(target, text);
else if (readFileSync(target, "utf8") !== text) {
  process.stderr.write(
    "src/api/kube/generated/types.ts is not what tools/generate/main.ts writes: run npm run generate\n",
  );
  process.exitCode = 1;
}
