import type { Pod, PodAffinityTerm } from "#api/kube/generated/types.ts";
import { type LabelSelectorObject, type Labels, labelSelectorOf, matchesLabels } from "#base/label-selector.ts";
import type { NodeInfo } from "./node-info.ts";

/** The labels of a namespace, for `namespaceSelector`. */
export type NamespaceLabels = (namespace: string) => Labels | undefined;

/** True when a term of `owner`'s selects `pod`. */
function selects(term: PodAffinityTerm, owner: Pod, pod: Pod, namespaceLabels: NamespaceLabels): boolean {
  const namespace = pod.metadata?.namespace ?? "";
  const named = term.namespaces ?? [];
  const inNamespace =
    term.namespaceSelector === undefined
      ? named.length === 0
        ? namespace === owner.metadata?.namespace
        : named.includes(namespace)
      : named.includes(namespace) ||
        matchesLabels(labelSelectorOf(term.namespaceSelector as LabelSelectorObject), namespaceLabels(namespace));
  if (!inNamespace) return false;
  const labels = pod.metadata?.labels ?? {};
  const own = owner.metadata?.labels ?? {};
  if (!(term.matchLabelKeys ?? []).every((key) => own[key] === undefined || labels[key] === own[key])) return false;
  if (!(term.mismatchLabelKeys ?? []).every((key) => own[key] === undefined || labels[key] !== own[key])) return false;
  return matchesLabels(labelSelectorOf(term.labelSelector as LabelSelectorObject | undefined), labels);
}

const domain = (info: NodeInfo, key: string): string | undefined => info.node.metadata?.labels?.[key];

/** What inter-pod (anti-)affinity says about placing one pod, worked out once over all nodes. */
export class PodAffinity {
  readonly #pod: Pod;
  /** Topology domains (`key=value`) where an existing pod's anti-affinity, or ours, forbids the pod. */
  readonly #forbidden = new Set<string>();
  readonly #forbiddenByOthers = new Set<string>();
  /** For each required term, the domains that hold a pod it selects. */
  readonly #required: { key: string; domains: Set<string>; self: boolean }[];
  readonly #scores = new Map<string, number>();

  constructor(pod: Pod, nodes: Iterable<NodeInfo>, namespaceLabels: NamespaceLabels) {
    this.#pod = pod;
    const affinity = pod.spec?.affinity;
    const required = affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    const anti = affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    const preferred = [
      ...(affinity?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
        ({ weight, podAffinityTerm }) => ({ weight, term: podAffinityTerm }),
      ),
      ...(affinity?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
        ({ weight, podAffinityTerm }) => ({ weight: -weight, term: podAffinityTerm }),
      ),
    ];
    this.#required = required.map((term) => ({
      key: term.topologyKey,
      domains: new Set(),
      self: selects(term, pod, pod, namespaceLabels),
    }));
    for (const info of nodes) {
      for (const { pod: other } of info.pods.values()) {
        for (const term of other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ??
          []) {
          if (selects(term, other, pod, namespaceLabels)) this.#note(this.#forbiddenByOthers, info, term.topologyKey);
        }
        for (const term of anti)
          if (selects(term, pod, other, namespaceLabels)) this.#note(this.#forbidden, info, term.topologyKey);
        for (const [at, term] of required.entries()) {
          const value = domain(info, term.topologyKey);
          if (value !== undefined && selects(term, pod, other, namespaceLabels)) this.#required[at]?.domains.add(value);
        }
        for (const { weight, term } of preferred) {
          const value = domain(info, term.topologyKey);
          if (value === undefined || !selects(term, pod, other, namespaceLabels)) continue;
          const key = `${term.topologyKey}=${value}`;
          this.#scores.set(key, (this.#scores.get(key) ?? 0) + weight);
        }
      }
    }
  }

  #note(set: Set<string>, info: NodeInfo, key: string): void {
    const value = domain(info, key);
    if (value !== undefined) set.add(`${key}=${value}`);
  }

  /** Why the node will not do, in upstream's words, or undefined. */
  reject(info: NodeInfo): string | undefined {
    const labels = Object.entries(info.node.metadata?.labels ?? {});
    if (
      this.#forbiddenByOthers.size > 0 &&
      labels.some(([key, value]) => this.#forbiddenByOthers.has(`${key}=${value}`))
    ) {
      return "node(s) didn't satisfy existing pods anti-affinity rules";
    }
    if (this.#forbidden.size > 0 && labels.some(([key, value]) => this.#forbidden.has(`${key}=${value}`)))
      return "node(s) didn't match pod anti-affinity rules";
    for (const { key, domains, self } of this.#required) {
      const value = domain(info, key);
      // The first pod of a group that wants to be with its like must be let in somewhere.
      if (value === undefined || (!domains.has(value) && !(domains.size === 0 && self)))
        return "node(s) didn't match pod affinity rules";
    }
    return undefined;
  }

  get hasPreferences(): boolean {
    return this.#scores.size > 0;
  }

  score(info: NodeInfo): number {
    let sum = 0;
    for (const [key, value] of Object.entries(info.node.metadata?.labels ?? {}))
      sum += this.#scores.get(`${key}=${value}`) ?? 0;
    return sum;
  }

  get pod(): Pod {
    return this.#pod;
  }
}
