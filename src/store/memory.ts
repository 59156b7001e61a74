import { type CommitLog, GroupCommitStore } from "./group-commit-store.ts";
import { RevisionedState } from "./revisioned-state.ts";
import type { Store } from "./store.ts";

const noLog: CommitLog = { commit: () => {}, reserve: () => {}, compact: () => {}, close: () => {} };

/** A store that forgets everything with its process: for tests and for embedded clusters. */
export function openMemoryStore(options: { historyLimit?: number } = {}): Store {
  return new GroupCommitStore({ state: new RevisionedState(options), log: noLog });
}
