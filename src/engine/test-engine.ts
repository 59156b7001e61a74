/** For this folder's tests: a whole engine with real parts in folders, links, tables and cgroups of its own. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "#base/log.ts";
import { GantryError } from "#base/errors.ts";
import { ContainerRuntime } from "#container/container-runtime.ts";
import { cgroupFolders } from "#host/cgroup.ts";
import { tryLock } from "#host/descriptors.ts";
import { listMounts, unmount } from "#host/mount.ts";
import { ImageService } from "#image/image-service.ts";
import { Networking } from "#network/networking.ts";
import { createEngine } from "./create-engine.ts";
import type { Engine, StreamSession } from "./engine.ts";
import type { RegistryPort } from "./images-api.ts";

export const testIndex = 4;

const refuse = async (): Promise<never> => {
  throw new GantryError("unavailable", "no registry here");
};
export const noRegistry: RegistryPort = {
  pull: refuse,
  push: refuse,
  search: refuse,
  login: refuse,
  distribution: refuse,
};

export interface TestEngine {
  engine: Engine;
  root: string;
  runDir: string;
  /** Ends the engine as a stop of the daemon does: containers live on. */
  stop(): Promise<void>;
}

export interface TestPlace {
  base: string;
  index: number;
}

/**
 * Links and ranges of tests are not those of any instance: `gx` for `gt`, and other second numbers. Two runs of
 * the same test on one machine would have the same ones: the second waits here for the end of the first's process.
 */
export function newPlace(index = testIndex): TestPlace {
  const lock = openSync(join(tmpdir(), `gantry-engine-test-${index}.lock`), "w");
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  while (!tryLock(lock)) Atomics.wait(nobody, 0, 0, 100);
  return { base: mkdtempSync(join(tmpdir(), "gantry-engine-")), index };
}

/** An engine on a place; a second one on the same place goes on where the first stopped. */
export async function startEngine({ base, index }: TestPlace): Promise<TestEngine> {
  const root = join(base, "data");
  const runDir = join(base, "run");
  mkdirSync(root, { recursive: true });
  mkdirSync(runDir, { recursive: true });
  const level = process.env["GANTRY_TEST_LOG"] === undefined ? "error" : "debug";
  const log = createLogger({ write: (line) => process.stderr.write(line), level });
  const images = new ImageService(join(root, "images"));
  const runtime = new ContainerRuntime({ runDir: join(runDir, "runtime"), sharedRoots: [root, runDir] }, { log });
  await runtime.initialise();
  const networking = new Networking(
    {
      linkPrefix: `gx${index}`,
      defaultBridge: { name: `gx${index}-docker`, subnet: `10.${208 + index}.0.0/16` },
      pools: [{ base: `10.${224 + index}.0.0/16`, size: 24 }],
      nftTable: `gantry-x${index}`,
      stateDir: root,
      pods: { bridge: `gx${index}-pods`, cidr: `10.${192 + index}.0.0/16` },
    },
    { log },
  );
  const engine = createEngine(
    { root, runDir, cgroupParent: `gantry-x${index}`, nodeName: "test", version: "0.0.0" },
    { log, images, runtime, networking, registry: noRegistry },
  );
  await engine.start();
  return {
    engine,
    root,
    runDir,
    async stop() {
      await engine.stop();
      runtime.stop();
    },
  };
}

/** Removes everything that an engine on this place has made. */
export async function removeAll(place: TestPlace): Promise<void> {
  const { engine, stop } = await startEngine(place);
  for (const { Id } of await engine.containers.list({ all: true }))
    await engine.containers.remove(Id, { force: true, volumes: true });
  for (const { id } of await engine.pods.listPodSandboxes()) await engine.pods.removePodSandbox(id);
  await stop();
  const networking = new Networking(
    {
      linkPrefix: `gx${place.index}`,
      defaultBridge: { name: `gx${place.index}-docker`, subnet: `10.${208 + place.index}.0.0/16` },
      pools: [{ base: `10.${224 + place.index}.0.0/16`, size: 24 }],
      nftTable: `gantry-x${place.index}`,
      stateDir: join(place.base, "data"),
      pods: { bridge: `gx${place.index}-pods`, cidr: `10.${192 + place.index}.0.0/16` },
    },
    { log: createLogger({ write: () => {} }) },
  );
  await networking.recover({ endpoints: [], pods: [] });
  await networking.removeAll();
  networking.close();
  for (const { target } of listMounts().reverse()) if (target.startsWith(place.base)) while (unmount(target)) continue;
  rmSync(place.base, { recursive: true, force: true });
  for (const folder of cgroupFolders(`gantry-x${place.index}`)) removeTree(folder);
}

/** Cgroups go by rmdir alone, the innermost first. */
function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  }
  rmdirSync(folder);
}

/** What a place must not leave behind. */
export function leftovers(place: TestPlace): string[] {
  const links = readdirSync("/sys/class/net").filter((name) => name.startsWith(`gx${place.index}`));
  const mounts = listMounts()
    .map(({ target }) => target)
    .filter((target) => target.startsWith(place.base));
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(place.base);
      } catch {
        return false;
      }
    });
  return [...links, ...mounts, ...processes, ...cgroupFolders(`gantry-x${place.index}`)];
}

/** All that a session says, by stream, until its end. */
export async function collect(session: StreamSession): Promise<{ stdout: string; stderr: string }> {
  const out = { stdout: "", stderr: "" };
  for await (const { stream, data } of session.output) out[stream] += Buffer.from(data).toString();
  return out;
}

/** Runs a container to its end as `docker run` does: create, attach, wait, start. */
export async function runContainer(
  engine: Engine,
  body: Parameters<Engine["containers"]["create"]>[1],
  name?: string,
): Promise<{ id: string; code: number; stdout: string; stderr: string }> {
  const { Id } = await engine.containers.create(name, { Image: "gantry/hello", ...body });
  const session = await engine.containers.attach(Id, {
    stdin: false,
    stdout: true,
    stderr: true,
    stream: true,
    logs: false,
  });
  const { result } = await engine.containers.wait(
    Id,
    body.HostConfig?.AutoRemove === true ? "removed" : "next-exit",
    new AbortController().signal,
  );
  const output = collect(session);
  await engine.containers.start(Id);
  const { StatusCode } = await result;
  return { id: Id, code: StatusCode, ...(await output) };
}

/** Waits until `test` holds, at most some seconds. */
export async function eventually(test: () => Promise<boolean> | boolean, what: string, ms = 10_000): Promise<void> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`it did not happen in time: ${what}`);
}
