import { errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { apply, deleteLinks, linkIndex, listLinks, setLink } from "#host/links.ts";
import type { NetlinkSocket } from "#host/netlink-socket.ts";

/**
 * Takes links away whose names are never used again. They are silent at once; deleting them is slow, so it is
 * done for many together a little later. Most have gone by then with their network namespace.
 */
export class LinkReaper {
  readonly #socket: NetlinkSocket;
  readonly #log: Logger;
  readonly #doomed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(socket: NetlinkSocket, log: Logger) {
    this.#socket = socket;
    this.#log = log;
  }

  /** Resolves when the link neither sends nor receives any more. */
  async reap(name: string): Promise<void> {
    const index = linkIndex(name);
    if (index === 0) return;
    await apply(this.#socket, [setLink(index, { up: false })], () => true);
    this.#doomed.add(name);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush().catch((error: unknown) => {
        this.#log.warn("Links could not be removed.", { error: errorMessage(error) });
      });
    }, 2_000);
    this.#timer.unref();
  }

  /** The same for who does not wait: what the reaper's socket is asked for later comes after it all the same. */
  reapSoon(name: string): void {
    this.reap(name).catch((error: unknown) => {
      this.#log.warn("A link could not be silenced.", { link: name, error: errorMessage(error) });
    });
  }

  /** Deletes what waits, now. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const names = new Set([...this.#doomed].filter((name) => linkIndex(name) > 0));
    this.#doomed.clear();
    if (names.size === 0) return;
    const kinds = new Map((await listLinks(this.#socket)).map(({ name, kind }) => [name, kind]));
    const bridges = [...names].filter((name) => kinds.get(name) === "bridge");
    for (const name of bridges) names.delete(name);
    await deleteLinks(this.#socket, [...names]);
    // Of bridges the kernel waits for each, also in one request, and nobody else could change a link meanwhile.
    for (const name of bridges) {
      if (this.#isClosed) return;
      await deleteLinks(this.#socket, [name]);
    }
  }

  /** What waits is left for the next start, which removes links without an owner. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
