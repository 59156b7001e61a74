import { GantryError, hasCode } from "#base/errors.ts";
import type { Store } from "#store/store.ts";
import { badRequest } from "./api-error.ts";
import type { CacheEntry } from "./cache-entry.ts";
import { type ContinueToken, type ListOptions, decodeContinue, encodeContinue } from "./list-options.ts";
import type { ResourceHandle } from "./resource-type.ts";
import { type Selection, parseSelection } from "./selection.ts";

export interface ListAnswer {
  entries: readonly CacheEntry[];
  revision: number;
  /** For the next page; "" when this is the last. */
  continue: string;
  remaining: number | undefined;
}

const inconsistentContinue =
  "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/**
 * Lists a resource: from the cache at its present revision, or, where the client names an older one (the next
 * pages of a list, `resourceVersionMatch=Exact`), from the store's history.
 */
export async function readList(
  store: Store,
  handle: ResourceHandle,
  namespace: string,
  options: ListOptions,
): Promise<ListAnswer> {
  const { cache, type } = handle;
  const selection = parseSelection(type, options.labelSelector, options.fieldSelector);
  await cache.ready();
  if (options.continue !== "") {
    if (options.resourceVersion !== "" && options.resourceVersion !== "0")
      throw badRequest("specifying resource version is not allowed when using continue");
    return continueList(store, handle, namespace, options, selection, decodeContinue(options.continue));
  }
  const asked = Number(options.resourceVersion);
  const exact =
    options.resourceVersionMatch === "Exact" || (options.resourceVersionMatch === "" && options.limit > 0 && asked > 0);
  if (options.resourceVersion === "") await cache.consistent();
  else if (asked > 0) await cache.waitFor(asked);
  if (exact && asked < cache.lastChange) return history(store, handle, namespace, options, selection, asked, "");
  return page(
    namespace,
    options,
    selection,
    select(cache.list(namespace), selection),
    exact ? asked : cache.revision,
    "",
    type.namespaced,
  );
}

function select(entries: readonly CacheEntry[], { match }: Selection): readonly CacheEntry[] {
  return match === undefined ? entries : entries.filter(match);
}

/** `<namespace>/<name>` or the name: a key without the resource's prefix. */
function pathOf(entry: CacheEntry): string {
  return entry.namespace === "" ? entry.name : `${entry.namespace}/${entry.name}`;
}

function page(
  namespace: string,
  options: ListOptions,
  selection: Selection,
  entries: readonly CacheEntry[],
  revision: number,
  after: string,
  namespaced: boolean,
): ListAnswer {
  let start = 0;
  if (after !== "") while (start < entries.length && pathOf(entries[start] as CacheEntry) <= after) start++;
  const { limit } = options;
  if (limit <= 0 || entries.length - start <= limit)
    return { entries: start === 0 ? entries : entries.slice(start), revision, continue: "", remaining: undefined };
  const shown = entries.slice(start, start + limit);
  const last = shown[shown.length - 1] as CacheEntry;
  // The token of a list in one namespace is relative to it, so that it cannot be used to read another.
  const relative = namespaced && namespace !== "" ? last.name : pathOf(last);
  return {
    entries: shown,
    revision,
    continue: encodeContinue({ revision, after: relative }),
    remaining: selection.empty ? entries.length - start - limit : undefined,
  };
}

async function continueList(
  store: Store,
  handle: ResourceHandle,
  namespace: string,
  options: ListOptions,
  selection: Selection,
  token: ContinueToken,
): Promise<ListAnswer> {
  const { cache, type } = handle;
  const after = type.namespaced && namespace !== "" ? `${namespace}/${token.after}` : token.after;
  // -1: the client took the offer to go on inconsistently.
  const revision = token.revision < 0 ? cache.revision : token.revision;
  if (revision >= cache.lastChange)
    return page(
      namespace,
      options,
      selection,
      select(cache.list(namespace), selection),
      revision,
      after,
      type.namespaced,
    );
  try {
    return await history(store, handle, namespace, options, selection, revision, after);
  } catch (error) {
    if (!hasCode(error, "gone")) throw error;
    throw new GantryError("gone", inconsistentContinue, {
      data: {
        status: {
          kind: "Status",
          apiVersion: "v1",
          metadata: { continue: encodeContinue({ revision: -1, after: token.after }) },
          status: "Failure",
          message: inconsistentContinue,
          reason: "Expired",
          code: 410,
        },
      },
    });
  }
}

async function history(
  store: Store,
  { cache, type }: ResourceHandle,
  namespace: string,
  options: ListOptions,
  selection: Selection,
  revision: number,
  after: string,
): Promise<ListAnswer> {
  const prefix = cache.prefix + (namespace === "" ? "" : `${namespace}/`);
  const found: CacheEntry[] = [];
  // One more than asked for shows whether there is a next page.
  const wanted = options.limit > 0 ? options.limit + 1 : Number.POSITIVE_INFINITY;
  let at = after === "" ? undefined : cache.prefix + after;
  for (;;) {
    const { items, remaining } = await store.list({
      prefix,
      revision,
      limit: 1000,
      ...(at === undefined ? {} : { after: at }),
    });
    for (const item of items) {
      const entry = cache.entryOf(item);
      if (selection.match === undefined || selection.match(entry)) found.push(entry);
    }
    if (remaining === 0 || items.length === 0 || found.length >= wanted) {
      const answer = page(namespace, options, selection, found, revision, "", type.namespaced);
      if (answer.remaining !== undefined) answer.remaining += remaining;
      return answer;
    }
    at = items[items.length - 1]?.key;
  }
}
