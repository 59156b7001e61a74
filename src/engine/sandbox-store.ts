import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { PodSandboxConfig } from "#api/pod-runtime.ts";
import type { Logger } from "#base/log.ts";
import { readJson, writeFileAtomic } from "#host/files.ts";
import type { PodEndpoint } from "#network/network-types.ts";

/** A pod's sandbox as it is kept, in `sandboxes/<id>/sandbox.json`. */
export interface SandboxRecord {
  id: string;
  config: PodSandboxConfig;
  state: "ready" | "not-ready";
  createdAt: number;
  endpoint: PodEndpoint | undefined;
  /** The program that keeps a shared pid namespace alive; 0 without. */
  holderPid: number;
}

export class SandboxStore {
  readonly root: string;
  readonly #log: Logger;
  readonly #sandboxes = new Map<string, SandboxRecord>();

  constructor(root: string, log: Logger) {
    this.root = root;
    this.#log = log;
  }

  async load(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: 0o711 });
    for (const id of await readdir(this.root)) {
      const record = await readJson<SandboxRecord>(join(this.folder(id), "sandbox.json")).catch((error: unknown) => {
        this.#log.error("A sandbox's record is damaged; the sandbox is removed.", { sandbox: id, error });
        return undefined;
      });
      if (record === undefined) await rm(this.folder(id), { recursive: true, force: true });
      else this.#sandboxes.set(id, record);
    }
  }

  folder(id: string): string {
    return join(this.root, id);
  }

  all(): SandboxRecord[] {
    return [...this.#sandboxes.values()];
  }

  get(id: string): SandboxRecord | undefined {
    return this.#sandboxes.get(id);
  }

  async save(record: SandboxRecord): Promise<void> {
    await writeFileAtomic(join(this.folder(record.id), "sandbox.json"), JSON.stringify(record), {
      mode: 0o600,
      sync: false,
    });
    this.#sandboxes.set(record.id, record);
  }

  async remove(id: string): Promise<void> {
    this.#sandboxes.delete(id);
    await rm(this.folder(id), { recursive: true, force: true });
  }
}
