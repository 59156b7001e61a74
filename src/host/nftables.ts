import koffi from "koffi";
import { GantryError } from "#base/errors.ts";
import { inNetworkNamespace } from "./network-namespace.ts";

interface NftLibrary {
  create: (flags: number) => unknown;
  free: { async(context: unknown, done: () => void): void };
  run: { async(context: unknown, text: string, done: (error: Error | null, status: number) => void): void };
  bufferError: (context: unknown) => number;
  bufferOutput: (context: unknown) => number;
  error: (context: unknown) => string;
}

let library: NftLibrary | undefined;

/** libnftables is what the `nft` program is made of: the same language, without starting a program each time. */
function nftLibrary(): NftLibrary {
  if (library !== undefined) return library;
  let loaded: ReturnType<typeof koffi.load>;
  try {
    loaded = koffi.load("libnftables.so.1");
  } catch (cause) {
    throw new GantryError("unsupported", "libnftables was not found. Install nftables: apt-get install nftables", {
      cause,
    });
  }
  library = {
    create: loaded.func("nft_ctx_new", "void *", ["uint32_t"]) as unknown as NftLibrary["create"],
    free: loaded.func("nft_ctx_free", "void", ["void *"]) as unknown as NftLibrary["free"],
    run: loaded.func("nft_run_cmd_from_buffer", "int", ["void *", "str"]) as unknown as NftLibrary["run"],
    bufferError: loaded.func("nft_ctx_buffer_error", "int", ["void *"]) as unknown as NftLibrary["bufferError"],
    bufferOutput: loaded.func("nft_ctx_buffer_output", "int", ["void *"]) as unknown as NftLibrary["bufferOutput"],
    error: loaded.func("nft_ctx_get_error_buffer", "str", ["void *"]) as unknown as NftLibrary["error"],
  };
  return library;
}

/**
 * A connection to the nftables of one network namespace. Each `apply` is one transaction: all of it happens or
 * nothing. Work is done in a worker thread, one transaction after the other.
 */
export class Nftables {
  readonly #library: NftLibrary;
  readonly #context: unknown;
  #tail: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** `netnsPath` names the namespace; without it, it is the process's own. */
  constructor(netnsPath?: string) {
    this.#library = nftLibrary();
    const open = (): unknown => this.#library.create(0);
    this.#context = netnsPath === undefined ? open() : inNetworkNamespace(netnsPath, open);
    this.#library.bufferError(this.#context);
    this.#library.bufferOutput(this.#context);
  }

  /** Runs nft's commands as one transaction. Throws with what nft says of them. */
  apply(commands: string): Promise<void> {
    if (commands === "") return Promise.resolve();
    const work = (): Promise<void> =>
      new Promise((resolve, reject) => {
        if (this.#closed) return reject(new GantryError("cancelled", "The nftables connection is closed."));
        this.#library.run.async(this.#context, commands, (error, status) => {
          if (error !== null) return reject(error);
          if (status === 0) return resolve();
          const text = this.#library.error(this.#context).trim();
          reject(new GantryError("internal", `nft: ${text}`, { data: { commands: commands.slice(0, 4_000) } }));
        });
      });
    const result = this.#tail.then(work, work);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** After what is under way. In a worker thread: the kernel waits for its readers when such a socket closes. */
  close(): void {
    if (this.#closed) return;
    const free = (): Promise<void> => {
      this.#closed = true;
      return new Promise((resolve) => this.#library.free.async(this.#context, () => resolve()));
    };
    this.#tail = this.#tail.then(free, free);
  }
}
