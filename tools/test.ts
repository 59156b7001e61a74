// `./gantry test`: installs what the tests need, then checks, unit tests, and end-to-end tests against the
// built program. Ends with a plain count line.
import { spawnSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { runChecks } from "./check.ts";

const root = join(import.meta.dirname, "..");
process.chdir(root);

/** Programs that tests use, and the Debian packages they come from. */
const needed: [path: string, debianPackage: string][] = [
  ["/usr/bin/crun", "crun"],
  ["/usr/sbin/runc", "runc"],
  ["/usr/bin/conmon", "conmon"],
  ["/usr/sbin/nft", "nftables"],
  ["/bin/ip", "iproute2"],
  ["/usr/bin/tini-static", "tini"],
  ["/var/lib/dpkg/info/busybox-static.list", "busybox-static"],
  ["/usr/bin/docker-registry", "docker-registry"],
  ["/usr/bin/xz", "xz-utils"],
  ["/bin/bzip2", "bzip2"],
];

function installPackages(): void {
  const missing = needed.filter(([path]) => !existsSync(path)).map(([, name]) => name);
  if (missing.length === 0) return;
  console.log(`installing ${missing.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const argv of [
    ["apt-get", "update", "-q"],
    ["apt-get", "install", "-y", "-q", "--no-install-recommends", ...missing],
  ]) {
    const { status } = spawnSync(argv[0] as string, argv.slice(1), { stdio: ["ignore", "ignore", "inherit"], env });
    if (status !== 0) throw new Error(`${argv.join(" ")} failed`);
  }
  // Debian starts the registry it installs; the tests start their own.
  spawnSync("service", ["docker-registry", "stop"], { stdio: "ignore" });
}

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs test files, each in a process of its own, and counts tests (not suites). */
function runFiles(files: string[], concurrency: number): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  if (files.length === 0) throw new Error("No test file was found: the runner is broken.");
  return new Promise((resolve, reject) => {
    const stream = run({ files, concurrency, timeout: 600_000, execArgv: ["--no-warnings"] });
    stream.on("test:pass", (event) => {
      if (event.details.type === "suite") return;
      if (event.skip === undefined || event.skip === false) counts.passed++;
      else counts.skipped++;
    });
    stream.on("test:fail", (event) => {
      if (event.details.type !== "suite") counts.failed++;
    });
    stream.on("error", reject);
    stream.on("end", () => resolve(counts));
    stream.compose(spec).pipe(process.stdout);
  });
}

const only = process.argv.slice(2);
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const add = (counts: Counts): void => {
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
};

installPackages();
if (only.length > 0) {
  add(
    await runFiles(
      only.flatMap((pattern) => globSync(pattern)),
      1,
    ),
  );
} else {
  const checks = runChecks();
  total.passed += checks.passed;
  total.failed += checks.failed.length;
  const { status } = spawnSync(process.execPath, ["tools/build.ts"], { stdio: "inherit" });
  if (status !== 0) {
    console.log(`${total.passed} passed, ${total.failed + 1} failed`);
    process.exit(1);
  }
  add(await runFiles(globSync(["src/**/*.test.ts", "tools/**/*.test.ts"]).sort(), 2));
  const lacking = ["docker", "kubectl"].filter(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0,
  );
  const endToEnd = globSync("test/**/*.test.ts").sort();
  if (lacking.length === 0) {
    add(await runFiles(endToEnd, 1));
  } else {
    console.log(
      `The end-to-end tests are skipped: they drive ${lacking.join(" and ")}, which this machine does not have.`,
    );
    total.skipped += endToEnd.length;
  }
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
