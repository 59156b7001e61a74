import { existsSync } from "node:fs";
import { join } from "node:path";
import type { DaemonProgram } from "#daemon/daemon-process.ts";
import { bundledFile, isBundled } from "#host/bundled-file.ts";

/**
 * How to start a daemon: the bundle beside this one, or the sources in development. V8 is told to keep its
 * heap small: the daemons idle most of their lives.
 */
export function daemonProgram(): DaemonProgram {
  const script = isBundled ? bundledFile("gantryd.js") : join(import.meta.dirname, "../daemon/main.ts");
  const compileCache = isBundled ? bundledFile("compile-cache") : undefined;
  const env: Record<string, string> = {
    // glibc gives each thread of Node's pool an arena that never shrinks: two save 15 MB in both processes.
    MALLOC_ARENA_MAX: "2",
    PATH: process.env["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: process.env["HOME"] ?? "/root",
  };
  for (const name of [
    "GANTRY_LOG_LEVEL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
  ]) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  if (compileCache !== undefined && existsSync(compileCache)) env["NODE_COMPILE_CACHE"] = compileCache;
  return {
    node: process.execPath,
    nodeOptions: ["--max-semi-space-size=1", "--v8-pool-size=1", "--no-warnings"],
    script,
    env,
  };
}
