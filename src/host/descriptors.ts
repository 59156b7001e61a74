import { bind, check } from "./libc.ts";

const closeCall = bind("close", "int", ["int"]);
const pipe2 = bind("pipe2", "int", ["void *", "int"]);
const fcntl = bind("fcntl", "int", ["int", "int", "int"]);
const flockCall = bind("flock", "int", ["int", "int"]);

const oCloexec = 0o2000000;
const fDupfdCloexec = 1030;

/** Closes a raw descriptor at once. Errors are ignored, as there is nothing to do about them. */
export function closeFd(fd: number): void {
  if (fd >= 0) closeCall(fd);
}

/** A pipe whose ends are not inherited by children. */
export function makePipe(): { readEnd: number; writeEnd: number } {
  const pair = Buffer.alloc(8);
  check(pipe2(pair, oCloexec), "pipe2");
  return { readEnd: pair.readInt32LE(0), writeEnd: pair.readInt32LE(4) };
}

/** A copy of `fd`, numbered `atLeast` or higher, not inherited by children. */
export function duplicateFd(fd: number, atLeast = 3): number {
  return check(fcntl(fd, fDupfdCloexec, atLeast), "fcntl");
}

/** Takes an exclusive lock on an open file without waiting; false when somebody else has it. */
export function tryLock(fd: number): boolean {
  const lockExclusiveNonblocking = 2 | 4;
  return flockCall(fd, lockExclusiveNonblocking) === 0;
}
