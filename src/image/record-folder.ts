import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { readJson, writeFileAtomic } from "#host/files.ts";

/** Records by name, each in a JSON file of its own that is written atomically. Names may have slashes. */
export class RecordFolder<T> {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async load(): Promise<T[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const out: T[] = [];
    for (const file of await readdir(this.#folder)) {
      if (!file.endsWith(".json")) continue;
      const record = await readJson<T>(join(this.#folder, file));
      if (record !== undefined) out.push(record);
    }
    return out;
  }

  /** Resolves when the record is on the disk. */
  save(name: string, record: T): Promise<void> {
    return writeFileAtomic(join(this.#folder, `${encodeURIComponent(name)}.json`), JSON.stringify(record));
  }
}
