import type { LoggedLine } from "#api/container-runtime.ts";

const space = 0x20;
const wholeLine = 0x46;
const newline = 0x0a;

/** `2026-01-02T03:04:05.000000006+00:00`: what conmon writes. */
const usualTime = 35;
const letterO = 0x6f;
const letterE = 0x65;

/** A line of the log: a whole line of the program, or a piece of one. */
export interface LogFragment extends LoggedLine {
  /** The program's line ends here; its newline is there. */
  isEnd: boolean;
}

/** A line whose time is worked out when somebody asks for it: most readers do not. */
class ParsedLine implements LogFragment {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
  readonly isEnd: boolean;
  readonly #line: Buffer;
  readonly #timeEnd: number;

  constructor(stream: "stdout" | "stderr", line: Buffer, timeEnd: number, data: Buffer, isEnd: boolean) {
    this.stream = stream;
    this.data = data;
    this.isEnd = isEnd;
    this.#line = line;
    this.#timeEnd = timeEnd;
  }

  get time(): string {
    return utcTime(this.#line.toString("latin1", 0, this.#timeEnd));
  }
}

/** Which stream a word of six letters at `at` names. */
function streamAt(line: Buffer, at: number): "stdout" | "stderr" | undefined {
  // The fourth letter tells them apart; the whole word is looked at, as anybody may have written the file.
  const stream = line[at + 3] === letterO ? "stdout" : line[at + 3] === letterE ? "stderr" : undefined;
  return stream !== undefined && line.toString("latin1", at, at + 6) === stream ? stream : undefined;
}

/**
 * One line of conmon's log, newline included: `TIME STREAM TAG TEXT` (kubelet, "CRI logging"). Tag F ends a line
 * of the program, P is a part of one and loses its newline. Undefined for what is no such line. The data shares
 * memory with `line`.
 */
export function parseLogLine(line: Buffer): LogFragment | undefined {
  const first = line[usualTime] === space ? usualTime : line.indexOf(space);
  // `stdout` and `stderr` have six letters both, a tag has one.
  const second = first + 7;
  if (first < 0 || line[second] !== space || line[second + 2] !== space) return undefined;
  const stream = streamAt(line, first + 1);
  if (stream === undefined || line[line.length - 1] !== newline) return undefined;
  const isEnd = line[second + 1] === wholeLine;
  return new ParsedLine(stream, line, first, line.subarray(second + 3, isEnd ? line.length : line.length - 1), isEnd);
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
