import { constants } from "node:os";
import { errnoName, lastErrno, rawSyscall, syscallNumbers, check, systemError } from "./libc.ts";
import { closeFd } from "./descriptors.ts";
import { watchReadable } from "./poll.ts";

/** `SIGTERM`, `TERM` or 15. */
export type Signal = NodeJS.Signals | number;

/** The number of a signal. Real-time signals are plain numbers. */
export function signalNumber(signal: Signal): number {
  return typeof signal === "number" ? signal : constants.signals[signal];
}

const namesOfSignals = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
namesOfSignals.set(6, "SIGABRT");
namesOfSignals.set(29, "SIGIO");

/** `SIGKILL` for 9; `SIG35` for one without a name. */
export function signalName(number: number): string {
  return namesOfSignals.get(number) ?? `SIG${number}`;
}

/** A descriptor that stands for a process, whatever happens to its pid. Throws `not-found` when there is none. */
export function pidfdOpen(pid: number): number {
  return check(rawSyscall(syscallNumbers.pidfdOpen, "ll", pid, 0), "pidfd_open", { pid });
}

/** Sends a signal through a pidfd; false when the process has gone. */
export function pidfdSendSignal(pidfd: number, signal: Signal): boolean {
  if (rawSyscall(syscallNumbers.pidfdSendSignal, "llpl", pidfd, signalNumber(signal), null, 0) === 0) return true;
  const errno = lastErrno();
  if (errnoName(errno) === "ESRCH") return false;
  throw systemError("pidfd_send_signal", errno);
}

/** A watch on the end of any process, child or not. */
export interface ProcessWatch {
  /** Resolves when the process has ended (also if it had before). Never rejects. */
  ended: Promise<void>;
  /** Sends a signal to this very process; false when it has gone. */
  signal(signal: Signal): boolean;
  /** Stops watching; `ended` then never resolves. */
  close(): void;
  unref(): void;
}

/** Watches a process by its pid. Resolves at once when there is no such process. */
export function watchProcess(pid: number): ProcessWatch {
  let fd = -1;
  try {
    fd = pidfdOpen(pid);
  } catch {
    return { ended: Promise.resolve(), signal: () => false, close: () => {}, unref: () => {} };
  }
  let close = (): void => {};
  let unref = (): void => {};
  const ended = new Promise<void>((resolve) => {
    const watch = watchReadable(fd, () => {
      close();
      resolve();
    });
    unref = () => watch.unref();
    close = () => {
      if (fd < 0) return;
      watch.close();
      closeFd(fd);
      fd = -1;
    };
  });
  return {
    ended,
    signal: (signal) => fd >= 0 && pidfdSendSignal(fd, signal),
    close: () => close(),
    unref: () => unref(),
  };
}
