import type { Pod, TopologySpreadConstraint } from "#api/kube/generated/types.ts";
import { type LabelSelectorObject, labelSelectorOf, matchesLabels } from "#base/label-selector.ts";
import type { NodeInfo } from "./node-info.ts";
import { matchesNodeSelection } from "./node-selection.ts";
import { untoleratedTaint } from "./taints.ts";

interface Spread {
  constraint: TopologySpreadConstraint;
  /** Matching pods per domain, for the domains that count. */
  counts: Map<string, number>;
  min: number;
  selfMatches: boolean;
}

function counts(constraint: TopologySpreadConstraint, pod: Pod, info: NodeInfo): boolean {
  if ((constraint.nodeAffinityPolicy ?? "Honor") === "Honor" && !matchesNodeSelection(pod, info.node)) return false;
  return !(constraint.nodeTaintsPolicy === "Honor" && untoleratedTaint(pod, info.node) !== undefined);
}

function matches(constraint: TopologySpreadConstraint, owner: Pod, pod: Pod): boolean {
  const labels = pod.metadata?.labels ?? {};
  const own = owner.metadata?.labels ?? {};
  return (
    (constraint.matchLabelKeys ?? []).every((key) => own[key] === undefined || labels[key] === own[key]) &&
    matchesLabels(labelSelectorOf(constraint.labelSelector as LabelSelectorObject | undefined), labels)
  );
}

/** Topology spread of one pod over all nodes (scheduler plugin PodTopologySpread). */
export class TopologySpread {
  readonly #spreads: Spread[];

  constructor(pod: Pod, nodes: readonly NodeInfo[]) {
    this.#spreads = (pod.spec?.topologySpreadConstraints ?? []).map((constraint) => {
      const perDomain = new Map<string, number>();
      for (const info of nodes) {
        const value = info.node.metadata?.labels?.[constraint.topologyKey];
        if (value === undefined || !counts(constraint, pod, info)) continue;
        let matching = 0;
        for (const { pod: other } of info.pods.values()) {
          if (
            other.metadata?.namespace === pod.metadata?.namespace &&
            other.metadata?.deletionTimestamp === undefined &&
            matches(constraint, pod, other)
          )
            matching++;
        }
        perDomain.set(value, (perDomain.get(value) ?? 0) + matching);
      }
      const tooFew = constraint.minDomains !== undefined && perDomain.size < constraint.minDomains;
      return {
        constraint,
        counts: perDomain,
        min: tooFew || perDomain.size === 0 ? 0 : Math.min(...perDomain.values()),
        selfMatches: matches(constraint, pod, pod),
      };
    });
  }

  reject(info: NodeInfo): string | undefined {
    for (const { constraint, counts: perDomain, min, selfMatches } of this.#spreads) {
      if (constraint.whenUnsatisfiable !== "DoNotSchedule") continue;
      const value = info.node.metadata?.labels?.[constraint.topologyKey];
      if (value === undefined) return "node(s) didn't match pod topology spread constraints (missing required label)";
      if ((perDomain.get(value) ?? 0) + (selfMatches ? 1 : 0) - min > constraint.maxSkew)
        return "node(s) didn't match pod topology spread constraints";
    }
    return undefined;
  }

  get hasPreferences(): boolean {
    return this.#spreads.some(({ constraint }) => constraint.whenUnsatisfiable === "ScheduleAnyway");
  }

  /** Pods in the node's domains that it should be apart from: fewer is better. */
  crowding(info: NodeInfo): number {
    let sum = 0;
    for (const { constraint, counts: perDomain } of this.#spreads) {
      if (constraint.whenUnsatisfiable !== "ScheduleAnyway") continue;
      const value = info.node.metadata?.labels?.[constraint.topologyKey];
      sum += value === undefined ? 1e6 : (perDomain.get(value) ?? 0);
    }
    return sum;
  }
}
