/** Debian's dockerd beside us, in a network namespace of its own, so that none of its rules touch the machine's. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianTree, treeEnvironment } from "./debian-tree.ts";
import { atEnd, command, pause, until } from "./kit.ts";

export interface Dockerd {
  readonly dockerHost: string;
  readonly version: string;
  /** Puts a command into the peer's network namespace, where its published ports are. */
  inside(argv: readonly string[]): string[];
  docker(...argv: string[]): Promise<string>;
  /** dockerd, containerd and everything they started. */
  pids(): number[];
  stop(): Promise<void>;
}

const packages = ["docker.io", "containerd", "tini", "libdevmapper1.02.1"];
const runFolder = "/run/peer-bench";
const namespace = "peer-bench";

/** A process and all that descend from it. */
function family(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      continue; // It has ended meanwhile.
    }
  }
  const out = [root];
  for (const pid of out) out.push(...(children.get(pid) ?? []));
  return out;
}

/** Shims leave dockerd's family when they start; they are found by their exec root. */
function shims(): number[] {
  return readdirSync("/proc")
    .filter((entry) => {
      if (!/^\d+$/.test(entry)) return false;
      try {
        const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8");
        return argv.includes("containerd-shim") && argv.includes(`${runFolder}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * Starts the peer with `gantry/hello` in it. `helloFrom` is the Docker host to take that image from. Throws
 * when Debian's packages cannot be had or dockerd does not start: say so, and go on without a peer.
 */
export async function startDockerd(helloFrom: string): Promise<Dockerd> {
  const tree = await debianTree("dockerd", packages);
  const data = mkdtempSync(join(tmpdir(), "gantry-bench-dockerd-"));
  const removeFolders = atEnd(async () => {
    await command(["sh", "-c", `grep -oE ' (${data}|${runFolder})[^ ]*' /proc/mounts | sort -r | xargs -r umount -l`]);
    await command(["ip", "netns", "delete", namespace]).catch(() => {});
    rmSync(data, { recursive: true, force: true });
    rmSync(runFolder, { recursive: true, force: true });
  });
  mkdirSync(runFolder, { recursive: true });
  await command(["ip", "netns", "add", namespace]);
  const inside = (argv: readonly string[]): string[] => ["nsenter", `--net=/run/netns/${namespace}`, ...argv];
  await command(inside(["ip", "link", "set", "lo", "up"]));
  const socket = `${runFolder}/docker.sock`;
  const log = openSync(join(data, "dockerd.log"), "w");
  const argv = inside([
    join(tree, "usr/sbin/dockerd"),
    "--host",
    `unix://${socket}`,
    "--data-root",
    join(data, "data"),
    "--exec-root",
    `${runFolder}/exec`,
    "--pidfile",
    `${runFolder}/pid`,
    "--bip",
    "172.30.201.1/24",
    "--userland-proxy-path",
    join(tree, "usr/sbin/docker-proxy"),
  ]);
  const child = spawn(argv[0] as string, argv.slice(1), {
    stdio: ["ignore", log, log],
    env: { ...treeEnvironment(tree), HOME: data },
  });
  closeSync(log);
  const pid = child.pid as number;
  let ended = false;
  child.once("exit", () => (ended = true));
  const stopDaemon = atEnd(async () => {
    const left = [...family(pid), ...shims()];
    child.kill("SIGTERM");
    for (let waited = 0; waited < 100 && !ended; waited++) await pause(100);
    for (const one of left) if (one !== pid && isAlive(one)) process.kill(one, "SIGKILL");
    if (!ended) child.kill("SIGKILL");
  });
  const dockerHost = `unix://${socket}`;
  const docker = (...words: string[]): Promise<string> => command(["docker", ...words], { DOCKER_HOST: dockerHost });
  await until(
    "dockerd",
    30_000,
    async () => {
      if (ended)
        throw new Error(
          `dockerd ended: ${readFileSync(join(data, "dockerd.log"), "utf8").split("\n").slice(-4).join(" ")}`,
        );
      return (
        existsSync(socket) &&
        docker("version").then(
          () => true,
          () => false,
        )
      );
    },
    100,
  );
  await command([
    "sh",
    "-c",
    `DOCKER_HOST=${helloFrom} docker save gantry/hello | DOCKER_HOST=${dockerHost} docker load`,
  ]);
  const version = (await docker("version", "--format", "{{.Server.Version}}")).trim();
  return {
    dockerHost,
    version,
    inside,
    docker,
    pids: () => [...new Set([...family(pid), ...shims()])],
    stop: async () => {
      const containers = (await docker("ps", "-aq")).split("\n").filter((id) => id !== "");
      if (containers.length > 0) await docker("rm", "-f", ...containers);
      await stopDaemon();
      await removeFolders();
    },
  };
}
