import { DatabaseSync, type StatementSync } from "node:sqlite";
import { GantryError, errorMessage } from "#base/errors.ts";
import { type CommitLog, GroupCommitStore } from "./group-commit-store.ts";
import { RevisionedState } from "./revisioned-state.ts";
import type { Store, StoredValue, StoreEvent } from "./store.ts";

/** Revisions are promised to the disk in blocks of this size, so that a crash never makes one come twice. */
const revisionBlock = 10_000;

const schema = `
CREATE TABLE IF NOT EXISTS log (
  revision INTEGER PRIMARY KEY,
  create_revision INTEGER NOT NULL,
  key TEXT NOT NULL,
  value BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
`;

interface LogRow {
  revision: number;
  create_revision: number;
  key: string;
  value: Uint8Array | null;
}

/**
 * The log: one row a revision, a null value for a deletion. A row that a newer one of the same key replaces
 * is garbage, and goes with the next compaction.
 */
class SqliteLog implements CommitLog {
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #drop: StatementSync;
  readonly #setMeta: StatementSync;
  #reserved: number;
  /** Rows that no longer say anything, with the revision from which that is so. */
  #garbage: { row: number; since: number }[] = [];

  constructor(database: DatabaseSync, reserved: number, garbage: { row: number; since: number }[]) {
    this.#database = database;
    this.#reserved = reserved;
    this.#garbage = garbage;
    this.#insert = database.prepare("INSERT INTO log (revision, create_revision, key, value) VALUES (?, ?, ?, ?)");
    this.#drop = database.prepare("DELETE FROM log WHERE revision = ?");
    this.#setMeta = database.prepare(
      "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
  }

  #transaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  commit(events: readonly StoreEvent[]): void {
    this.#transaction(() => {
      for (const event of events) {
        if (event.type === "put")
          this.#insert.run(event.item.modRevision, event.item.createRevision, event.item.key, event.item.value);
        else this.#insert.run(event.revision, event.previous.createRevision, event.key, null);
      }
    });
    for (const event of events) {
      const since = event.type === "put" ? event.item.modRevision : event.revision;
      if (event.previous !== undefined) this.#garbage.push({ row: event.previous.modRevision, since });
      if (event.type === "delete") this.#garbage.push({ row: event.revision, since });
    }
  }

  reserve(revision: number): void {
    if (revision <= this.#reserved) return;
    const reserved = revision + revisionBlock;
    this.#setMeta.run("reserved", reserved);
    this.#reserved = reserved;
  }

  compact(revision: number): void {
    const due = this.#garbage.filter(({ since }) => since <= revision);
    if (due.length === 0) return;
    this.#transaction(() => {
      for (const { row } of due) this.#drop.run(row);
    });
    this.#garbage = this.#garbage.filter(({ since }) => since > revision);
  }

  close(revision: number): void {
    this.#setMeta.run("reserved", revision);
    this.#database.close();
  }
}

export interface SqliteStoreOptions {
  /** The database file; its folder exists. */
  path: string;
  historyLimit?: number;
  lazyMs?: number;
  /** Called once when the disk refused a commit. */
  onFailure?: (error: GantryError) => void;
}

/**
 * The durable store of one control plane: SQLite in WAL mode with full sync. Throws `unavailable` when
 * another process has it open or the file is no database.
 */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(options.path);
    // An exclusive lock keeps a second control process out, and needs no shared-memory file.
    database.exec(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2000;",
    );
    database.exec(schema);
    return load(database, options);
  } catch (cause) {
    database?.close();
    throw new GantryError("unavailable", `The store at ${options.path} cannot be opened: ${errorMessage(cause)}.`, {
      cause,
    });
  }
}

function load(database: DatabaseSync, options: SqliteStoreOptions): Store {
  const live = new Map<string, StoredValue>();
  const garbage: { row: number; since: number }[] = [];
  let revision = 0;
  for (const row of database
    .prepare("SELECT revision, create_revision, key, value FROM log ORDER BY revision")
    .iterate() as Iterable<LogRow>) {
    revision = row.revision;
    const before = live.get(row.key);
    if (before !== undefined) garbage.push({ row: before.modRevision, since: row.revision });
    if (row.value === null) {
      live.delete(row.key);
      garbage.push({ row: row.revision, since: row.revision });
    } else {
      live.set(row.key, {
        key: row.key,
        value: row.value,
        createRevision: row.create_revision,
        modRevision: row.revision,
      });
    }
  }
  // After a crash this is the end of the promised block: lazy writes above the last row were seen by somebody.
  const reserved =
    (database.prepare("SELECT value FROM meta WHERE name = 'reserved'").get() as { value: number } | undefined)
      ?.value ?? 0;
  const state = new RevisionedState({ revision: Math.max(revision, reserved), live: live.values(), ...pick(options) });
  const log = new SqliteLog(database, Math.max(revision, reserved), garbage);
  return new GroupCommitStore({
    ...(options.onFailure === undefined ? {} : { onFailure: options.onFailure }),
    state,
    log,
    ...(options.lazyMs === undefined ? {} : { lazyMs: options.lazyMs }),
  });
}

function pick(options: SqliteStoreOptions): { historyLimit?: number } {
  return options.historyLimit === undefined ? {} : { historyLimit: options.historyLimit };
}
