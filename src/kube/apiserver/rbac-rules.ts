/** What is asked of an authorizer (authorization.k8s.io/v1, ResourceAttributes and NonResourceAttributes). */
export type AccessRequest =
  | {
      verb: string;
      group: string;
      version?: string;
      resource: string;
      subresource?: string;
      /** "" when it is not inside a namespace. */
      namespace: string;
      /** "" when it is not about one object. */
      name: string;
    }
  | { verb: string; path: string };

/** One rule of a role (rbac.authorization.k8s.io/v1). */
export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

const has = (values: readonly string[] | undefined, value: string): boolean =>
  values !== undefined && (values.includes(value) || values.includes("*"));

function resourceMatches(rule: PolicyRule, resource: string, subresource: string | undefined): boolean {
  const { resources } = rule;
  if (resources === undefined) return false;
  if (resources.includes("*")) return true;
  if (subresource === undefined || subresource === "") return resources.includes(resource);
  return resources.includes(`${resource}/${subresource}`) || resources.includes(`*/${subresource}`);
}

function pathMatches(rule: PolicyRule, path: string): boolean {
  for (const pattern of rule.nonResourceURLs ?? []) {
    if (pattern === path || pattern === "*") return true;
    if (pattern.endsWith("*") && path.startsWith(pattern.slice(0, -1))) return true;
  }
  return false;
}

/** True when the rule lets the request through (RBAC's RuleAllows). */
export function ruleAllows(rule: PolicyRule, request: AccessRequest): boolean {
  if (!has(rule.verbs, request.verb)) return false;
  if ("path" in request) return pathMatches(rule, request.path);
  return (
    has(rule.apiGroups, request.group) &&
    resourceMatches(rule, request.resource, request.subresource) &&
    (rule.resourceNames === undefined || rule.resourceNames.length === 0 || rule.resourceNames.includes(request.name))
  );
}

/** True when `owned` together allow everything that `wanted` allows: who grants a role must hold it. */
export function rulesCover(owned: readonly PolicyRule[], wanted: PolicyRule): boolean {
  if (wanted.nonResourceURLs !== undefined && wanted.nonResourceURLs.length > 0) {
    return wanted.verbs.every((verb) =>
      (wanted.nonResourceURLs as string[]).every((url) =>
        owned.some((rule) => has(rule.verbs, verb) && (pathMatches(rule, url) || rule.nonResourceURLs?.includes(url))),
      ),
    );
  }
  const names = wanted.resourceNames?.length ? wanted.resourceNames : [undefined];
  for (const verb of wanted.verbs)
    for (const group of wanted.apiGroups ?? [])
      for (const resource of wanted.resources ?? [])
        for (const name of names) {
          const [main, sub] = resource.split("/") as [string, string | undefined];
          const covered = owned.some(
            (rule) =>
              has(rule.verbs, verb) &&
              has(rule.apiGroups, group) &&
              (resource === "*" ? (rule.resources?.includes("*") ?? false) : resourceMatches(rule, main, sub)) &&
              (!rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name))),
          );
          if (!covered) return false;
        }
  return true;
}
