import { GantryError } from "#base/errors.ts";
import { parseSignal } from "#base/signal.ts";
import type { ImageRuntimeConfig } from "./oci.ts";

const bad = (message: string): GantryError => new GantryError("invalid", message);

/** Splits at white space that is neither quoted nor escaped, and takes the quotes off (Dockerfile words). */
function words(text: string): string[] {
  const out: string[] = [];
  let word = "";
  let inWord = false;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (char === "\\" && at + 1 < text.length && quote !== "'") {
      word += text[++at] as string;
      inWord = true;
    } else if (quote !== "") {
      if (char === quote) quote = "";
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      inWord = true;
    } else if (/\s/.test(char)) {
      if (inWord) out.push(word);
      word = "";
      inWord = false;
    } else {
      word += char;
      inWord = true;
    }
  }
  if (inWord) out.push(word);
  return out;
}

/** `["a", "b"]`, or undefined when it is none. */
function jsonList(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((each) => typeof each === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}

function command(text: string, shell: readonly string[]): string[] {
  return jsonList(text) ?? [...shell, text];
}

/** `A=b C="d e"`, or the old form `A b c`. */
function assignments(instruction: string, text: string): [string, string][] {
  const first = words(text)[0] ?? "";
  if (!first.includes("=")) {
    const match = /^(\S+)\s+([\s\S]+)$/.exec(text);
    if (match === null) throw bad(`${instruction} must have two arguments`);
    return [[match[1] as string, match[2] as string]];
  }
  return words(text).map((word) => {
    const equals = word.indexOf("=");
    if (equals < 0)
      throw bad(`Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`);
    if (equals === 0) throw bad(`${instruction} names can not be blank`);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

const units: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

/** A Go duration (`1m30s`) in nanoseconds. */
function duration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (text !== "0" && (parts.length === 0 || parts.map((part) => part[0]).join("") !== text))
    throw bad(`time: invalid duration ${JSON.stringify(text)}`);
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units[unit as string] as number), 0);
}

function healthcheck(text: string, shell: readonly string[]): NonNullable<ImageRuntimeConfig["Healthcheck"]> {
  const out: NonNullable<ImageRuntimeConfig["Healthcheck"]> = {};
  let rest = text;
  for (;;) {
    const flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest);
    if (flag === null) break;
    const [all, name, value] = flag as unknown as [string, string, string];
    rest = rest.slice(all.length);
    if (name === "interval") out.Interval = duration(value);
    else if (name === "timeout") out.Timeout = duration(value);
    else if (name === "start-period") out.StartPeriod = duration(value);
    else if (name === "start-interval") out.StartInterval = duration(value);
    else if (name === "retries") out.Retries = Number(value);
    else throw bad(`unknown flag: --${name}`);
  }
  if (/^none$/i.test(rest)) return { Test: ["NONE"] };
  const match = /^cmd\s+([\s\S]+)$/i.exec(rest);
  if (match === null) throw bad(`Unknown type ${JSON.stringify(rest.split(/\s/)[0])} in HEALTHCHECK (try CMD)`);
  const line = match[1] as string;
  const list = jsonList(line);
  out.Test = list === undefined ? ["CMD-SHELL", line] : ["CMD", ...list];
  if (shell.length === 0) throw bad("HEALTHCHECK needs a shell");
  return out;
}

/** A port as the config keys it: `80/tcp`. */
function ports(text: string): string[] {
  return words(text).flatMap((word) => {
    const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/i.exec(word);
    if (match === null) throw bad(`invalid containerPort: ${word}`);
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from < 1 || to > 65535 || to < from) throw bad(`invalid containerPort: ${word}`);
    const protocol = (match[3] ?? "tcp").toLowerCase();
    return Array.from({ length: to - from + 1 }, (_, at) => `${from + at}/${protocol}`);
  });
}

const setEnv = (env: readonly string[], name: string, value: string): string[] => {
  const at = env.findIndex((each) => each.startsWith(`${name}=`));
  return at < 0 ? [...env, `${name}=${value}`] : env.with(at, `${name}=${value}`);
};

/** Docker's list (moby, builder/dockerfile: validCommitCommands). */
const changeCommands = new Set([
  "CMD",
  "ENTRYPOINT",
  "ENV",
  "EXPOSE",
  "HEALTHCHECK",
  "LABEL",
  "ONBUILD",
  "STOPSIGNAL",
  "USER",
  "VOLUME",
  "WORKDIR",
]);

/**
 * Applies the Dockerfile instructions of `docker commit -c` and `docker import -c`: CMD, ENTRYPOINT, ENV, EXPOSE,
 * HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Throws `invalid` in docker's words.
 */
export function applyChanges(config: ImageRuntimeConfig, changes: readonly string[]): ImageRuntimeConfig {
  const out: ImageRuntimeConfig = { ...config };
  for (const line of changes.flatMap((each) => each.split("\n")).map((each) => each.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const space = line.search(/\s/);
    const instruction = (space < 0 ? line : line.slice(0, space)).toUpperCase();
    const rest = space < 0 ? "" : line.slice(space).trim();
    const shell = out.Shell ?? ["/bin/sh", "-c"];
    if (!changeCommands.has(instruction)) throw bad(`${instruction} is not a valid change command`);
    if (["USER", "STOPSIGNAL", "WORKDIR"].includes(instruction) && rest === "")
      throw bad(`${instruction} requires exactly one argument`);
    if (rest === "" && !["CMD", "ENTRYPOINT"].includes(instruction))
      throw bad(`${instruction} requires at least one argument`);
    switch (instruction) {
      case "CMD":
        out.Cmd = rest === "" ? [] : command(rest, shell);
        break;
      case "ENTRYPOINT":
        out.Entrypoint = rest === "" ? null : command(rest, shell);
        break;
      case "ENV":
        for (const [name, value] of assignments("ENV", rest)) out.Env = setEnv(out.Env ?? [], name, value);
        break;
      case "LABEL":
        out.Labels = { ...out.Labels, ...Object.fromEntries(assignments("LABEL", rest)) };
        break;
      case "EXPOSE":
        out.ExposedPorts = { ...out.ExposedPorts, ...Object.fromEntries(ports(rest).map((port) => [port, {}])) };
        break;
      case "VOLUME":
        out.Volumes = {
          ...out.Volumes,
          ...Object.fromEntries((jsonList(rest) ?? words(rest)).map((path) => [path, {}])),
        };
        break;
      case "WORKDIR":
        out.WorkingDir = rest.startsWith("/") ? rest : `${(out.WorkingDir ?? "").replace(/\/$/, "")}/${rest}`;
        break;
      case "USER":
        out.User = rest;
        break;
      case "STOPSIGNAL":
        parseSignal(rest);
        out.StopSignal = rest;
        break;
      case "ONBUILD":
        if (/^(onbuild|from|maintainer)\b/i.test(rest))
          throw bad(
            /^onbuild/i.test(rest)
              ? "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
              : `${rest.split(/\s/)[0]?.toUpperCase()} isn't allowed as an ONBUILD trigger`,
          );
        out.OnBuild = [...(out.OnBuild ?? []), rest];
        break;
      case "HEALTHCHECK":
        out.Healthcheck = healthcheck(rest, shell);
        break;
    }
  }
  return out;
}
