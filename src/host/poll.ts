import koffi from "koffi";
import { closeFd, duplicateFd } from "./descriptors.ts";

/** A watch on a descriptor's readiness in the event loop. */
export interface ReadinessWatch {
  /** Ends the watch; the descriptor stays open and is the caller's. */
  close(): void;
  /** Lets the process end although the watch is there. */
  unref(): void;
}

const nothing = (): void => {};

/**
 * koffi calls back from libuv without Node's callback scope: promises that were settled meanwhile would wait
 * for the next event of another kind. An immediate ends the loop's wait and lets them run.
 */
function settlePromises(): void {
  setImmediate(nothing);
}

/**
 * Calls `onReady` whenever the descriptor can be read (or has hung up): level-triggered, in the event loop, for
 * anything that poll(2) takes, such as pidfds, sockets of any kind, inotify and event descriptors. Costs no thread.
 */
export function watchReadable(fd: number, onReady: (event: { hangUp: boolean }) => void): ReadinessWatch {
  const handle = koffi.node.poll(fd, { readable: true, disconnect: true }, (event) => {
    onReady({ hangUp: event.disconnect });
    settlePromises();
  });
  return { close: () => handle.close(), unref: () => handle.unref() };
}

/**
 * Like `watchReadable`, for room to write; `onReady` is called once. The watch has a descriptor of its own, since
 * libuv takes each only once and somebody may be watching this one for reading.
 */
export function onceWritable(fd: number, onReady: () => void): ReadinessWatch {
  const own = duplicateFd(fd);
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    handle.close();
    closeFd(own);
  };
  const handle = koffi.node.poll(own, { writable: true, disconnect: true }, () => {
    close();
    onReady();
    settlePromises();
  });
  return { close, unref: () => handle.unref() };
}
