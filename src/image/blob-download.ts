import { setTimeout as sleep } from "node:timers/promises";
import { GantryError, errorCode } from "#base/errors.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import type { ContentStore } from "./content-store.ts";
import { asDigest } from "./digest.ts";
import type { Descriptor } from "./oci.ts";
import { PartialBlob } from "./partial-blob.ts";
import type { RegistryConfig } from "./registry-config.ts";
import type { Repository } from "./registry-client.ts";
import { networkError } from "./registry-errors.ts";

/** What a download tells: bytes so far, or that it waits before the next try. */
export interface DownloadEvents {
  onBytes?: (current: number) => void;
  onRetry?: (seconds: number) => void;
  /** Runs the transfer when its turn comes. The wait for the disk afterwards takes no turn from another transfer. */
  inTurn?: (transfer: () => Promise<void>) => Promise<void>;
}

/** However much comes each time: a server that drips must not keep us for ever. */
const maxTries = 100;
const lock = new KeyedLock();

/** Worth another try: the connection was cut, or the server failed. A server that says "too many" is not asked again. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof GantryError)) return false;
  const status = error.data["status"];
  if (typeof status === "number") return status >= 500;
  return error.data["network"] === true;
}

/**
 * Downloads a blob into the content store, verified, going on after cuts with a range request. Two downloads of
 * the same blob at once are one. Throws `invalid` when the content is not what the descriptor says.
 */
export async function downloadBlob(
  content: ContentStore,
  repository: Repository,
  descriptor: Descriptor,
  config: Pick<RegistryConfig, "maxDownloadAttempts" | "timeouts">,
  options: DownloadEvents & { signal?: AbortSignal | undefined },
): Promise<void> {
  const digest = asDigest(descriptor.digest);
  const work = async (): Promise<void> => {
    if (await content.has(digest)) return;
    const partial = await PartialBlob.open(content, digest, descriptor.size);
    try {
      const transfer = (): Promise<void> => downloadWhole(repository, partial, config, options);
      await (options.inTurn?.(transfer) ?? transfer());
      await partial.commit();
    } catch (error) {
      if (options.signal?.aborted && errorCode(error) === "cancelled")
        throw new GantryError("cancelled", "context canceled", { cause: error });
      throw error;
    } finally {
      await partial.close();
    }
  };
  await lock.run(content.path(digest), work, options.signal);
}

async function downloadWhole(
  repository: Repository,
  partial: PartialBlob,
  config: Pick<RegistryConfig, "maxDownloadAttempts" | "timeouts">,
  options: DownloadEvents & { signal?: AbortSignal | undefined },
): Promise<void> {
  let fruitless = 0;
  for (let tries = 0; partial.offset < partial.size || tries === 0; tries++) {
    options.signal?.throwIfAborted();
    const before = partial.offset;
    if (before === partial.size) break;
    try {
      await downloadRest(repository, partial, options);
    } catch (error) {
      if (options.signal?.aborted || !isPassing(error)) throw error;
      fruitless = partial.offset > before ? 0 : fruitless + 1;
      if (fruitless >= config.maxDownloadAttempts || tries >= maxTries) throw error;
      const wait = config.timeouts.retry * 2 ** Math.min(fruitless, 6);
      options.onRetry?.(Math.ceil(wait / 1000));
      await sleep(wait, undefined, options.signal === undefined ? {} : { signal: options.signal });
    }
  }
}

async function downloadRest(repository: Repository, partial: PartialBlob, options: DownloadEvents): Promise<void> {
  const { body, offset, url, isWhole } = await repository.blob(partial.digest, partial.offset);
  if (offset !== partial.offset) await partial.restart();
  if (offset !== partial.offset) {
    body.destroy();
    throw new GantryError("unavailable", `the registry sent another range of ${partial.digest} than was asked for`, {
      data: { network: true },
    });
  }
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      await partial.write(chunk);
      options.onBytes?.(partial.offset);
    }
  } catch (error) {
    body.destroy();
    throw networkError("GET", url, error);
  }
  // An answer that was all there is, and came to its end: asking again would bring the same.
  if (isWhole && partial.offset < partial.size) await partial.refuse();
  if (partial.offset < partial.size)
    throw new GantryError("unavailable", "unexpected EOF", { data: { network: true } });
}
