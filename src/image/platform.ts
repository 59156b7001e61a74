import { GantryError } from "#base/errors.ts";
import type { Image } from "./image-store.ts";
import { hostPlatform, type Platform } from "./oci.ts";

const systems = ["linux", "windows", "darwin", "freebsd"];
const architectures = ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"];

/** `linux/arm64/v8` as a platform (containerd, platforms.Parse). Throws `invalid`. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3)
    throw new GantryError("invalid", `${JSON.stringify(text)}: cannot parse platform specifier: invalid argument`);
  const bad = parts.find((part) => !/^[a-z0-9_.-]+$/.test(part));
  if (bad !== undefined)
    throw new GantryError(
      "invalid",
      `${JSON.stringify(bad)} is an invalid component of ${JSON.stringify(text)}: platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument`,
    );
  const [first, second, third] = parts as [string, string?, string?];
  if (second === undefined) {
    if (systems.includes(first)) return { ...hostPlatform(), os: first };
    const platform = { ...architectureOf(first), os: "linux" };
    if (architectures.includes(platform.architecture)) return platform;
    throw new GantryError(
      "invalid",
      `${JSON.stringify(text)}: unknown operating system or architecture: invalid argument`,
    );
  }
  return { os: first, ...architectureOf(second), ...(third === undefined ? {} : { variant: third }) };
}

function architectureOf(name: string): { architecture: string; variant?: string } {
  if (name === "x86_64" || name === "x86-64") return { architecture: "amd64" };
  if (name === "aarch64") return { architecture: "arm64", variant: "v8" };
  return { architecture: name };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

const variantOf = ({ architecture, variant }: Platform): string => variant ?? (architecture === "arm64" ? "v8" : "");

/** Whether what was built for `platform` is what is asked for; one that names no variant fits all. */
export function fitsPlatform(platform: Platform, wanted: Platform): boolean {
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return false;
  return wanted.variant === undefined || variantOf(platform) === variantOf(wanted);
}

/** Throws docker's sentence, with `not-found`, when an image is for another platform than the one asked for. */
export function requirePlatform(image: Image, name: string, wanted: Platform | undefined): void {
  if (wanted === undefined || fitsPlatform(image.config, wanted)) return;
  throw new GantryError(
    "not-found",
    `image with reference ${name} was found but its platform (${formatPlatform(image.config)}) does not match the specified platform (${formatPlatform(wanted)})`,
  );
}
