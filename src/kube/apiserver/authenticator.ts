import { createHash, timingSafeEqual } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import type { HttpRequest } from "#web/http.ts";
import type { ServiceAccountTokens, TokenClaims } from "./service-account-tokens.ts";
import { anonymousUser, authenticatedGroup, mastersGroup, serviceAccountUser, type UserInfo } from "./user.ts";
import type { WatchCache } from "./watch-cache.ts";

export interface AuthenticatorCaches {
  serviceAccounts: WatchCache;
  pods: WatchCache;
  secrets: WatchCache;
  nodes: WatchCache;
}

export interface AuthenticatorParts {
  tokens: ServiceAccountTokens;
  caches: AuthenticatorCaches;
  clock: Clock;
  adminToken: string | undefined;
}

interface Verified {
  claims: TokenClaims | undefined;
  until: number;
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Finds out who makes a request: by client certificate, else by bearer token, else anonymous. */
export class Authenticator {
  readonly #parts: AuthenticatorParts;
  readonly #admin: Buffer | undefined;
  /** Signatures that were checked, by the token's digest. */
  readonly #verified = new Map<string, Verified>();

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
    this.#admin = parts.adminToken ? digest(parts.adminToken) : undefined;
  }

  /** Undefined when the request shows a token that is wrong: 401. */
  async authenticate(request: HttpRequest): Promise<UserInfo | undefined> {
    const certificate = request.peerCertificate;
    if (certificate?.authorized === true && certificate.commonName !== "") {
      return {
        username: certificate.commonName,
        groups: [...certificate.organizations, authenticatedGroup],
        extra: { "authentication.kubernetes.io/credential-id": [`X509SHA256=${certificate.fingerprint}`] },
      };
    }
    const header = request.header("authorization");
    const token = /^bearer +(.+)$/i.exec(header)?.[1]?.trim() ?? websocketToken(request);
    if (token !== undefined) return (await this.token(token))?.user;
    return header === "" ? anonymousUser : undefined;
  }

  /** Whom a bearer token stands for, and for which audiences; undefined when it is not valid. */
  async token(
    token: string,
    audiences?: readonly string[],
  ): Promise<{ user: UserInfo; audiences: string[] } | undefined> {
    if (this.#admin !== undefined && timingSafeEqual(this.#admin, digest(token)))
      return {
        user: { username: "admin", groups: [mastersGroup, authenticatedGroup] },
        audiences: [this.#parts.tokens.issuer],
      };
    const claims = await this.#verify(token);
    if (claims === undefined || claims.expires <= this.#parts.clock.now()) return undefined;
    const wanted = audiences === undefined || audiences.length === 0 ? [this.#parts.tokens.issuer] : audiences;
    const shared = claims.audiences.filter((audience) => wanted.includes(audience));
    if (shared.length === 0) return undefined;
    if (!(await this.#stillThere(claims))) return undefined;
    const user = serviceAccountUser(claims.namespace, claims.serviceAccount.name);
    const extra: Record<string, string[]> = { "authentication.kubernetes.io/credential-id": [`JTI=${claims.jti}`] };
    if (claims.bound?.kind === "Pod") {
      extra["authentication.kubernetes.io/pod-name"] = [claims.bound.name];
      extra["authentication.kubernetes.io/pod-uid"] = [claims.bound.uid];
    }
    if (claims.node !== undefined) {
      extra["authentication.kubernetes.io/node-name"] = [claims.node.name];
      extra["authentication.kubernetes.io/node-uid"] = [claims.node.uid];
    }
    return { user: { ...user, uid: claims.serviceAccount.uid, extra }, audiences: shared };
  }

  async #verify(token: string): Promise<TokenClaims | undefined> {
    const key = digest(token).toString("base64");
    const now = this.#parts.clock.now();
    const known = this.#verified.get(key);
    if (known !== undefined && known.until > now) return known.claims;
    const claims = await this.#parts.tokens.verify(token);
    if (this.#verified.size > 4096) this.#verified.clear();
    this.#verified.set(key, { claims, until: now + 60_000 });
    return claims;
  }

  /** A token dies with its account, and with what it is bound to. */
  async #stillThere({ namespace, serviceAccount, bound }: TokenClaims): Promise<boolean> {
    const { serviceAccounts, pods, secrets, nodes } = this.#parts.caches;
    if (!(await this.#has(serviceAccounts, namespace, serviceAccount))) return false;
    if (bound === undefined) return true;
    const cache = { Pod: pods, Secret: secrets, Node: nodes }[bound.kind];
    return this.#has(cache, bound.kind === "Node" ? "" : namespace, bound);
  }

  async #has(cache: WatchCache, namespace: string, { name, uid }: { name: string; uid: string }): Promise<boolean> {
    await cache.ready();
    return cache.get(cache.keyOf(namespace, name))?.object.metadata?.uid === uid;
  }
}

/** Browsers cannot set headers on a WebSocket: they put the token into a subprotocol (apiserver, websocket token). */
function websocketToken(request: HttpRequest): string | undefined {
  if (request.upgrade !== "websocket") return undefined;
  const protocol = request
    .header("sec-websocket-protocol")
    .split(",")
    .map((text) => text.trim())
    .find((text) => text.startsWith("base64url.bearer.authorization.k8s.io."));
  if (protocol === undefined) return undefined;
  return Buffer.from(protocol.slice("base64url.bearer.authorization.k8s.io.".length), "base64url").toString("utf8");
}
