import type { LoggedLine } from "#api/container-runtime.ts";

const space = 0x20;
const wholeLine = 0x46;
const newline = 0x0a;

/**
 * One line of conmon's log, newline included: `TIME STREAM TAG TEXT` (kubelet, "CRI logging"). Tag F ends a line
 * of the program, P is a part of one and loses its newline. Undefined for what is no such line. The data shares
 * memory with `line`.
 */
export function parseLogLine(line: Buffer): LoggedLine | undefined {
  const first = line.indexOf(space);
  // `stdout` and `stderr` have six letters both, a tag has one.
  const second = first + 7;
  if (first < 0 || line[second] !== space || line[second + 2] !== space) return undefined;
  const stream = line.toString("latin1", first + 1, second);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const end = line[second + 1] === wholeLine || line[line.length - 1] !== newline ? line.length : line.length - 1;
  return { stream, time: utcTime(line.toString("latin1", 0, first)), data: line.subarray(second + 3, end) };
}

/** Conmon writes local time with an offset; docker shows UTC with nine digits. */
export function utcTime(text: string): string {
  if (text.length === 35 && text.endsWith("+00:00")) return `${text.slice(0, 29)}Z`;
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d+)([+-]\d\d:\d\d|Z)$/.exec(text);
  if (match === null) return text;
  const [, seconds, fraction, offset] = match as unknown as [string, string, string, string];
  const digits = fraction.padEnd(9, "0").slice(0, 9);
  if (offset === "Z" || offset === "+00:00") return `${seconds}.${digits}Z`;
  return `${new Date(`${seconds}${offset}`).toISOString().slice(0, 19)}.${digits}Z`;
}
