import type { LogPlan } from "#api/container-runtime.ts";
import { GantryError } from "#base/errors.ts";
import type { Container } from "./container.ts";
import type { EngineDefaults } from "./engine-options.ts";
import { logAttributes } from "./log-attributes.ts";
import { logBounds } from "./log-options.ts";

/** Where and how a container's output is kept. Throws `invalid` for options with values that mean nothing. */
export function logPlan(container: Container, defaults: Pick<EngineDefaults, "logDriver" | "logOptions">): LogPlan {
  const { record, hostConfig } = container;
  if (container.isPod) {
    const format = record.LogPath === "" ? "none" : "cri";
    return { format, path: record.LogPath, maxSize: 0, maxFiles: 1, compress: false };
  }
  const driver = hostConfig.LogConfig?.Type || defaults.logDriver;
  const options = hostConfig.LogConfig?.Type ? (hostConfig.LogConfig.Config ?? {}) : defaults.logOptions;
  return { format: driver === "none" ? "none" : "json-file", path: record.LogPath, ...logBounds(driver, options) };
}

/** The plan of a log that is to be written to: what is wrong with its options keeps the container from starting. */
export function openingLogPlan(...about: Parameters<typeof logPlan>): LogPlan {
  try {
    logAttributes(about[0]);
    return logPlan(...about);
  } catch (cause) {
    throw new GantryError(
      "internal",
      `failed to create task for container: failed to initialize logging driver: ${(cause as Error).message}`,
      { cause },
    );
  }
}
