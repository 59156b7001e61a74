// `npm run setup`: one command after a clone, for contributors. Turns the pre-commit hook on.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const { status } = spawnSync("git", ["config", "core.hooksPath", ".githooks"], { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
