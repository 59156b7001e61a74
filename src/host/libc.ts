import koffi, { type KoffiFunc } from "koffi";
import { type ErrorCode, GantryError } from "#base/errors.ts";

/**
 * The one way to the C library. Everything in `host` that calls the kernel binds its functions here; nothing
 * outside `host` does. Arguments are numbers, bigints, byte arrays (passed as pointers) and null.
 */
export type CArgument = number | bigint | Uint8Array | null;
type CFunction = (...args: CArgument[]) => number;

const library = koffi.load(null);

/** Binds a C function whose arguments are of the koffi types in `args`. `long` results are numbers. */
export function bind(name: string, result: string, args: string[]): CFunction {
  let bound: CFunction | undefined;
  return (...values) => {
    bound ??= library.func(name, result, args) as unknown as CFunction;
    return bound(...values);
  };
}

/**
 * Binds a C function that takes its time: it runs in a thread of libuv's pool. The result is its own; what errno was
 * is not told. Arguments must not be changed meanwhile.
 */
export function bindInThread(name: string, result: string, args: string[]): (...args: CArgument[]) => Promise<number> {
  let bound: KoffiFunc<CFunction> | undefined;
  return (...values) =>
    new Promise((resolve, reject) => {
      bound ??= library.func(name, result, args);
      bound.async(...values, (error: Error | null, returned: number) => {
        if (error === null) resolve(returned);
        else reject(error);
      });
    });
}

/** True when the C library has the symbol. */
export function hasSymbol(name: string): boolean {
  try {
    return library.symbol(name) !== null;
  } catch {
    return false;
  }
}

/** A path: text (UTF-8), or raw bytes where a name need not be UTF-8. */
export type Path = string | Uint8Array;

/** NUL-terminated bytes of a path or word. Throws `invalid` when it has a NUL in it, which C would cut at. */
export function cString(value: Path): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(`${value}\0`) : Buffer.concat([value, Buffer.alloc(1)]);
  if (bytes.indexOf(0) !== bytes.length - 1) {
    throw new GantryError("invalid", "A path or argument must not have a NUL character in it.");
  }
  return bytes;
}

const namesOfErrno = new Map<number, string>();
for (const [name, value] of Object.entries(koffi.os.errno)) {
  if (!namesOfErrno.has(value)) namesOfErrno.set(value, name);
}
namesOfErrno.set(11, "EAGAIN");
namesOfErrno.set(95, "EOPNOTSUPP");

/** `EBUSY` for 16. */
export function errnoName(errno: number): string {
  return namesOfErrno.get(errno) ?? `E${errno}`;
}

const codes: Record<string, ErrorCode> = {
  ENOENT: "not-found",
  ESRCH: "not-found",
  EEXIST: "already-exists",
  EBUSY: "conflict",
  ENOTEMPTY: "conflict",
  EPERM: "forbidden",
  EACCES: "forbidden",
  EINVAL: "invalid",
  ENAMETOOLONG: "invalid",
  ENOTDIR: "invalid",
  ELOOP: "invalid",
  ENOSYS: "unsupported",
  EOPNOTSUPP: "unsupported",
  EAGAIN: "unavailable",
  ENOSPC: "exhausted",
  EDQUOT: "exhausted",
  EMFILE: "exhausted",
  ENFILE: "exhausted",
  ENOMEM: "exhausted",
};

const strerror = bind("strerror", "str", ["int"]) as unknown as (errno: number) => string;

/**
 * The error of a failed system call. `data` has `errno` (its name), `syscall` and the given facts.
 */
export function systemError(syscall: string, errno: number, facts: Record<string, unknown> = {}): GantryError {
  const name = errnoName(errno);
  const subject = facts["path"] === undefined ? "" : ` ${String(facts["path"])}`;
  const text = strerror(errno).toLowerCase();
  return new GantryError(codes[name] ?? "internal", `${syscall}${subject}: ${text}`, {
    data: { errno: name, syscall, ...facts },
  });
}

/** Returns a call's result, or throws its error when the result is negative. */
export function check(result: number, syscall: string, facts?: Record<string, unknown>): number {
  if (result >= 0) return result;
  throw systemError(syscall, koffi.errno(), facts);
}

/** Where a byte array's memory is. Only good while the array is alive and in use. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** errno of the last call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** The errno name (`ENOENT`) of an error thrown by `host` or by Node's fs, else undefined. */
export function errnoOf(thrown: unknown): string | undefined {
  if (thrown instanceof GantryError) return thrown.data["errno"] as string | undefined;
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") return thrown.code;
  return undefined;
}

/** For `syscall(2)`: the numbers of calls that have no wrapper in older C libraries. Same on x86-64 and arm64. */
export const syscallNumbers = {
  pidfdSendSignal: 424,
  openTree: 428,
  moveMount: 429,
  pidfdOpen: 434,
  openat2: 437,
  mountSetattr: 442,
} as const;

/** `syscall(2)` with up to five arguments, pointers as byte arrays at the places that `shape` marks with `p`. */
const shapes = new Map<string, CFunction>();
export function rawSyscall(number: number, shape: string, ...values: CArgument[]): number {
  let bound = shapes.get(shape);
  if (bound === undefined) {
    bound = bind("syscall", "long", ["long", ...[...shape].map((kind) => (kind === "p" ? "void *" : "long"))]);
    shapes.set(shape, bound);
  }
  return bound(number, ...values);
}
