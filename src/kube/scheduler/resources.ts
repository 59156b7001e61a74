import type { Container, Pod } from "#api/kube/generated/types.ts";
import { parseQuantity } from "./quantities.ts";

/** Amounts by resource name: `cpu` in millicores, everything else in its unit (bytes, count). */
export type Amounts = Readonly<Record<string, number>>;

/** A map of quantities as numbers. */
export function amounts(quantities: Readonly<Record<string, string>> | undefined): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [name, text] of Object.entries(quantities ?? {})) {
    const value = parseQuantity(text);
    out[name] = name === "cpu" ? Math.ceil(value * 1000 - 1e-9) : Math.ceil(value - 1e-9);
  }
  return out;
}

function add(into: Record<string, number>, more: Amounts): void {
  for (const [name, value] of Object.entries(more)) into[name] = (into[name] ?? 0) + value;
}

function atLeast(into: Record<string, number>, floor: Amounts): void {
  for (const [name, value] of Object.entries(floor)) into[name] = Math.max(into[name] ?? 0, value);
}

const requestsOf = (container: Container): Amounts => amounts(container.resources?.requests);

/**
 * What a pod takes of a node: its containers and sidecars together, or its largest init container with the
 * sidecars started before it, whichever is more, plus the overhead (resourcehelper.PodRequests).
 */
export function podRequests(pod: Pod): Amounts {
  const total: Record<string, number> = {};
  for (const container of pod.spec?.containers ?? []) add(total, requestsOf(container));
  const sidecars: Record<string, number> = {};
  const peak: Record<string, number> = {};
  for (const container of pod.spec?.initContainers ?? []) {
    const needs: Record<string, number> = { ...sidecars };
    add(needs, requestsOf(container));
    if (container.restartPolicy === "Always") {
      add(sidecars, requestsOf(container));
      add(total, requestsOf(container));
    }
    atLeast(peak, needs);
  }
  atLeast(total, peak);
  // Requests of the pod as a whole replace what its containers ask for (PodLevelResources).
  Object.assign(total, amounts(pod.spec?.resources?.requests));
  add(total, amounts(pod.spec?.overhead));
  return total;
}

/** Requests for scoring: containers without any count as 100 millicores and 200 MB, so that they spread too. */
export function scoringRequests(pod: Pod): { cpu: number; memory: number } {
  const requests = podRequests(pod);
  const count = pod.spec?.containers?.length ?? 1;
  return { cpu: requests["cpu"] ?? 100 * count, memory: requests["memory"] ?? 200 * 1024 * 1024 * count };
}
