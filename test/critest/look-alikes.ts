import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Runs a command to its end; throws with what it printed when it fails. */
export function run(command: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr + stdout}`);
  return stdout;
}

/** Copies a program with the libraries that it names. */
function addProgram(root: string, program: string, target: string, libraryPath = ""): void {
  const into = (path: string, from: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(from, join(root, path));
  };
  rmSync(join(root, target), { force: true });
  into(target, program);
  chmodSync(join(root, target), 0o755);
  const env = { ...process.env, LD_LIBRARY_PATH: libraryPath };
  for (const line of run("ldd", [program], { env }).split("\n")) {
    const path = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1];
    if (path === undefined) continue;
    const isLoader = !line.includes("=>");
    into(isLoader ? path : join("/lib/x86_64-linux-gnu", path.slice(path.lastIndexOf("/") + 1)), path);
  }
}

/** A root file system of Debian's busybox (not the static one, whose shell has its applets built in), with the util-linux and procps tools that critest asks for. */
function busyboxRoot(root: string, unpacked: string): void {
  for (const folder of ["bin", "etc", "tmp", "home", "root", "proc", "sys", "dev", "run", "var/log", "usr/bin", "lib"])
    mkdirSync(join(root, folder), { recursive: true });
  chmodSync(join(root, "tmp"), 0o1777);
  symlinkSync("../run", join(root, "var/run"));
  addProgram(root, join(unpacked, "bin/busybox"), "bin/busybox");
  for (const applet of run(join(unpacked, "bin/busybox"), ["--list"]).split("\n"))
    if (applet !== "" && applet !== "busybox") linkSync(join(root, "bin/busybox"), join(root, "bin", applet));
  for (const tool of ["ipcs", "pgrep"]) addProgram(root, `/usr/bin/${tool}`, `bin/${tool}`);
  writeFileSync(join(root, "home/index.html"), "<h1>It works!</h1>\n");
  const users = [
    "root:x:0:0:root:/root:/bin/sh",
    "www-data:x:33:33:www-data:/var/www:/bin/false",
    "default-user:x:1000:1000::/home:/bin/sh",
    "nobody:x:65534:65534:nobody:/home:/bin/false",
  ];
  const groups = [
    "root:x:0:",
    "users:x:100:",
    "www-data:x:33:",
    "default-user:x:1000:",
    "group-defined-in-image:x:50000:default-user",
    "nogroup:x:65534:",
  ];
  writeFileSync(join(root, "etc/passwd"), `${users.join("\n")}\n`);
  writeFileSync(join(root, "etc/group"), `${groups.join("\n")}\n`);
}

/** Debian packages, unpacked and not installed. Returns the folder. */
function unpackPackages(work: string, names: string[]): string {
  const packages = join(work, "packages");
  mkdirSync(packages, { recursive: true });
  run("apt-get", ["download", ...names], { cwd: packages });
  const unpacked = join(work, "unpacked");
  for (const name of readdirSync(packages)) run("dpkg", ["-x", join(packages, name), unpacked]);
  return unpacked;
}

function addNginx(root: string, unpacked: string): void {
  addProgram(root, join(unpacked, "usr/sbin/nginx"), "usr/sbin/nginx", join(unpacked, "usr/lib/x86_64-linux-gnu"));
  for (const folder of ["var/log/nginx", "var/lib/nginx", "usr/share/nginx/html"])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, "usr/share/nginx/html/index.html"), "<h1>Welcome to nginx!</h1>\n");
}

function nginxConfig(port: number): string {
  return `user www-data;
worker_processes 1;
error_log /dev/stderr notice;
pid /var/run/nginx.pid;
events { worker_connections 64; }
http {
  access_log /dev/stdout;
  server { listen ${port}; location / { root /usr/share/nginx/html; index index.html; } }
}
`;
}

interface LookAlike {
  names: string[];
  /** Dockerfile lines for the image's config. */
  config: string[];
  /** The default is busybox alone. */
  base?: "nginx-80" | "nginx-12003" | "nonewprivs";
}

const staging = "gcr.io/k8s-staging-cri-tools/";
const e2e = "registry.k8s.io/e2e-test-images/";
const nginxCommand = 'CMD ["/usr/sbin/nginx", "-g", "daemon off;"]';

/** What stands behind each name that critest pulls. */
const lookAlikes: LookAlike[] = [
  { names: [`${e2e}busybox:1.29-2`], config: ["ENV CRITEST=busybox"] },
  {
    names: [`${e2e}httpd:2.4.39-4`],
    config: ['CMD ["sh", "-c", "echo httpd on port 80; exec httpd -f -p 80 -h /home"]'],
  },
  { names: [`${e2e}nginx:1.14-2`], config: [nginxCommand], base: "nginx-80" },
  { names: [`${staging}hostnet-nginx-amd64:latest`], config: [nginxCommand], base: "nginx-12003" },
  { names: [`${e2e}nonewprivs:1.3`], config: ['CMD ["/usr/bin/nnp"]'], base: "nonewprivs" },
  { names: [`${staging}test-image-latest:latest`], config: ["ENV CRITEST=latest"] },
  { names: [`${staging}test-image-tag:test`], config: ["ENV CRITEST=test"] },
  { names: [`${staging}test-image-tag:all`], config: ["ENV CRITEST=all"] },
  ...[1, 2, 3].map((at) => ({ names: [`${staging}test-image-${at}:latest`], config: [`ENV CRITEST=${at}`] })),
  { names: [1, 2, 3].map((at) => `${staging}test-image-tags:${at}`), config: ["ENV CRITEST=tags"] },
  { names: [`${staging}test-image-user-uid:latest`], config: ["USER 1002"] },
  { names: [`${staging}test-image-user-username:latest`], config: ["USER www-data"] },
  { names: [`${staging}test-image-user-uid-group:latest`], config: ["USER 1003:users"] },
  { names: [`${staging}test-image-user-username-group:latest`], config: ["USER www-data:100"] },
  { names: [`${staging}test-image-predefined-group:latest`], config: ["USER 1000"] },
  {
    names: ["registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9"],
    config: ['CMD ["sleep", "100000"]'],
  },
];

/** Makes all look-alikes with the docker CLI at `host`, pushes them, and removes them again from the engine. */
export function publishLookAlikes(host: string, work: string, source: string): void {
  const docker = (...args: string[]): string => run("docker", ["-H", host, ...args]);
  const root = join(work, "root");
  const archive = (name: string): string => join(work, `${name}.tar`);
  const pack = (name: string): void => {
    run("tar", ["-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", archive(name), "."]);
  };
  const unpacked = unpackPackages(work, ["busybox", "nginx", "nginx-common", "libpcre2-8-0"]);
  busyboxRoot(root, unpacked);
  pack("busybox");
  const program = join(root, "usr/bin/nnp");
  run("go", ["build", "-o", program, "./nonewprivs"], { cwd: source, env: { ...process.env, CGO_ENABLED: "0" } });
  chmodSync(program, 0o4755);
  pack("nonewprivs");
  rmSync(program);
  addNginx(root, unpacked);
  mkdirSync(join(root, "etc/nginx"));
  for (const port of [80, 12003]) {
    writeFileSync(join(root, "etc/nginx/nginx.conf"), nginxConfig(port));
    pack(`nginx-${port}`);
  }
  for (const { names, config, base = "busybox" } of lookAlikes) {
    const [first = "", ...more] = names;
    const changes = ["ENV PATH=/usr/sbin:/usr/bin:/bin", 'CMD ["sh"]', ...config].flatMap((line) => ["--change", line]);
    docker("import", ...changes, archive(base), first);
    for (const name of more) docker("tag", first, name);
    for (const name of names) docker("push", "-q", name);
  }
  docker("rmi", "-f", ...lookAlikes.flatMap(({ names }) => names));
}
