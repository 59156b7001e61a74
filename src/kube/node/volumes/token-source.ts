import { type KubeObject, ref } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import type { KubeClient } from "#kube/client/client.ts";
import type { Pod } from "../pod-types.ts";

interface TokenRequest extends KubeObject {
  spec?: unknown;
  status?: { token: string; expirationTimestamp: string };
}

interface Cached {
  token: string;
  issuedAt: number;
  expiresAt: number;
}

/** Tokens of service accounts, bound to pods, renewed after 80 % of their life or a day (kubelet, token manager). */
export class TokenSource {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Cached>();

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async token(pod: Pod, audience: string | undefined, expirationSeconds: number): Promise<string> {
    const { name, namespace, uid } = pod.metadata ?? {};
    const key = `${uid}|${audience ?? ""}|${expirationSeconds}`;
    const known = this.#tokens.get(key);
    if (known !== undefined && this.#clock.now() < renewAt(known)) return known.token;
    try {
      const answer = await this.#client.post<TokenRequest>(
        ref("serviceaccounts"),
        namespace,
        pod.spec?.serviceAccountName || "default",
        "token",
        {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenRequest",
          spec: {
            audiences: audience ? [audience] : [],
            expirationSeconds,
            boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
          },
        },
      );
      const token = answer.status?.token ?? "";
      const expiresAt =
        Date.parse(answer.status?.expirationTimestamp ?? "") || this.#clock.now() + expirationSeconds * 1000;
      this.#tokens.set(key, { token, issuedAt: this.#clock.now(), expiresAt });
      return token;
    } catch (error) {
      // A token that is due for renewal is good until it expires.
      if (known !== undefined && this.#clock.now() < known.expiresAt) return known.token;
      throw error;
    }
  }

  /** When the first of a pod's tokens is to be renewed; undefined when it has none. */
  nextRenewal(podUid: string): number | undefined {
    let next: number | undefined;
    for (const [key, token] of this.#tokens) {
      if (key.startsWith(`${podUid}|`)) next = Math.min(next ?? Number.POSITIVE_INFINITY, renewAt(token));
    }
    return next;
  }

  forget(podUid: string): void {
    for (const key of this.#tokens.keys()) if (key.startsWith(`${podUid}|`)) this.#tokens.delete(key);
  }
}

function renewAt({ issuedAt, expiresAt }: Cached): number {
  return Math.min(issuedAt + (expiresAt - issuedAt) * 0.8, issuedAt + 24 * 3600_000);
}
