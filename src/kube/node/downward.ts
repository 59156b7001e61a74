import { GantryError } from "#base/errors.ts";
import type { Container, ObjectFieldSelector, Pod, ResourceFieldSelector } from "./pod-types.ts";
import { quantityValue } from "./quantity-value.ts";

/** What the downward API tells beside the pod object itself. */
export interface DownwardFacts {
  nodeName: string;
  hostIp: string;
  podIps: string[];
  /** Stand in for limits that are not set. */
  allocatableCpu: number;
  allocatableMemoryBytes: number;
  allocatableEphemeralStorageBytes: number;
}

const escapeValue = (value: string): string => JSON.stringify(value);

/** Sorted `key="value"` lines, as files of labels and annotations have them. */
export function formatMap(map: Record<string, string> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${escapeValue(value)}`)
    .join("\n");
}

/** The text of a pod field (kubernetes, fieldpath.ExtractFieldPathAsString and the kubelet's own). Throws `invalid`. */
export function podField(pod: Pod, selector: ObjectFieldSelector, facts: DownwardFacts): string {
  const path = selector.fieldPath;
  const subscript = /^(metadata\.(?:labels|annotations))\['(.*)'\]$/.exec(path);
  if (subscript !== null) {
    const map = subscript[1] === "metadata.labels" ? pod.metadata?.labels : pod.metadata?.annotations;
    return map?.[subscript[2] as string] ?? "";
  }
  switch (path) {
    case "metadata.name":
      return pod.metadata?.name ?? "";
    case "metadata.namespace":
      return pod.metadata?.namespace ?? "";
    case "metadata.uid":
      return pod.metadata?.uid ?? "";
    case "metadata.labels":
      return formatMap(pod.metadata?.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata?.annotations);
    case "spec.nodeName":
      return pod.spec?.nodeName ?? facts.nodeName;
    case "spec.serviceAccountName":
      return pod.spec?.serviceAccountName ?? "";
    case "status.hostIP":
    case "status.hostIPs":
      return facts.hostIp;
    case "status.podIP":
      return facts.podIps[0] ?? "";
    case "status.podIPs":
      return facts.podIps.join(",");
    default:
      throw new GantryError("invalid", `unsupported fieldPath: ${path}`);
  }
}

/** The text of a container's limit or request, in units of the divisor, rounded up. Throws `invalid`. */
export function containerResourceField(
  container: Container,
  selector: ResourceFieldSelector,
  facts: DownwardFacts,
): string {
  const [kind, ...rest] = selector.resource.split(".");
  const name = rest.join(".");
  const { limits = {}, requests = {} } = container.resources ?? {};
  let value: number;
  if (kind === "limits") {
    value = limits[name] === undefined ? allocatable(name, facts) : quantityValue(limits[name]);
  } else if (kind === "requests") {
    const request = requests[name] ?? limits[name];
    value = request === undefined ? 0 : quantityValue(request);
  } else {
    throw new GantryError("invalid", `Unsupported container resource : ${selector.resource}`);
  }
  const divisor = selector.divisor === undefined ? 0 : quantityValue(selector.divisor);
  return String(Math.ceil(Number((value / (divisor === 0 ? 1 : divisor)).toPrecision(15))));
}

function allocatable(name: string, facts: DownwardFacts): number {
  switch (name) {
    case "cpu":
      return facts.allocatableCpu;
    case "memory":
      return facts.allocatableMemoryBytes;
    case "ephemeral-storage":
      return facts.allocatableEphemeralStorageBytes;
    default:
      return 0;
  }
}

/** The container that a resource selector in a volume names. Throws `invalid`. */
export function selectedContainer(pod: Pod, selector: ResourceFieldSelector): Container {
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  const found = all.find((container) => container.name === selector.containerName);
  if (found === undefined) throw new GantryError("invalid", `container ${selector.containerName} not found`);
  return found;
}
