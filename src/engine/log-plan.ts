import type { LogPlan } from "#api/container-runtime.ts";
import { GantryError } from "#base/errors.ts";
import type { Container } from "./container.ts";
import type { EngineDefaults } from "./engine-options.ts";

const units: Record<string, number> = { "": 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** `10m` as bytes; -1 is none. Throws docker's sentence. */
export function parseSize(text: string): number {
  if (text === "-1") return 0;
  const match = /^(\d+)\s*([bkmg]?)b?$/i.exec(text);
  if (match === null) throw new GantryError("invalid", `invalid size: '${text}'`);
  return Number(match[1]) * (units[(match[2] as string).toLowerCase()] as number);
}

/** Where and how a container's output is kept. */
export function logPlan(container: Container, defaults: Pick<EngineDefaults, "logDriver" | "logOptions">): LogPlan {
  const { record, hostConfig } = container;
  if (container.isPod)
    return { format: record.LogPath === "" ? "none" : "cri", path: record.LogPath, maxSize: 0, maxFiles: 1 };
  const driver = hostConfig.LogConfig?.Type || defaults.logDriver;
  const options = { ...(hostConfig.LogConfig?.Type ? {} : defaults.logOptions), ...hostConfig.LogConfig?.Config };
  // docker's local driver rotates by itself.
  const isLocal = driver === "local";
  return {
    format: driver === "none" ? "none" : "json-file",
    path: record.LogPath,
    maxSize: parseSize(options["max-size"] ?? (isLocal ? "20m" : "-1")),
    maxFiles: Number(options["max-file"] ?? (isLocal ? 5 : 1)),
  };
}
