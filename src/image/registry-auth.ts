import { GantryError } from "#base/errors.ts";

/** What `X-Registry-Auth` or a pull secret carries. */
export interface RegistryCredentials {
  username?: string;
  password?: string;
  /** `username:password` in base64. */
  auth?: string;
  /** A refresh token of an earlier login. */
  identitytoken?: string;
  /** Sent as it is. */
  registrytoken?: string;
  serveraddress?: string;
}

export interface Challenge {
  scheme: "basic" | "bearer";
  parameters: Record<string, string>;
}

/** Reads `WWW-Authenticate` (RFC 9110, 11.6.1): the challenges of the schemes that registries use. */
export function parseChallenges(header: string): Challenge[] {
  const out: Challenge[] = [];
  let rest = header;
  for (;;) {
    const scheme = /^[\s,]*([A-Za-z][\w-]*)(?:\s+|$)/.exec(rest);
    if (scheme === null) return out;
    rest = rest.slice(scheme[0].length);
    const parameters: Record<string, string> = {};
    for (;;) {
      const parameter = /^[\s,]*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/.exec(rest);
      if (parameter === null) break;
      rest = rest.slice(parameter[0].length);
      parameters[(parameter[1] as string).toLowerCase()] = (parameter[2] ?? parameter[3] ?? "").replace(/\\(.)/g, "$1");
    }
    const name = (scheme[1] as string).toLowerCase();
    if (name === "basic" || name === "bearer") out.push({ scheme: name, parameters });
  }
}

/** The user and password of credentials in any of their forms; undefined when there are none. */
export function userAndPassword(
  credentials: RegistryCredentials | undefined,
): { user: string; password: string } | undefined {
  if (credentials === undefined) return undefined;
  if (credentials.username !== undefined && credentials.username !== "")
    return { user: credentials.username, password: credentials.password ?? "" };
  if (credentials.auth === undefined || credentials.auth === "") return undefined;
  const text = Buffer.from(credentials.auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0) throw new GantryError("invalid", "invalid auth configuration: auth is not user:password in base64");
  return { user: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") };
}

/** The value of a Basic `Authorization` header. */
export function basicAuthorization({ user, password }: { user: string; password: string }): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}
