import type { Ulimit } from "#api/docker/container-types.ts";
import type { IdMapping } from "#base/id-mapping.ts";
import { cgroupVersion } from "#host/cgroup.ts";

/** What `daemon.json` may set for every container. Read at each use: whoever gives the object may change it. */
export interface EngineDefaults {
  logDriver: string;
  logOptions: Record<string, string>;
  ulimits: Ulimit[];
  dns: { servers: string[]; searches: string[]; options: string[] };
  /** `docker info`'s labels. */
  labels: string[];
  registryMirrors: string[];
  insecureRegistries: string[];
  /** Bytes of `/dev/shm`. */
  shmSize: number;
  ipcMode: string;
  cgroupnsMode: string;
  /** Run an init in containers that say neither yes nor no. */
  init: boolean;
  debug: boolean;
  /** Containers live on while the engine is away. */
  liveRestore: boolean;
  /** `docker info` shows them when somebody has set them. */
  addressPools: { base: string; size: number }[];
  /** More of `docker info`'s warnings. */
  warnings: string[];
}

export const engineDefaults: EngineDefaults = {
  logDriver: "json-file",
  logOptions: {},
  ulimits: [],
  dns: { servers: [], searches: [], options: [] },
  labels: [],
  registryMirrors: [],
  insecureRegistries: [],
  shmSize: 64 * 1024 * 1024,
  ipcMode: "private",
  cgroupnsMode: cgroupVersion === 2 ? "private" : "host",
  init: false,
  debug: false,
  liveRestore: true,
  addressPools: [],
  warnings: [],
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
  defaults?: EngineDefaults;
  /** Docker's containers run in user namespaces with these ids, unless they ask for the machine's (`userns-remap`). */
  remap?: IdMapping;
}
