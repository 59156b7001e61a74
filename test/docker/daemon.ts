import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "#base/log.ts";
import { ContainerRuntime } from "#container/container-runtime.ts";
import { createDockerApi } from "#docker/api.ts";
import { createEngine } from "#engine/create-engine.ts";
import { RegistryService } from "#engine/registry-service.ts";
import { cgroupFolders } from "#host/cgroup.ts";
import { listMounts, unmount } from "#host/mount.ts";
import { ImageService } from "#image/image-service.ts";
import { defaultRegistryConfig } from "#image/registry-config.ts";
import { Networking } from "#network/networking.ts";
import { HttpServer } from "#web/server.ts";

/** A daemon that the docker CLI's tests talk to. */
export interface TestDaemon {
  /** For DOCKER_HOST. */
  host: string;
  /** Requests that are being answered; undefined for a daemon of somebody else. */
  active?: () => number;
  stop(): Promise<void>;
}

/** A foreign daemon to hold the tests themselves against: DOCKER_HOST of a dockerd. */
const foreign = process.env["GANTRY_TEST_DOCKER_HOST"];

/**
 * A whole engine behind the Docker API on a unix socket, with links, tables, address ranges and cgroups of
 * instance `index`: files that run at the same time take different ones.
 */
export async function startDaemon(index: number): Promise<TestDaemon> {
  if (foreign !== undefined) return { host: foreign, stop: async () => {} };
  const base = mkdtempSync(join(tmpdir(), "gantry-docker-"));
  const root = join(base, "data");
  const runDir = join(base, "run");
  for (const folder of [root, runDir]) mkdirSync(folder, { mode: 0o711 });
  const level = process.env["GANTRY_TEST_LOG"] === undefined ? "error" : "debug";
  const log = createLogger({ write: (line) => process.stderr.write(line), level });
  const runtime = new ContainerRuntime({ runDir: join(runDir, "runtime"), sharedRoots: [root, runDir] }, { log });
  await runtime.initialise();
  const images = new ImageService(join(root, "images"));
  const networkOptions = {
    linkPrefix: `gx${index}`,
    defaultBridge: { name: `gx${index}-docker`, subnet: `10.${208 + index}.0.0/16` },
    pools: [{ base: `10.${224 + index}.0.0/16`, size: 24 }],
    nftTable: `gantry-t${index}`,
    stateDir: root,
    pods: { bridge: `gx${index}-pods`, cidr: `10.${192 + index}.0.0/16` },
  };
  const networking = new Networking(networkOptions, { log });
  const registry = new RegistryService(defaultRegistryConfig, images.images);
  const engine = createEngine(
    { root, runDir, cgroupParent: `gantry-t${index}`, nodeName: "test", version: "0.1.0" },
    { log, images, runtime, networking, registry },
  );
  await engine.start();
  const server = new HttpServer({
    name: "docker",
    log,
    handler: createDockerApi({ version: "0.1.0" }, { engine, log }),
  });
  const path = join(base, "docker.sock");
  await server.listen({ path });
  return {
    host: `unix://${path}`,
    active: () => server.active,
    stop: async () => {
      for (const { Id } of await engine.containers.list({ all: true }))
        await engine.containers.remove(Id, { force: true, volumes: true });
      await server.stop(2000);
      await engine.stop();
      runtime.stop();
      await registry.close();
      // The engine has closed its own; a fresh one finds what there is to be removed.
      const remains = new Networking(networkOptions, { log });
      await remains.recover({ endpoints: [], pods: [] });
      await remains.removeAll();
      remains.close();
      for (const { target } of listMounts().reverse()) if (target.startsWith(base)) while (unmount(target)) continue;
      for (const folder of cgroupFolders(`gantry-t${index}`)) removeCgroups(folder);
      rmSync(base, { recursive: true, force: true });
    },
  };
}

/** Empty control groups, the inner ones first. */
function removeCgroups(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroups(join(folder, entry.name));
  }
  rmdirSync(folder);
}
