/** An instance of Gantry that a benchmark owns, and how to talk to it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type InstanceConfig } from "#daemon/instance-config.ts";
import { type HttpKubeClient, createHttpClient } from "#kube/client/http-client.ts";
import { atEnd, command } from "./kit.ts";

export const repository = join(import.meta.dirname, "..");
const gantry = join(repository, "gantry");

/** One process of `gantry status -o json`. */
export interface InstanceProcess {
  name: string;
  pid: number;
}

export interface Instance {
  readonly root: string;
  /** The arguments that name the instance. */
  readonly flags: readonly string[];
  readonly config: InstanceConfig;
  readonly dockerHost: string;
  cli(...argv: string[]): Promise<string>;
  docker(...argv: string[]): Promise<string>;
  processes(): Promise<InstanceProcess[]>;
  kube(): Promise<HttpKubeClient>;
  remove(): Promise<void>;
}

/** Builds what `./gantry` would build on its first run, so that no benchmark pays for it. */
export async function warmUp(): Promise<void> {
  await command([gantry, "--version"]);
}

/** The place and name of an instance; nothing runs yet. It is removed at the end in any case. */
export function newInstance(name: string): Instance {
  const folder = mkdtempSync(join(tmpdir(), "gantry-bench-"));
  const root = join(folder, "root");
  const flags = ["--name", name, "--root", root];
  const clients: HttpKubeClient[] = [];
  const remove = atEnd(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await command([gantry, "reset", "--yes", ...flags]);
    rmSync(folder, { recursive: true, force: true });
  });
  const self: Instance = {
    root,
    flags,
    get config() {
      return JSON.parse(readFileSync(join(root, "instance.json"), "utf8")) as InstanceConfig;
    },
    get dockerHost() {
      return `unix://${self.config.dockerSocket}`;
    },
    cli: (verb, ...rest) => command([gantry, verb as string, ...flags, ...rest]),
    docker: (...argv) => command(["docker", ...argv], { DOCKER_HOST: self.dockerHost }),
    processes: async () =>
      (JSON.parse(await self.cli("status", "-o", "json")) as { processes: InstanceProcess[] }).processes,
    kube: async () => {
      const pem = (file: string): string => readFileSync(join(root, "pki", file), "utf8");
      const client = await createHttpClient({
        server: `https://127.0.0.1:${self.config.apiPort}`,
        ca: pem("ca.crt"),
        cert: pem("admin.crt"),
        key: pem("admin.key"),
        userAgent: "gantry-bench",
      });
      clients.push(client);
      return client;
    },
    remove,
  };
  return self;
}

/** An instance that is up, with or without the sample. */
export async function startInstance(name: string, options: { sample: boolean }): Promise<Instance> {
  const instance = newInstance(name);
  await instance.cli("up", "--no-switch", ...(options.sample ? [] : ["--no-demo"]));
  return instance;
}
