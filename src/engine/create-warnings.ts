import { existsSync } from "node:fs";
import type { ContainerCreateBody, HostConfig } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";

const invalid = (message: string): GantryError => new GantryError("invalid", message);

/** What a create asks for and Docker takes, but which has no effect here: one sentence for each. The CLI shows them. */
export function withoutEffect(body: ContainerCreateBody): string[] {
  const host = body.HostConfig ?? {};
  return [...mountWarnings(host), ...securityWarnings(host), ...logWarnings(host.LogConfig?.Config ?? {})];
}

function mountWarnings(host: HostConfig): string[] {
  const out = new Set<string>();
  const consider = (option: string): void => {
    if (option === "z" || option === "Z") {
      out.add(`Mount option "${option}" has no effect: files are not relabelled for SELinux.`);
    } else if (option === "cached" || option === "delegated") {
      out.add(`Mount consistency "${option}" has no effect: mounts are always consistent.`);
    }
  };
  for (const spec of host.Binds ?? []) for (const option of spec.split(":")[2]?.split(",") ?? []) consider(option);
  for (const { Consistency } of host.Mounts ?? []) consider(Consistency ?? "");
  return [...out];
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
    if (name === "apparmor" && value !== "unconfined") {
      if (existsSync("/sys/kernel/security/apparmor/profiles")) {
        throw new GantryError(
          "unsupported",
          `AppArmor profile "${value}" cannot be applied: AppArmor is not supported`,
        );
      }
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

/** Options of docker's json-file and local drivers, which are checked as docker checks them (daemon/logger). */
function logWarnings(options: Readonly<Record<string, string>>): string[] {
  const out: string[] = [];
  const mode = options["mode"] ?? "";
  if (!["", "blocking", "non-blocking"].includes(mode)) throw invalid(`logger: logging mode not supported: ${mode}`);
  if (options["max-buffer-size"] !== undefined && mode !== "non-blocking") {
    throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  const compress = options["compress"];
  if (compress !== undefined) {
    const truths: Record<string, boolean> = { "1": true, t: true, true: true, "0": false, f: false, false: false };
    const isOn = truths[compress.toLowerCase()];
    if (isOn === undefined) throw invalid(`strconv.ParseBool: parsing "${compress}": invalid syntax`);
    if (isOn) out.push('Log option "compress" has no effect: rotated log files are kept as they are.');
  }
  for (const name of ["labels", "labels-regex", "env", "env-regex", "tag"]) {
    if (options[name] !== undefined) {
      out.push(`Log option "${name}" has no effect: log entries carry no attributes.`);
    }
  }
  if (mode === "non-blocking") {
    const names = options["max-buffer-size"] === undefined ? '"mode"' : '"mode" and "max-buffer-size"';
    out.push(`Log option ${names} has no effect: output is always written before the program goes on.`);
  }
  return out;
}
