import { tryParseQuantity } from "#base/quantity.ts";
import type { KeyToPath, Volume } from "../generated/types.ts";
import { validateDescendingPath } from "./container.ts";
import { dnsLabel, dnsSubdomain } from "./names.ts";
import type { Problems } from "./problems.ts";

const fileMode = "must be a number between 0 and 0777 (octal), both inclusive";

function validateMode(problems: Problems, field: string, mode: number | undefined): void {
  if (mode !== undefined && (mode < 0 || mode > 0o777)) problems.invalid(field, mode, fileMode);
}

function validateItems(problems: Problems, field: string, items: readonly KeyToPath[] | undefined): void {
  for (const [at, item] of (items ?? []).entries()) {
    const here = `${field}[${at}]`;
    if (!item.key) problems.required(`${here}.key`);
    if (!item.path) problems.required(`${here}.path`);
    else {
      validateDescendingPath(problems, `${here}.path`, item.path);
      if (item.path.startsWith("..") && !item.path.startsWith("../"))
        problems.invalid(`${here}.path`, item.path, "must not start with '..'");
    }
    validateMode(problems, `${here}.mode`, item.mode);
  }
}

function validateSource(problems: Problems, here: string, volume: Volume): void {
  const { emptyDir, hostPath, secret, configMap, persistentVolumeClaim, nfs, csi, downwardAPI, projected } = volume;
  if (emptyDir?.sizeLimit !== undefined && (tryParseQuantity(emptyDir.sizeLimit)?.nano ?? 0n) < 0n)
    problems.forbidden(`${here}.emptyDir.sizeLimit`, "SizeLimit field must be a valid resource quantity");
  if (hostPath !== undefined) {
    if (!hostPath.path) problems.required(`${here}.hostPath.path`);
    else if (hostPath.path.split("/").includes(".."))
      problems.invalid(`${here}.hostPath.path`, hostPath.path, "must not contain '..'");
  }
  if (secret !== undefined) {
    if (!secret.secretName) problems.required(`${here}.secret.secretName`);
    validateMode(problems, `${here}.secret.defaultMode`, secret.defaultMode);
    validateItems(problems, `${here}.secret.items`, secret.items);
  }
  if (configMap !== undefined) {
    if (!configMap.name) problems.required(`${here}.configMap.name`);
    validateMode(problems, `${here}.configMap.defaultMode`, configMap.defaultMode);
    validateItems(problems, `${here}.configMap.items`, configMap.items);
  }
  if (persistentVolumeClaim !== undefined && !persistentVolumeClaim.claimName)
    problems.required(`${here}.persistentVolumeClaim.claimName`);
  if (nfs !== undefined) {
    if (!nfs.server) problems.required(`${here}.nfs.server`);
    if (!nfs.path) problems.required(`${here}.nfs.path`);
    else if (!nfs.path.startsWith("/")) problems.invalid(`${here}.nfs.path`, nfs.path, "must be an absolute path");
  }
  if (csi !== undefined && !csi.driver) problems.required(`${here}.csi.driver`);
  if (downwardAPI !== undefined) {
    validateMode(problems, `${here}.downwardAPI.defaultMode`, downwardAPI.defaultMode);
    for (const item of downwardAPI.items ?? []) {
      if (!item.path) problems.required(`${here}.downwardAPI.path`);
      if (item.fieldRef === undefined && item.resourceFieldRef === undefined)
        problems.required(`${here}.downwardAPI`, "one of fieldRef and resourceFieldRef is required");
    }
  }
  if (projected === undefined) return;
  validateMode(problems, `${here}.projected.defaultMode`, projected.defaultMode);
  for (const [at, source] of (projected.sources ?? []).entries()) {
    const there = `${here}.projected.sources[${at}]`;
    if (source.secret !== undefined && !source.secret.name) problems.required(`${there}.secret.name`);
    if (source.configMap !== undefined && !source.configMap.name) problems.required(`${there}.configMap.name`);
    const token = source.serviceAccountToken;
    if (token === undefined) continue;
    if (token.expirationSeconds !== undefined && token.expirationSeconds < 600)
      problems.invalid(
        `${there}.serviceAccountToken.expirationSeconds`,
        token.expirationSeconds,
        "may not specify a duration less than 10 minutes",
      );
    if (!token.path) problems.required(`${here}.projected.path`);
    else validateDescendingPath(problems, `${here}.projected.path`, token.path);
  }
}

/** Checks a pod's volumes; the result is what containers may mount. */
export function validateVolumes(
  problems: Problems,
  field: string,
  volumes: readonly Volume[] | undefined,
): Map<string, { claim: boolean }> {
  const names = new Map<string, { claim: boolean }>();
  for (const [at, volume] of (volumes ?? []).entries()) {
    const here = `${field}[${at}]`;
    const sources = Object.keys(volume).filter((key) => key !== "name");
    if (sources.length === 0) problems.required(here, "must specify a volume type");
    for (const extra of sources.slice(1))
      problems.forbidden(`${here}.${extra}`, "may not specify more than 1 volume type");
    validateSource(problems, here, volume);
    if (!volume.name) problems.required(`${here}.name`);
    else {
      problems.invalidEach(`${here}.name`, volume.name, dnsLabel(volume.name));
      if (names.has(volume.name)) problems.duplicate(`${here}.name`, volume.name);
    }
    if (volume.name)
      names.set(volume.name, { claim: volume.persistentVolumeClaim !== undefined || volume.ephemeral !== undefined });
  }
  return names;
}

/** A reference to another object by name. */
export function validateReferenceName(problems: Problems, field: string, name: string | undefined): void {
  if (!name) problems.required(field);
  else problems.invalidEach(field, name, dnsSubdomain(name));
}
