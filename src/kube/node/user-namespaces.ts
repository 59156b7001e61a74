import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GantryError } from "#base/errors.ts";
import type { IdMapping } from "#base/id-mapping.ts";

/** Ids of one pod (kubelet, userns.userNsLength). */
export const podIds = 65_536;

export interface PodIdRange {
  /** The first id outside that pods may have. */
  first: number;
  /** How many pods get a range. */
  pods: number;
}

/** In a pod's folder: where its range begins. */
const fileName = "userns.json";

/**
 * Ranges of user and group ids of pods with `hostUsers: false`, each pod its own. A pod's range is written into its
 * folder and taken until that is removed, after everything else of the pod: so no two living pods share an id, over
 * restarts and crashes, too.
 */
export class PodUserNamespaces {
  readonly #podsRoot: string;
  readonly #range: PodIdRange;

  constructor(podsRoot: string, range: PodIdRange) {
    this.#podsRoot = podsRoot;
    this.#range = range;
  }

  /** A pod's mapping; the same at each call. Throws `exhausted` when every range is taken. */
  mappingOf(uid: string): IdMapping {
    const hostId = this.#read(uid) ?? this.#take(uid);
    const ids = [{ containerId: 0, hostId, length: podIds }];
    return { uids: ids, gids: ids };
  }

  #read(uid: string): number | undefined {
    let text: string;
    try {
      text = readFileSync(join(this.#podsRoot, uid, fileName), "utf8");
    } catch {
      return undefined;
    }
    const { hostId } = JSON.parse(text) as { hostId?: unknown };
    if (typeof hostId === "number" && Number.isSafeInteger(hostId) && hostId >= podIds) return hostId;
    throw new GantryError("internal", `${join(this.#podsRoot, uid, fileName)} names no range of ids. Remove the pod.`);
  }

  /** In one go, so that nobody takes the same one meanwhile. */
  #take(uid: string): number {
    const { first, pods } = this.#range;
    const taken = new Set(readdirSync(this.#podsRoot).map((other) => this.#read(other)));
    for (let index = 0; index < pods; index++) {
      const hostId = first + index * podIds;
      if (taken.has(hostId)) continue;
      const folder = join(this.#podsRoot, uid);
      mkdirSync(folder, { recursive: true, mode: 0o750 });
      writeFileSync(join(folder, `${fileName}.tmp`), JSON.stringify({ hostId }), { flush: true });
      renameSync(join(folder, `${fileName}.tmp`), join(folder, fileName));
      return hostId;
    }
    throw new GantryError("exhausted", `all ${pods} ranges of ids for pods in user namespaces of their own are taken`);
  }
}
