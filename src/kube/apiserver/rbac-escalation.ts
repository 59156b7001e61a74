import type { KubeObject } from "#api/kube/object.ts";
import type { FinalCheck } from "./admission.ts";
import { forbidden } from "./api-error.ts";
import { equalJson } from "./json-clone.ts";
import type { RbacAuthorizer } from "./rbac-authorizer.ts";
import { type PolicyRule, rulesCover } from "./rbac-rules.ts";
import { mastersGroup } from "./user.ts";
import type { WatchCache } from "./watch-cache.ts";

interface RoleLike extends KubeObject {
  rules?: PolicyRule[];
  roleRef?: { kind: string; name: string };
}

const group = "rbac.authorization.k8s.io";
const kinds = new Set(["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"]);

function goList(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(" ")}]`;
}

function ruleText({ apiGroups, resources, resourceNames, nonResourceURLs, verbs }: PolicyRule): string {
  const parts: string[] = [];
  if (nonResourceURLs?.length) parts.push(`NonResourceURLs:${goList(nonResourceURLs)}`);
  if (apiGroups?.length) parts.push(`APIGroups:${goList(apiGroups)}`);
  if (resources?.length) parts.push(`Resources:${goList(resources)}`);
  if (resourceNames?.length) parts.push(`ResourceNames:${goList(resourceNames)}`);
  parts.push(`Verbs:${goList(verbs)}`);
  return `{${parts.join(", ")}}`;
}

/**
 * Nobody grants what they do not hold, except who may `escalate` roles or `bind` them (kubernetes, registry/
 * rbac, policybased).
 */
export function escalationCheck(
  authorizer: RbacAuthorizer,
  caches: { roles: WatchCache; clusterRoles: WatchCache },
): FinalCheck {
  return (handle, object, old, { user }) => {
    const { type } = handle;
    if (type.group !== group || !kinds.has(type.kind) || object === undefined) return;
    if (user.groups.includes(mastersGroup)) return;
    const role = object as RoleLike;
    const namespace = role.metadata?.namespace ?? "";
    const name = role.metadata?.name ?? "";
    const before = old as RoleLike | undefined;
    if (
      before !== undefined &&
      equalJson(before.rules, role.rules) &&
      equalJson(before["roleRef"], role.roleRef) &&
      equalJson((before as { subjects?: unknown }).subjects, (role as { subjects?: unknown }).subjects)
    )
      return;
    let granted = role.rules ?? [];
    let asked = { verb: "escalate", group, resource: type.resource, namespace, name };
    if (role.roleRef !== undefined) {
      const isCluster = role.roleRef.kind === "ClusterRole";
      const cache = isCluster ? caches.clusterRoles : caches.roles;
      granted =
        (cache.get(cache.keyOf(isCluster ? "" : namespace, role.roleRef.name))?.object as RoleLike | undefined)
          ?.rules ?? [];
      asked = {
        verb: "bind",
        group,
        resource: isCluster ? "clusterroles" : "roles",
        namespace,
        name: role.roleRef.name,
      };
    }
    if (authorizer.authorize(user, asked).allowed) return;
    const held = authorizer.rulesFor(user, namespace);
    const missing = granted.filter((rule) => !rulesCover(held, rule));
    if (missing.length === 0) return;
    throw forbidden(
      type,
      name,
      `user ${JSON.stringify(user.username)} (groups=${goList(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${missing.map(ruleText).join("\n")}`,
    );
  };
}
