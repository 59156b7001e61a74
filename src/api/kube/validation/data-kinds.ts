/** Namespace, ConfigMap, Secret and Node: kinds that mostly hold data. */
import { tryParseQuantity } from "#base/quantity.ts";
import type { ConfigMap, Namespace, Node, Secret, Taint } from "../generated/types.ts";
import { cidr, configMapKey, labelValueForm, qualifiedName } from "./names.ts";
import type { Problems } from "./problems.ts";

const maxBytes = 1024 * 1024;
const decodedLength = (base64: string): number =>
  Math.floor((base64.length * 3) / 4) - (base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0);

export function validateConfigMap(problems: Problems, config: ConfigMap): void {
  let total = 0;
  for (const key in config.data) {
    problems.invalidEach(`data[${key}]`, key, configMapKey(key));
    if (config.binaryData !== undefined && key in config.binaryData)
      problems.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    total += Buffer.byteLength(config.data[key] ?? "");
  }
  for (const key in config.binaryData) {
    problems.invalidEach(`binaryData[${key}]`, key, configMapKey(key));
    total += decodedLength(config.binaryData[key] ?? "");
  }
  if (total > maxBytes) problems.tooLong("", maxBytes);
}

function mustBeJson(problems: Problems, secret: Secret, key: string): void {
  const value = secret.data?.[key];
  if (value === undefined) return problems.required(`data[${key}]`);
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value, "base64").toString("utf8"));
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
      throw new SyntaxError(
        `json: cannot unmarshal ${Array.isArray(parsed) ? "array" : typeof parsed} into Go value of type map[string]interface {}`,
      );
  } catch (error) {
    const text =
      error instanceof Error && error.message.startsWith("json:")
        ? error.message
        : "invalid character looking for beginning of value";
    problems.invalid(
      `data[${key}]`,
      "<secret contents redacted>",
      value === "" ? "unexpected end of JSON input" : text,
    );
  }
}

export function validateSecret(problems: Problems, secret: Secret, old: Secret | undefined): void {
  let total = 0;
  const data = secret.data ?? {};
  for (const key in data) {
    problems.invalidEach(`data[${key}]`, key, configMapKey(key));
    total += decodedLength(data[key] ?? "");
  }
  if (total > maxBytes) problems.tooLong("data", maxBytes);
  switch (secret.type) {
    case "kubernetes.io/service-account-token":
      if (!secret.metadata?.annotations?.["kubernetes.io/service-account.name"])
        problems.required("metadata.annotations[kubernetes.io/service-account.name]");
      break;
    case "kubernetes.io/dockercfg":
      mustBeJson(problems, secret, ".dockercfg");
      break;
    case "kubernetes.io/dockerconfigjson":
      mustBeJson(problems, secret, ".dockerconfigjson");
      break;
    case "kubernetes.io/basic-auth":
      if (!("username" in data) && !("password" in data)) {
        problems.required("data[username]");
        problems.required("data[password]");
      }
      break;
    case "kubernetes.io/ssh-auth":
      if (!data["ssh-privatekey"]) problems.required("data[ssh-privatekey]");
      break;
    case "kubernetes.io/tls":
      for (const key of ["tls.crt", "tls.key"]) if (!(key in data)) problems.required(`data[${key}]`);
      break;
  }
  if (old !== undefined && old.type !== secret.type) problems.invalid("type", secret.type ?? "", "field is immutable");
}

export function validateNamespace(problems: Problems, namespace: Namespace): void {
  for (const finalizer of namespace.spec?.finalizers ?? []) {
    problems.invalidEach("spec.finalizers", finalizer, qualifiedName(finalizer));
    if (!finalizer.includes("/") && finalizer !== "kubernetes")
      problems.invalid(
        "spec.finalizers",
        finalizer,
        "name is neither a standard finalizer name nor is it fully qualified",
      );
  }
}

const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** The effect of a taint, or (may be empty) of a toleration. */
export function validateTaintEffect(
  problems: Problems,
  field: string,
  effect: string | undefined,
  mayBeEmpty: boolean,
): void {
  if (!effect) {
    if (!mayBeEmpty) problems.required(field);
  } else if (!effects.includes(effect)) problems.notSupported(field, effect, effects);
}

function validateTaints(problems: Problems, field: string, taints: readonly Taint[] | undefined): void {
  const seen = new Set<string>();
  for (const [at, taint] of (taints ?? []).entries()) {
    const here = `${field}[${at}]`;
    problems.invalidEach(`${here}.key`, taint.key, qualifiedName(taint.key ?? ""));
    const wrong = labelValueForm(taint.value ?? "");
    if (wrong.length > 0) problems.invalid(`${here}.value`, taint.value, wrong.join(";"));
    validateTaintEffect(problems, `${here}.effect`, taint.effect, false);
    const key = `${taint.key}:${taint.effect}`;
    if (seen.has(key))
      problems.duplicate(
        here,
        { Key: taint.key, Value: taint.value ?? "", Effect: taint.effect, TimeAdded: taint.timeAdded ?? null },
        "taints must be unique by key and effect pair",
      );
    seen.add(key);
  }
}

/** podCIDR is the older field, and wins over podCIDRs when they differ. */
function podRanges(node: Node | undefined): string[] {
  const { podCIDR, podCIDRs = [] } = node?.spec ?? {};
  return podCIDR && podCIDR !== podCIDRs[0] ? [podCIDR] : podCIDRs;
}

export function validateNode(problems: Problems, node: Node, old: Node | undefined): void {
  validateTaints(problems, "metadata.taints", node.spec?.taints);
  for (const list of ["capacity", "allocatable"] as const) {
    const values = node.status?.[list] ?? {};
    for (const name in values) {
      const quantity = tryParseQuantity(values[name] ?? "");
      if (quantity !== undefined && quantity.nano < 0n)
        problems.invalid(`status.${list}.${name}`, values[name], "must be greater than or equal to 0");
    }
  }
  const before = old?.spec;
  const ranges = podRanges(node);
  for (const [at, range] of ranges.entries()) problems.invalidEach(`spec.podCIDRs[${at}]`, range, cidr(range));
  const families = new Set(ranges.map((range) => range.includes(":")));
  if (ranges.length > families.size && before === undefined)
    problems.invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family");
  if (before === undefined) return;
  const changed = podRanges(old).length > 0 && podRanges(old).join() !== ranges.join();
  if (changed) problems.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
  if (before.providerID && before.providerID !== node.spec?.providerID)
    problems.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
}
