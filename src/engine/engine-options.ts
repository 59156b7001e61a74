import type { Ulimit } from "#api/docker/container-types.ts";

/** What `daemon.json` may set for every container. */
export interface EngineDefaults {
  logDriver: string;
  logOptions: Record<string, string>;
  ulimits: Ulimit[];
  dns: { servers: string[]; searches: string[]; options: string[] };
  /** `docker info`'s labels. */
  labels: string[];
  registryMirrors: string[];
  insecureRegistries: string[];
}

export const engineDefaults: EngineDefaults = {
  logDriver: "json-file",
  logOptions: {},
  ulimits: [],
  dns: { servers: [], searches: [], options: [] },
  labels: [],
  registryMirrors: [],
  insecureRegistries: [],
};

export interface EngineOptions {
  /** Data that outlives a reboot. */
  root: string;
  /** Namespaces and sockets: gone after a reboot. */
  runDir: string;
  /** Top cgroup folder, relative to each controller's root. */
  cgroupParent: string;
  nodeName: string;
  version: string;
  defaults?: Partial<EngineDefaults>;
}
