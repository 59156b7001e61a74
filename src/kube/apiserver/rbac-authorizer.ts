import type { KubeObject } from "#api/kube/object.ts";
import { type AccessRequest, type PolicyRule, ruleAllows } from "./rbac-rules.ts";
import { mastersGroup, type UserInfo } from "./user.ts";
import type { WatchCache } from "./watch-cache.ts";

interface RoleObject extends KubeObject {
  rules?: PolicyRule[];
}

interface BindingObject extends KubeObject {
  roleRef: { apiGroup: string; kind: string; name: string };
  subjects?: { kind: string; name: string; namespace?: string; apiGroup?: string }[];
}

/** The rules of one binding, and where they hold: "" everywhere. */
interface Grant {
  namespace: string;
  rules: readonly PolicyRule[];
}

export interface RbacCaches {
  roles: WatchCache;
  clusterRoles: WatchCache;
  roleBindings: WatchCache;
  clusterRoleBindings: WatchCache;
}

export interface Decision {
  allowed: boolean;
  reason: string;
}

/**
 * Decides by Roles and bindings. Grants are kept by subject, and made again when any of the four kinds has
 * changed: a decision looks only at what the user's own name and groups are bound to.
 */
export class RbacAuthorizer {
  readonly #caches: RbacCaches;
  #grants = new Map<string, Grant[]>();
  #version = -1;

  constructor(caches: RbacCaches) {
    this.#caches = caches;
  }

  /** Fills the caches; decisions before deny. */
  async ready(): Promise<void> {
    await Promise.all(Object.values(this.#caches).map((cache: WatchCache) => cache.ready()));
  }

  authorize(user: UserInfo, request: AccessRequest): Decision {
    if (user.groups.includes(mastersGroup)) return { allowed: true, reason: "" };
    const namespace = "path" in request ? "" : request.namespace;
    for (const { rules, namespace: at } of this.#grantsOf(user)) {
      if (at !== "" && at !== namespace) continue;
      for (const rule of rules) if (ruleAllows(rule, request)) return { allowed: true, reason: "" };
    }
    return { allowed: false, reason: "" };
  }

  /** Every rule that holds for the user in the namespace, those from everywhere included. */
  rulesFor(user: UserInfo, namespace: string): PolicyRule[] {
    if (user.groups.includes(mastersGroup)) {
      return [
        { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
        { verbs: ["*"], nonResourceURLs: ["*"] },
      ];
    }
    const rules: PolicyRule[] = [];
    for (const grant of this.#grantsOf(user))
      if (grant.namespace === "" || grant.namespace === namespace) rules.push(...grant.rules);
    return rules;
  }

  *#grantsOf(user: UserInfo): Generator<Grant> {
    this.#refresh();
    yield* this.#grants.get(`u:${user.username}`) ?? [];
    for (const group of user.groups) yield* this.#grants.get(`g:${group}`) ?? [];
  }

  #refresh(): void {
    const { roles, clusterRoles, roleBindings, clusterRoleBindings } = this.#caches;
    const version = roles.changes + clusterRoles.changes + roleBindings.changes + clusterRoleBindings.changes;
    if (version === this.#version) return;
    this.#version = version;
    this.#grants = new Map();
    const rulesOf = (cache: WatchCache, path: string): readonly PolicyRule[] =>
      (cache.get(cache.prefix + path)?.object as RoleObject | undefined)?.rules ?? [];
    for (const { object } of clusterRoleBindings.list("")) {
      const binding = object as BindingObject;
      this.#add(binding, "", rulesOf(clusterRoles, binding.roleRef.name));
    }
    for (const { object, namespace } of roleBindings.list("")) {
      const binding = object as BindingObject;
      const rules =
        binding.roleRef.kind === "ClusterRole"
          ? rulesOf(clusterRoles, binding.roleRef.name)
          : rulesOf(roles, `${namespace}/${binding.roleRef.name}`);
      this.#add(binding, namespace, rules);
    }
  }

  #add(binding: BindingObject, namespace: string, rules: readonly PolicyRule[]): void {
    if (rules.length === 0) return;
    for (const subject of binding.subjects ?? []) {
      const key =
        subject.kind === "ServiceAccount"
          ? `u:system:serviceaccount:${subject.namespace ?? namespace}:${subject.name}`
          : `${subject.kind === "Group" ? "g" : "u"}:${subject.name}`;
      const known = this.#grants.get(key);
      if (known === undefined) this.#grants.set(key, [{ namespace, rules }]);
      else known.push({ namespace, rules });
    }
  }
}

/** Why the request is refused, in upstream's words: what follows `is forbidden: `. */
export function deniedMessage(user: UserInfo, request: AccessRequest): string {
  const who = `User ${JSON.stringify(user.username)} cannot ${request.verb}`;
  if ("path" in request) return `${who} path ${JSON.stringify(request.path)}`;
  const resource = request.subresource ? `${request.resource}/${request.subresource}` : request.resource;
  const where =
    request.namespace === "" ? "at the cluster scope" : `in the namespace ${JSON.stringify(request.namespace)}`;
  return `${who} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(request.group)} ${where}`;
}
