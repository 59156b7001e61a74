/** What a few small steps on a disk that keeps up take at most, in milliseconds. */
const promptMs = 3;
/** For how long a disk that did not keep up is not asked in the event loop again. */
const pauseMs = 500;

let slowUntil = 0;

/**
 * A few small steps on the disk. At once, where it keeps up: to ask other threads takes several times as long as the
 * steps themselves. After it has let us wait, as while somebody has it write a lot, in other threads for a while, so
 * that only who needs the steps waits. Both ways must do the same.
 */
export async function diskSteps<T>(atOnce: () => T, inThreads: () => Promise<T>): Promise<T> {
  const began = performance.now();
  if (began < slowUntil) return inThreads();
  try {
    return atOnce();
  } finally {
    const now = performance.now();
    if (now - began > promptMs) slowUntil = now + pauseMs;
  }
}
