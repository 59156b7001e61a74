// `npm run setup`: one command after a clone, for contributors. Installs the pre-commit hook.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const { status } = spawnSync(join(root, "node_modules/.bin/lefthook"), ["install"], { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
