/** Debian's podman beside us, in network and mount namespaces of its own, driven by its own command. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianTree } from "./debian-tree.ts";
import { atEnd, command, until } from "./kit.ts";

export interface Podman {
  readonly version: string;
  /** Of `podman system service`: the Docker API. */
  readonly socket: string;
  /** A podman command, where its networks and mounts are. */
  argv(...words: string[]): string[];
  readonly env: Record<string, string>;
  inside(argv: readonly string[]): string[];
  /** The conmon processes of its containers: podman itself is nowhere once a command is over. */
  pids(): number[];
  stop(): Promise<void>;
}

const packages = [
  "podman",
  "golang-github-containers-common",
  "golang-github-containers-image",
  "libsubid4",
  "libgpgme11",
  "libassuan0",
  "netavark",
  "aardvark-dns",
  "catatonit",
  "libdevmapper1.02.1",
];
const namespace = "podman-bench";

function writeConfiguration(folder: string): void {
  // What podman gives by itself may be more than this machine allows.
  const openFiles = /^Max open files\s+\w+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  writeFileSync(
    join(folder, "containers.conf"),
    `[containers]
default_ulimits = ["nofile=${openFiles}:${openFiles}", "nproc=16384:16384"]
log_driver = "k8s-file"
[engine]
conmon_path = ["/usr/bin/conmon"]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "${folder}/tmp"
[engine.runtimes]
crun = ["/usr/bin/crun"]
[network]
network_backend = "netavark"
network_config_dir = "${folder}/networks"
default_subnet = "172.30.202.0/24"
`,
  );
  writeFileSync(
    join(folder, "storage.conf"),
    `[storage]\ndriver = "overlay"\ngraphroot = "${folder}/root"\nrunroot = "${folder}/run"\n`,
  );
}

/**
 * A process that keeps the namespaces. In them the packages are as good as installed, since what podman leaves behind
 * for a container's end knows nothing of an environment; and crun finds no second cgroup hierarchy, with which it
 * refuses to run.
 */
async function holdNamespaces(folder: string, tree: string): Promise<ChildProcess> {
  const script = [
    `if [ -e ${tree}/lib ]; then cp -an ${tree}/lib/. ${tree}/usr/lib/; fi`,
    ...["usr", "etc"].map((name) => `mount -t overlay overlay -o lowerdir=${tree}/${name}:/${name} /${name}`),
    "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi",
    "mkdir -p /var/lib/containers",
    `mkdir -p ${folder}/lib && mount --bind ${folder}/lib /var/lib/containers`,
    `touch ${folder}/ready`,
    "exec sleep infinity",
  ].join(" && ");
  const argv = [`--net=/run/netns/${namespace}`, "unshare", "-m", "--propagation", "private", "sh", "-c", script];
  const holder = spawn("nsenter", argv, { stdio: "ignore" });
  await until("podman's namespaces", 10_000, () => existsSync(join(folder, "ready")));
  return holder;
}

function conmons(folder: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => {
      if (!/^\d+$/.test(entry)) return false;
      try {
        const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8");
        return argv.startsWith("/usr/bin/conmon\0") && argv.includes(`\0${folder}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/**
 * Makes podman ready with `gantry/hello` in it, from the Docker host `helloFrom`. Throws when Debian's packages cannot
 * be had or podman cannot run: say so, and go on without it.
 */
export async function startPodman(helloFrom: string): Promise<Podman> {
  const tree = await debianTree("podman", packages);
  const folder = mkdtempSync(join(tmpdir(), "gantry-bench-podman-"));
  writeConfiguration(folder);
  const removeFolders = atEnd(async () => {
    await command(["ip", "netns", "delete", namespace]).catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  });
  await command(["ip", "netns", "add", namespace]);
  await command(["nsenter", `--net=/run/netns/${namespace}`, "ip", "link", "set", "lo", "up"]);
  const holder = await holdNamespaces(folder, tree);
  const env = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: folder,
    CONTAINERS_CONF: join(folder, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(folder, "storage.conf"),
    TMPDIR: folder,
  };
  const inside = (argv: readonly string[]): string[] => [
    "nsenter",
    "--target",
    String(holder.pid),
    "--mount",
    "--net",
    ...argv,
  ];
  const argv = (...words: string[]): string[] => inside(["/usr/bin/podman", ...words]);
  const podman = (...words: string[]): Promise<string> => command(argv(...words), env);
  const services: ChildProcess[] = [];
  const stopAll = atEnd(async () => {
    for (const service of services) service.kill("SIGTERM");
    await podman("rm", "-f", "-a", "-t", "0").catch(() => {});
    holder.kill("SIGKILL");
  });
  const hello = join(folder, "hello.tar");
  await command(["docker", "save", "-o", hello, "gantry/hello"], { DOCKER_HOST: helloFrom });
  await podman("load", "-i", hello);
  const socket = join(folder, "podman.sock");
  const [program, ...rest] = argv("system", "service", "--time", "0", `unix://${socket}`) as [string, ...string[]];
  const log = openSync(join(folder, "service.log"), "w");
  services.push(spawn(program, rest, { stdio: ["ignore", log, log], env: { ...process.env, ...env } }));
  closeSync(log);
  await until("podman's service", 10_000, () => existsSync(socket), 50);
  return {
    version: (await podman("version", "--format", "{{.Client.Version}}")).trim(),
    socket,
    argv,
    env,
    inside,
    pids: () => conmons(folder),
    stop: async () => {
      await stopAll();
      await removeFolders();
    },
  };
}
