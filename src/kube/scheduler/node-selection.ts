import type { Node, NodeSelectorTerm, Pod } from "#api/kube/generated/types.ts";

interface Requirement {
  key: string;
  operator: string;
  values?: string[];
}

function holds({ key, operator, values = [] }: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** A term without any requirement matches no node (core/v1, NodeSelectorTerm). */
export function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const expressions = (term.matchExpressions ?? []) as Requirement[];
  const fields = (term.matchFields ?? []) as Requirement[];
  if (expressions.length === 0 && fields.length === 0) return false;
  const labels = node.metadata?.labels ?? {};
  const nodeFields = { "metadata.name": node.metadata?.name ?? "" };
  return expressions.every((each) => holds(each, labels)) && fields.every((each) => holds(each, nodeFields));
}

/** `nodeSelector` and the required part of `nodeAffinity`. */
export function matchesNodeSelection(pod: Pod, node: Node): boolean {
  const labels = node.metadata?.labels ?? {};
  if (!Object.entries(pod.spec?.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
}

/** The sum of the weights of the preferences that a node fulfils. */
export function nodePreference(pod: Pod, node: Node): number {
  let sum = 0;
  for (const { weight, preference } of pod.spec?.affinity?.nodeAffinity
    ?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (matchesTerm(preference, node)) sum += weight;
  }
  return sum;
}
