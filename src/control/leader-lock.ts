import { type KubeObject, ref } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { ObjectStore } from "./kube-access.ts";

export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export interface LeaderLockOptions {
  namespace: string;
  name: string;
  /** Unique for each candidate, e.g. `host_uid`. */
  identity: string;
  /** How long others wait after the last renewal they saw. Defaults 15 s, 10 s, 2 s, client-go's. */
  leaseDurationMs?: number;
  renewDeadlineMs?: number;
  retryPeriodMs?: number;
  /** Gives the lease up on stop, so that the next candidate need not wait. Default true. */
  releaseOnStop?: boolean;
}

export interface LeaderLockParts {
  client: ObjectStore;
  clock: Clock;
  log: Logger;
  random?: () => number;
}

const leases = ref("coordination.k8s.io/v1", "leases");
/** Lease times have microseconds (meta/v1.MicroTime). */
const microTime = (ms: number): string => new Date(ms).toISOString().replace("Z", "000Z");

/**
 * Leader election on a Lease (client-go, tools/leaderelection). A holder is believed to be alive for
 * `leaseDuration` after this process last *saw* the lease change: clocks of other machines do not count.
 */
export class LeaderLock {
  readonly #options: Required<LeaderLockOptions>;
  readonly #parts: LeaderLockParts;
  #observed: { renewTime: string; holder: string; at: number } | undefined;
  #leading = false;

  constructor(options: LeaderLockOptions, parts: LeaderLockParts) {
    this.#options = {
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2_000,
      releaseOnStop: true,
      ...options,
    };
    this.#parts = parts;
  }

  get leading(): boolean {
    return this.#leading;
  }

  /** The last holder that was seen, "" for none. */
  get holder(): string {
    return this.#observed?.holder ?? "";
  }

  /**
   * Waits to become leader, runs `work` with a signal that aborts when leadership is lost or `signal` does,
   * and returns when `work` has ended and the lease was given up. Resolves `true` when leadership was lost
   * rather than given up: the caller decides whether to run again.
   */
  async run(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<boolean> {
    if (!(await this.#acquire(signal))) return false;
    const leadership = new AbortController();
    const workSignal = AbortSignal.any([signal, leadership.signal]);
    this.#leading = true;
    this.#parts.log.info("Became leader.", { lease: this.#options.name, identity: this.#options.identity });
    const working = (async () => work(workSignal))().finally(() => leadership.abort());
    const lost = await this.#renewUntil(workSignal);
    this.#leading = false;
    leadership.abort();
    try {
      await working;
    } finally {
      if (!lost && this.#options.releaseOnStop) await this.#release();
    }
    return lost;
  }

  async #acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if (await this.#tryOnce()) return true;
      const wait = this.#options.retryPeriodMs * (1 + 1.2 * (this.#parts.random ?? Math.random)());
      await this.#parts.clock.sleep(wait, signal).catch(() => {});
    }
    return false;
  }

  /** Renews until the signal aborts (false) or the deadline passes without a renewal (true). */
  async #renewUntil(signal: AbortSignal): Promise<boolean> {
    const { clock, log } = this.#parts;
    let renewedAt = clock.monotonic();
    while (!signal.aborted) {
      await clock.sleep(this.#options.retryPeriodMs, signal).catch(() => {});
      if (signal.aborted) return false;
      if (await this.#tryOnce()) renewedAt = clock.monotonic();
      else if (clock.monotonic() - renewedAt >= this.#options.renewDeadlineMs) {
        log.warn("Lost leadership.", { lease: this.#options.name });
        return true;
      }
    }
    return false;
  }

  async #tryOnce(): Promise<boolean> {
    try {
      return await this.#acquireOrRenew();
    } catch (error) {
      if (!hasCode(error, "conflict", "already-exists")) {
        this.#parts.log.debug("A lease could not be read or written.", {
          lease: this.#options.name,
          error: errorMessage(error),
        });
      }
      return false;
    }
  }

  async #acquireOrRenew(): Promise<boolean> {
    const { namespace, name, identity, leaseDurationMs } = this.#options;
    const { client, clock } = this.#parts;
    const now = microTime(clock.now());
    const mine = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000), renewTime: now };
    let lease: Lease;
    try {
      lease = await client.get<Lease>(leases, namespace, name);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      await client.create<Lease>(leases, {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { namespace, name },
        spec: { ...mine, acquireTime: now, leaseTransitions: 0 },
      });
      this.#observed = { renewTime: now, holder: identity, at: clock.monotonic() };
      return true;
    }
    const spec = lease.spec ?? {};
    const holder = spec.holderIdentity ?? "";
    if (this.#observed?.renewTime !== (spec.renewTime ?? "") || this.#observed.holder !== holder) {
      this.#observed = { renewTime: spec.renewTime ?? "", holder, at: clock.monotonic() };
    }
    const held = holder !== "" && holder !== identity;
    const durationMs = (spec.leaseDurationSeconds ?? leaseDurationMs / 1000) * 1000;
    if (held && this.#observed.at + durationMs > clock.monotonic()) return false;
    const renewing = holder === identity;
    await client.update<Lease>(leases, {
      ...lease,
      spec: {
        ...spec,
        ...mine,
        acquireTime: renewing ? (spec.acquireTime ?? now) : now,
        leaseTransitions: (spec.leaseTransitions ?? 0) + (renewing ? 0 : 1),
      },
    });
    this.#observed = { renewTime: now, holder: identity, at: clock.monotonic() };
    return true;
  }

  async #release(): Promise<void> {
    const { namespace, name, identity } = this.#options;
    const { client, clock, log } = this.#parts;
    try {
      const lease = await client.get<Lease>(leases, namespace, name);
      if (lease.spec?.holderIdentity !== identity) return;
      const now = microTime(clock.now());
      await client.update<Lease>(leases, {
        ...lease,
        spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1, renewTime: now, acquireTime: now },
      });
    } catch (error) {
      log.debug("A lease could not be given up.", { lease: name, error: errorMessage(error) });
    }
  }
}
