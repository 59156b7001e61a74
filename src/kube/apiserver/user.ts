/** Who makes a request (authentication.k8s.io/v1, UserInfo). */
export interface UserInfo {
  username: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

export const mastersGroup = "system:masters";
export const authenticatedGroup = "system:authenticated";
export const unauthenticatedGroup = "system:unauthenticated";

/** The API server itself. */
export const loopbackUser: UserInfo = { username: "system:apiserver", groups: [mastersGroup, authenticatedGroup] };

export const anonymousUser: UserInfo = { username: "system:anonymous", groups: [unauthenticatedGroup] };

/** The user that a component's in-process client acts as, e.g. `system:kube-scheduler`. */
export function componentUser(username: string, ...groups: string[]): UserInfo {
  return { username, groups: [...groups, authenticatedGroup] };
}

/** `system:serviceaccount:<namespace>:<name>` with its groups. */
export function serviceAccountUser(namespace: string, name: string): UserInfo {
  return {
    username: `system:serviceaccount:${namespace}:${name}`,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, authenticatedGroup],
  };
}
