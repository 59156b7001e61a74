import { GantryError } from "./errors.ts";

const signalNames = new Map(
  Object.entries({
    ABRT: 6,
    ALRM: 14,
    BUS: 7,
    CHLD: 17,
    CLD: 17,
    CONT: 18,
    FPE: 8,
    HUP: 1,
    ILL: 4,
    INT: 2,
    IO: 29,
    IOT: 6,
    KILL: 9,
    PIPE: 13,
    POLL: 29,
    PROF: 27,
    PWR: 30,
    QUIT: 3,
    SEGV: 11,
    STKFLT: 16,
    STOP: 19,
    SYS: 31,
    TERM: 15,
    TRAP: 5,
    TSTP: 20,
    TTIN: 21,
    TTOU: 22,
    URG: 23,
    USR1: 10,
    USR2: 12,
    VTALRM: 26,
    WINCH: 28,
    XCPU: 24,
    XFSZ: 25,
    RTMIN: 34,
    RTMAX: 64,
  }),
);

/**
 * `SIGTERM`, `term`, `15`, `RTMIN+3` as a number. Throws docker's sentence. As there, a number is taken as it is: the
 * kernel may not have it.
 */
export function parseSignal(text: string): number {
  const refused = (): GantryError => new GantryError("invalid", `invalid signal: ${text}`);
  if (/^[+-]?\d+$/.test(text)) {
    const number = Number(text);
    if (number === 0) throw refused();
    return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, "");
  const known = signalNames.get(name);
  if (known !== undefined) return known;
  const relative = /^RT(MIN\+|MAX-)(\d+)$/.exec(name);
  if (relative === null) throw refused();
  const number = relative[1] === "MIN+" ? 34 + Number(relative[2]) : 64 - Number(relative[2]);
  if (number < 34 || number > 64) throw refused();
  return number;
}
