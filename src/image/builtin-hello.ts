import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { run } from "#host/run.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";
import { hostPlatform } from "./oci.ts";
import type { ImageConfig } from "./oci.ts";

export const helloReference = "gantry/hello:latest";

/** Fixed, so that the same busybox gives the same image id on every machine. */
const created = "2026-01-01T00:00:00Z";

const page = `#!/bin/sh
# Answers every request: a page for browsers, plain lines for wget and curl.
case "$HTTP_ACCEPT" in
  *text/html*)
    printf 'Content-Type: text/html; charset=utf-8\\r\\n\\r\\n'
    cat <<HTML
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hello from Gantry</title>
<style>
  body { font: 18px/1.6 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid; place-items: center; background: #eef3f7; color: #16324a; }
  main { background: #fff; padding: 2.5rem 3rem; border-radius: 14px; box-shadow: 0 6px 30px #16324a22; max-width: 34rem; }
  h1 { margin: 0 0 .5rem; font-size: 1.9rem; }
  code { background: #e3edf5; padding: .1rem .4rem; border-radius: 5px; }
</style>
</head>
<body>
<main>
<h1>Hello from Gantry</h1>
<p>This page was answered by <code>$(hostname)</code>.</p>
<p>Reload it: where several replicas stand behind a service, another one may answer.</p>
</main>
</body>
</html>
HTML
    ;;
  *)
    printf 'Content-Type: text/plain; charset=utf-8\\r\\n\\r\\n'
    printf 'Hello from Gantry\\n%s\\n' "$(hostname)"
    ;;
esac
`;

/** As process 1 a program without a handler ignores SIGTERM, and busybox httpd has none: the shell has. */
const serve = `#!/bin/sh
trap 'kill "$server" 2>/dev/null; exit 0' TERM INT
httpd -f -p "\${PORT:-80}" -h /www &
server=$!
wait "$server"
`;

const passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const group = "root:x:0:\nnogroup:x:65534:\n";

export interface BuiltinImage {
  /** An uncompressed layer. */
  layer: Buffer;
  config: ImageConfig;
  reference: string;
}

/**
 * Makes the built-in image from this machine's static busybox: a shell, all applets, and a page on port 80.
 * Throws `not-found` where busybox is missing.
 */
export async function buildHelloImage(busyboxPath = "/bin/busybox"): Promise<BuiltinImage> {
  let busybox: Buffer;
  try {
    busybox = readFileSync(busyboxPath);
  } catch (cause) {
    throw new GantryError("not-found", `${busyboxPath} is missing: install it with apt-get install busybox-static.`, {
      cause,
    });
  }
  const { stdout } = await run([busyboxPath, "--list"]);
  const applets = stdout
    .split("\n")
    .filter((name) => name !== "" && name !== "busybox")
    .sort();
  const folder = (name: string, mode = 0o755): Buffer => encodeEntry({ name: `${name}/`, type: "directory", mode });
  const file = (name: string, content: string, mode = 0o644): Buffer =>
    encodeEntry({ name, type: "file", mode }, Buffer.from(content));
  const parts = [
    ...[
      "bin",
      "dev",
      "etc",
      "home",
      "proc",
      "run",
      "sbin",
      "sys",
      "usr",
      "usr/bin",
      "usr/sbin",
      "var",
      "var/log",
      "www",
      "www/cgi-bin",
    ].map((name) => folder(name)),
    folder("root", 0o700),
    folder("tmp", 0o1777),
    encodeEntry({ name: "bin/busybox", type: "file", mode: 0o755 }, busybox),
    ...applets.map((name) => encodeEntry({ name: `bin/${name}`, type: "symlink", linkname: "busybox" })),
    file("bin/serve", serve, 0o755),
    file("etc/passwd", passwd),
    file("etc/group", group),
    file("etc/nsswitch.conf", "hosts: files dns\n"),
    // busybox httpd answers `/` with this program when there is no index.html.
    file("www/cgi-bin/index.cgi", page, 0o755),
    endOfArchive(),
  ];
  const { os, architecture, variant } = hostPlatform();
  return {
    layer: Buffer.concat(parts),
    reference: helloReference,
    config: {
      created,
      author: "Gantry",
      architecture,
      ...(variant === undefined ? {} : { variant }),
      os,
      config: {
        Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        Cmd: ["/bin/serve"],
        ExposedPorts: { "80/tcp": {} },
        WorkingDir: "/",
        Labels: {
          "org.opencontainers.image.title": "hello",
          "org.opencontainers.image.description": "A shell and a small web page, made from busybox",
        },
      },
      rootfs: { type: "layers", diff_ids: [] },
      history: [{ created, created_by: "gantry: busybox, its applets and a web page", comment: "built in" }],
    },
  };
}
