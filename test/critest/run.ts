/**
 * Runs critest (sigs.k8s.io/cri-tools, pinned in go.mod) against an instance of its own. The images that it pulls
 * are look-alikes in a local registry, which a private /etc/hosts gives the real registries' names.
 *
 *     node test/critest/run.ts [--name critest] [--work folder] [--keep] [-- critest's own flags]
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { publishLookAlikes, run } from "./look-alikes.ts";

const source = import.meta.dirname;
const project = join(source, "../..");
const insideVariable = "GANTRY_CRITEST_INSIDE";
const registryAddress = "127.0.0.77";
const registries = ["gcr.io", "registry.k8s.io", "k8s.gcr.io"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: "string", default: "critest" },
    work: { type: "string", default: "/tmp/gantry-critest" },
    keep: { type: "boolean", default: false },
  },
});
const { name, work } = values;

function gantry(...args: string[]): string {
  return run(join(project, "gantry"), args);
}

/**
 * The rest happens in a mount namespace of its own, so that nobody else sees the registries' names. There the root
 * is shared, as systemd makes it and as CRI takes it to be.
 */
function enter(): never {
  const args = ["-m", "--propagation", "private", process.execPath, import.meta.filename, ...process.argv.slice(2)];
  const { status } = spawnSync("unshare", args, { stdio: "inherit", env: { ...process.env, [insideVariable]: "1" } });
  process.exit(status ?? 1);
}

async function startRegistry(): Promise<() => void> {
  const config = `version: 0.1
storage: { filesystem: { rootdirectory: ${join(work, "registry")} } }
http: { addr: "${registryAddress}:80" }
log: { level: error }
`;
  writeFileSync(join(work, "registry.yml"), config);
  const child = spawn("docker-registry", ["serve", join(work, "registry.yml")], { stdio: "ignore" });
  for (let attempt = 0; attempt < 100; attempt++) {
    const isUp = await new Promise<boolean>((resolve) => {
      const probe = connect(80, registryAddress, () => resolve(true) ?? probe.destroy());
      probe.once("error", () => resolve(false));
    });
    if (isUp) return () => void child.kill();
    await delay(100);
  }
  child.kill();
  throw new Error(`docker-registry does not listen on ${registryAddress}:80`);
}

/** Builds critest once. */
function oracle(): string {
  const binary = join(work, "critest");
  if (!existsSync(binary))
    run("go", ["test", "-c", "-o", binary, "sigs.k8s.io/cri-tools/cmd/critest"], { cwd: source });
  return binary;
}

async function main(): Promise<number> {
  if (process.env[insideVariable] === undefined) enter();
  mkdirSync(work, { recursive: true });
  const hosts = join(work, "hosts");
  writeFileSync(hosts, `${readFileSync("/etc/hosts", "utf8")}\n${registryAddress} ${registries.join(" ")}\n`);
  run("mount", ["--make-rshared", "/"]);
  run("mount", ["--bind", hosts, "/etc/hosts"]);
  const root = join(work, "data");
  const critest = oracle();
  const stopRegistry = await startRegistry();
  try {
    writeFileSync(join(work, "daemon.json"), JSON.stringify({ "insecure-registries": registries }));
    gantry(
      "up",
      "--name",
      name,
      "--root",
      root,
      "--no-switch",
      "--no-demo",
      "--config-file",
      join(work, "daemon.json"),
    );
    if (!existsSync(join(work, "published"))) {
      publishLookAlikes(`unix:///run/gantry/${name}/docker.sock`, work, source);
      writeFileSync(join(work, "published"), "");
    }
    const socket = `unix:///run/gantry/${name}/cri.sock`;
    const args = ["--runtime-endpoint", socket, "--image-endpoint", socket, ...positionals];
    return spawnSync(critest, args, { stdio: "inherit" }).status ?? 1;
  } finally {
    // It runs in this mount namespace: not even `--keep` leaves it running.
    if (values.keep) gantry("down", "--name", name, "--root", root);
    else gantry("reset", "--name", name, "--root", root, "--yes");
    stopRegistry();
    if (!values.keep) rmSync(work, { recursive: true, force: true });
  }
}

process.exitCode = await main();
