import type { ContainerConfig, HealthConfig } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import type { ImageRuntimeConfig } from "#image/oci.ts";

/** docker's `strslice`: a lone string is one argument. */
export function words(value: string[] | string | null | undefined): string[] | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? [value] : value;
}

/**
 * A container's configuration from what the user gave and what the image says (moby, image/cache/merge and
 * daemon/commit.go): the user's entrypoint drops the image's command; environment, labels, ports and volumes
 * are joined. Throws `no command specified`.
 */
export function mergeConfig(user: ContainerConfig, image: ImageRuntimeConfig): ContainerConfig {
  const userEntrypoint = words(user.Entrypoint);
  const userCmd = words(user.Cmd);
  let entrypoint = userEntrypoint;
  let cmd = userCmd;
  if (userEntrypoint === null || userEntrypoint.length === 0) {
    if (userCmd === null || userCmd.length === 0) cmd = image.Cmd ?? null;
    // [""] resets the image's entrypoint.
    if (userEntrypoint === null) entrypoint = image.Entrypoint ?? null;
  }
  if (entrypoint !== null && entrypoint.length === 1 && entrypoint[0] === "") entrypoint = [];
  if ((entrypoint ?? []).length === 0 && (cmd ?? []).length === 0)
    throw new GantryError("invalid", "no command specified");
  const env = [...(user.Env ?? [])];
  const set = new Set(env.map((text) => text.split("=", 1)[0]));
  for (const text of image.Env ?? []) if (!set.has(text.split("=", 1)[0])) env.push(text);
  const health = mergeHealth(user.Healthcheck, image.Healthcheck);
  return {
    Hostname: user.Hostname ?? "",
    Domainname: user.Domainname ?? "",
    User: user.User || image.User || "",
    AttachStdin: user.AttachStdin ?? false,
    AttachStdout: user.AttachStdout ?? false,
    AttachStderr: user.AttachStderr ?? false,
    ...joined("ExposedPorts", { ...image.ExposedPorts, ...user.ExposedPorts } as Record<string, Record<string, never>>),
    Tty: user.Tty ?? false,
    OpenStdin: user.OpenStdin ?? false,
    StdinOnce: user.StdinOnce ?? false,
    Env: env.length === 0 ? null : env,
    Cmd: cmd,
    ...(health === undefined ? {} : { Healthcheck: health }),
    Image: user.Image ?? "",
    Volumes: nullIfEmpty({ ...image.Volumes, ...user.Volumes } as Record<string, Record<string, never>>),
    WorkingDir: user.WorkingDir || image.WorkingDir || "",
    Entrypoint: entrypoint !== null && entrypoint.length === 0 ? null : entrypoint,
    ...(user.NetworkDisabled === true ? { NetworkDisabled: true } : {}),
    ...(user.MacAddress ? { MacAddress: user.MacAddress } : {}),
    OnBuild: null,
    Labels: { ...image.Labels, ...user.Labels },
    ...joined("StopSignal", user.StopSignal || image.StopSignal),
    ...joined("StopTimeout", user.StopTimeout),
    ...joined("Shell", image.Shell ?? user.Shell ?? undefined),
  };
}

function nullIfEmpty<T extends object>(value: T): T | null {
  return Object.keys(value).length === 0 ? null : value;
}

function joined(key: string, value: unknown): Record<string, unknown> {
  if (value === undefined || value === null || value === "") return {};
  if (typeof value === "object" && Object.keys(value).length === 0) return {};
  return { [key]: value };
}

function mergeHealth(user: HealthConfig | undefined, image: HealthConfig | undefined): HealthConfig | undefined {
  if (user === undefined) return image;
  if (image === undefined) return user;
  return {
    Test: user.Test === undefined || user.Test.length === 0 ? (image.Test ?? []) : user.Test,
    Interval: user.Interval || image.Interval || 0,
    Timeout: user.Timeout || image.Timeout || 0,
    StartPeriod: user.StartPeriod || image.StartPeriod || 0,
    StartInterval: user.StartInterval || image.StartInterval || 0,
    Retries: user.Retries || image.Retries || 0,
  };
}

/** The program and its arguments: entrypoint, then command. */
export function commandLine(config: ContainerConfig): string[] {
  return [...(words(config.Entrypoint) ?? []), ...(words(config.Cmd) ?? [])];
}
