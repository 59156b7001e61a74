import type { KubeObject } from "#api/kube/object.ts";
import { badRequest } from "../api-error.ts";
import type { Authenticator } from "../authenticator.ts";
import type { VirtualResource } from "../operations.ts";
import type { RbacAuthorizer } from "../rbac-authorizer.ts";
import type { AccessRequest, PolicyRule } from "../rbac-rules.ts";
import type { Mutable } from "../resource-type.ts";
import type { UserInfo } from "../user.ts";

interface AccessSpec {
  user?: string;
  uid?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
  resourceAttributes?: {
    namespace?: string;
    verb?: string;
    group?: string;
    version?: string;
    resource?: string;
    subresource?: string;
    name?: string;
  };
  nonResourceAttributes?: { path?: string; verb?: string };
}

function requestOf({ resourceAttributes, nonResourceAttributes }: AccessSpec): AccessRequest {
  if (resourceAttributes !== undefined && nonResourceAttributes === undefined) {
    const {
      namespace = "",
      verb = "",
      group = "",
      version = "",
      resource = "",
      subresource = "",
      name = "",
    } = resourceAttributes;
    return { verb, group, version, resource, subresource, namespace, name };
  }
  if (nonResourceAttributes !== undefined && resourceAttributes === undefined)
    return { verb: nonResourceAttributes.verb ?? "", path: nonResourceAttributes.path ?? "" };
  throw badRequest("exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

function answer(body: Mutable, kind: string, apiVersion: string, status: Record<string, unknown>): KubeObject {
  return { ...body, kind, apiVersion, metadata: { ...body.metadata }, status } as KubeObject;
}

function userOf(user: UserInfo): Record<string, unknown> {
  const { username, uid, groups, extra } = user;
  return { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) };
}

const authorization = "authorization.k8s.io/v1";
const authentication = "authentication.k8s.io/v1";

/** The kinds that are asked and answered, never stored, by `group/resource`. */
export function reviewResources(
  authorizer: RbacAuthorizer,
  authenticator: Authenticator,
): Map<string, VirtualResource> {
  const decide = (kind: string, body: Mutable, spec: AccessSpec, user: UserInfo): KubeObject => {
    const { allowed, reason } = authorizer.authorize(user, requestOf(spec));
    return answer(body, kind, authorization, { allowed, ...(reason === "" ? {} : { reason }) });
  };
  const asked = (spec: AccessSpec): UserInfo => {
    if (!spec.user && !spec.groups?.length) throw badRequest("at least one of user or group must be specified");
    return {
      username: spec.user ?? "",
      groups: spec.groups ?? [],
      ...(spec.uid === undefined ? {} : { uid: spec.uid }),
    };
  };
  return new Map<string, VirtualResource>([
    [
      "authorization.k8s.io/selfsubjectaccessreviews",
      async (body, _namespace, { user }) =>
        decide("SelfSubjectAccessReview", body, (body["spec"] ?? {}) as AccessSpec, user),
    ],
    [
      "authorization.k8s.io/subjectaccessreviews",
      async (body) => {
        const spec = (body["spec"] ?? {}) as AccessSpec;
        return decide("SubjectAccessReview", body, spec, asked(spec));
      },
    ],
    [
      "authorization.k8s.io/localsubjectaccessreviews",
      async (body, namespace) => {
        const spec = (body["spec"] ?? {}) as AccessSpec;
        if (spec.resourceAttributes?.namespace !== namespace)
          throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
        return decide("LocalSubjectAccessReview", body, spec, asked(spec));
      },
    ],
    [
      "authorization.k8s.io/selfsubjectrulesreviews",
      async (body, _namespace, { user }) => {
        const namespace = (body["spec"] as { namespace?: string } | undefined)?.namespace ?? "";
        if (namespace === "") throw badRequest("no namespace on request");
        return answer(body, "SelfSubjectRulesReview", authorization, rulesStatus(authorizer.rulesFor(user, namespace)));
      },
    ],
    [
      "authentication.k8s.io/selfsubjectreviews",
      async (body, _namespace, { user }) =>
        answer(body, "SelfSubjectReview", authentication, { userInfo: userOf(user) }),
    ],
    [
      "authentication.k8s.io/tokenreviews",
      async (body) => {
        const { token = "", audiences } = (body["spec"] ?? {}) as { token?: string; audiences?: string[] };
        if (token === "") throw badRequest("token is required for TokenReview in authentication");
        const found = await authenticator.token(token, audiences);
        const status =
          found === undefined
            ? { authenticated: false, user: {}, error: "[invalid bearer token, token lookup failed]" }
            : { authenticated: true, user: userOf(found.user), audiences: found.audiences };
        return answer(body, "TokenReview", authentication, status);
      },
    ],
  ]);
}

function rulesStatus(rules: readonly PolicyRule[]): Record<string, unknown> {
  const resourceRules = rules
    .filter(({ resources }) => resources?.length)
    .map(({ verbs, apiGroups, resources, resourceNames }) => ({
      verbs,
      apiGroups,
      resources,
      ...(resourceNames ? { resourceNames } : {}),
    }));
  const nonResourceRules = rules
    .filter(({ nonResourceURLs }) => nonResourceURLs?.length)
    .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs }));
  return { resourceRules, nonResourceRules, incomplete: false };
}
