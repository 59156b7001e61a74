import { closeSync, openSync, readFileSync, readSync, fstatSync } from "node:fs";
import type { PodContainerStatus } from "#api/pod-runtime.ts";
import { runtimeAnnotations } from "./runtime-view.ts";

const maxMessage = 4096;
const maxLogMessage = 2048;
const maxLogLines = 80;

/** What a container that ended has left: its message file, or by policy the end of its log, else the runtime's word. */
export function terminationMessage(status: PodContainerStatus): string {
  const file = status.annotations[runtimeAnnotations.terminationMessageFile];
  const policy = status.annotations[runtimeAnnotations.terminationMessagePolicy];
  let message = file === undefined ? "" : headOf(file);
  if (message === "" && policy === "FallbackToLogsOnError" && status.exitCode !== 0)
    message = tailOfLog(status.logPath);
  if (message !== "" && status.message !== "") return `${status.message}: ${message}`;
  return message === "" ? status.message : message;
}

function headOf(path: string): string {
  try {
    return readFileSync(path).subarray(0, maxMessage).toString("utf8");
  } catch {
    return "";
  }
}

function tailOfLog(path: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch {
    return "";
  }
  try {
    const size = fstatSync(descriptor).size;
    // CRI lines carry about 50 bytes before the text.
    const length = Math.min(size, 4 * maxLogMessage);
    const buffer = Buffer.alloc(length);
    readSync(descriptor, buffer, 0, length, size - length);
    const lines = buffer
      .toString("utf8")
      .split("\n")
      .filter((line) => line !== "");
    if (length < size) lines.shift();
    const texts = lines.slice(-maxLogLines).map((line) => {
      const [, , tag, ...rest] = line.split(" ");
      return rest.join(" ") + (tag === "P" ? "" : "\n");
    });
    return Buffer.from(texts.join("")).subarray(-maxLogMessage).toString("utf8");
  } finally {
    closeSync(descriptor);
  }
}
