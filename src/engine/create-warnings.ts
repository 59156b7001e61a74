import { existsSync } from "node:fs";
import type { ContainerCreateBody, HostConfig } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { hasAppArmor } from "#host/apparmor.ts";

const invalid = (message: string): GantryError => new GantryError("invalid", message);

/** What a create asks for and Docker takes, but which has no effect here: one sentence for each. The CLI shows them. */
export function withoutEffect(body: ContainerCreateBody): string[] {
  const host = body.HostConfig ?? {};
  const isDiscarded = host.NetworkMode === "host" && Object.keys(host.PortBindings ?? {}).length > 0;
  return [
    ...(isDiscarded ? ["Published ports are discarded when using host network mode"] : []),
    ...mountWarnings(host),
    ...securityWarnings(host),
    ...logWarnings(host.LogConfig?.Config ?? {}),
  ];
}

/**
 * `z` and `Z`, where there is SELinux. Elsewhere the files are shared, or the container's own, as they are. A mount's
 * consistency is a leave to be less consistent, of which Linux makes no use.
 */
function mountWarnings(host: HostConfig): string[] {
  if (!existsSync("/sys/fs/selinux/enforce")) return [];
  const options = (host.Binds ?? []).flatMap((spec) => spec.split(":")[2]?.split(",") ?? []);
  return [...new Set(options.filter((option) => option === "z" || option === "Z"))].map(
    (option) => `Mount option "${option}" has no effect: files are not relabelled for SELinux.`,
  );
}

/** `unconfined` and `disable` ask for what is the case. */
function securityWarnings(host: HostConfig): string[] {
  const out: string[] = [];
  for (const option of host.SecurityOpt ?? []) {
    const [, name = "", value = ""] = /^([^=:]+)[=:]?([\s\S]*)$/.exec(option) ?? [];
    if (name === "label" && value !== "disable") {
      checkLabel(option, value);
      out.push(`Security option "${option}" has no effect: SELinux labels are not supported.`);
    }
    if (name === "apparmor" && value !== "unconfined" && !hasAppArmor) {
      out.push(`Security option "${option}" has no effect: this kernel has no AppArmor.`);
    }
  }
  return out;
}

/** The words are those of opencontainers/selinux, label.InitLabels. */
function checkLabel(option: string, value: string): void {
  const key = value.split(":", 1)[0] ?? "";
  if (!value.includes(":")) {
    throw invalid(
      `invalid --security-opt: bad label option "${value}", valid options 'disable' or 'user, role, level, type, filetype' followed by ':' and a value`,
    );
  }
  if (!["user", "role", "type", "level", "filetype"].includes(key)) {
    throw invalid(
      `invalid --security-opt: "${option}": bad label option "${value}", valid options 'disable, user, role, level, type, filetype'`,
    );
  }
}

/** Conmon has no ring of its own: a program whose output is not taken waits. */
function logWarnings(options: Readonly<Record<string, string>>): string[] {
  if (options["mode"] !== "non-blocking") return [];
  const names = options["max-buffer-size"] === undefined ? '"mode"' : '"mode" and "max-buffer-size"';
  return [`Log option ${names} has no effect: output is always written before the program goes on.`];
}
