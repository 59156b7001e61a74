import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomUUID } from "node:crypto";
import type { Clock } from "#base/clock.ts";

/** What a token is bound to besides its service account. */
export interface BoundObject {
  kind: "Pod" | "Secret" | "Node";
  name: string;
  uid: string;
}

export interface TokenClaims {
  namespace: string;
  serviceAccount: { name: string; uid: string };
  bound?: BoundObject;
  /** The node of a bound pod, for the token's reader. */
  node?: { name: string; uid: string };
  audiences: string[];
  expires: number;
  jti: string;
}

export interface TokenKeys {
  /** PEM, RSA or P-256. */
  privateKey: string;
  publicKeys?: string[];
}

interface KubernetesClaim {
  namespace: string;
  serviceaccount: { name: string; uid: string };
  pod?: { name: string; uid: string };
  secret?: { name: string; uid: string };
  node?: { name: string; uid: string };
}

/** Signs and checks service account tokens (JWT, ES256 or RS256). */
export class ServiceAccountTokens {
  readonly issuer: string;
  readonly #private: KeyObject;
  readonly #algorithm: "ES256" | "RS256";
  readonly #publicKeys: KeyObject[];
  readonly #clock: Clock;

  constructor(issuer: string, keys: TokenKeys, clock: Clock) {
    this.issuer = issuer;
    this.#clock = clock;
    this.#private = createPrivateKey(keys.privateKey);
    this.#algorithm = this.#private.asymmetricKeyType === "rsa" ? "RS256" : "ES256";
    this.#publicKeys = [
      createPublicKey(keys.privateKey),
      ...(keys.publicKeys ?? []).map((pem) => createPublicKey(pem)),
    ];
  }

  /** The token and when it ends (milliseconds since the epoch). */
  async sign(
    claims: Omit<TokenClaims, "expires" | "jti">,
    seconds: number,
  ): Promise<{ token: string; expires: number }> {
    const { SignJWT } = await import("jose");
    const now = Math.floor(this.#clock.now() / 1000);
    const { namespace, serviceAccount, bound, node, audiences } = claims;
    const kubernetes: KubernetesClaim & { warnafter?: number } = { namespace, serviceaccount: serviceAccount };
    if (bound !== undefined) kubernetes[bound.kind.toLowerCase() as "pod"] = { name: bound.name, uid: bound.uid };
    if (node !== undefined) kubernetes.node = node;
    const expires = now + seconds;
    const token = await new SignJWT({ "kubernetes.io": kubernetes })
      .setProtectedHeader({ alg: this.#algorithm, kid: keyId(createPublicKey(this.#private)) })
      .setIssuer(this.issuer)
      .setAudience(audiences)
      .setSubject(`system:serviceaccount:${namespace}:${serviceAccount.name}`)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(expires)
      .setJti(randomUUID())
      .sign(this.#private);
    return { token, expires: expires * 1000 };
  }

  /** Undefined when the token is not ours, was changed, or is not valid now. Bound objects are the caller's to check. */
  async verify(token: string): Promise<TokenClaims | undefined> {
    const { jwtVerify } = await import("jose");
    for (const key of this.#publicKeys) {
      try {
        const { payload } = await jwtVerify(token, key, {
          issuer: this.issuer,
          algorithms: [key.asymmetricKeyType === "rsa" ? "RS256" : "ES256"],
          currentDate: new Date(this.#clock.now()),
        });
        const claim = payload["kubernetes.io"] as KubernetesClaim | undefined;
        if (claim === undefined) return undefined;
        const bound = boundOf(claim);
        return {
          namespace: claim.namespace,
          serviceAccount: claim.serviceaccount,
          ...(bound === undefined ? {} : { bound }),
          ...(claim.node === undefined ? {} : { node: claim.node }),
          audiences: typeof payload.aud === "string" ? [payload.aud] : (payload.aud ?? []),
          expires: (payload.exp ?? 0) * 1000,
          jti: payload.jti ?? "",
        };
      } catch {
        // Another key may fit.
      }
    }
    return undefined;
  }

  /** The public keys as a JWK set, for `/openid/v1/jwks`. */
  async jwks(): Promise<{ keys: Record<string, unknown>[] }> {
    const { exportJWK } = await import("jose");
    const keys = await Promise.all(
      this.#publicKeys.map(async (key) => ({
        use: "sig",
        kid: keyId(key),
        alg: key.asymmetricKeyType === "rsa" ? "RS256" : "ES256",
        ...(await exportJWK(key)),
      })),
    );
    return { keys: [...new Map(keys.map((key) => [key.kid, key])).values()] };
  }
}

function boundOf(claim: KubernetesClaim): BoundObject | undefined {
  if (claim.pod !== undefined) return { kind: "Pod", ...claim.pod };
  if (claim.secret !== undefined) return { kind: "Secret", ...claim.secret };
  if (claim.node !== undefined) return { kind: "Node", ...claim.node };
  return undefined;
}

function keyId(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("base64url");
}
