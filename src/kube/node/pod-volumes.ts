import { errorMessage } from "#base/errors.ts";
import { podObjects } from "./container-starter.ts";
import type { DownwardFacts } from "./downward.ts";
import { type PodServices, podReference } from "./pod-services.ts";
import type { Pod } from "./pod-types.ts";
import type { PreparedVolumes } from "./volumes/volume-store.ts";

const retryMs = 60_000;

/** The volumes of one pod: made before its first container, and kept true to what they show. */
export class PodVolumes {
  readonly #uid: string;
  readonly #services: PodServices;
  readonly #wakeAfter: (ms: number) => void;
  #prepared: PreparedVolumes | undefined;
  #stale = true;

  constructor(uid: string, services: PodServices, wakeAfter: (ms: number) => void) {
    this.#uid = uid;
    this.#services = services;
    this.#wakeAfter = wakeAfter;
  }

  /** Something that the volumes show has changed. */
  stale(): void {
    this.#stale = true;
  }

  /** The volumes' host folders, up to date. Throws after a FailedMount event. */
  async prepare(pod: Pod, facts: DownwardFacts, signal: AbortSignal): Promise<PreparedVolumes> {
    if (this.#prepared !== undefined && !this.#stale) return this.#prepared;
    const { volumes, tokens, recorder, clock } = this.#services;
    this.#stale = false;
    try {
      this.#prepared = await volumes.prepare(
        pod,
        {
          ...podObjects(this.#services, this.#uid, signal),
          token: (of, audience, seconds) => tokens.token(of, audience, seconds),
        },
        facts,
      );
    } catch (error) {
      this.#stale = true;
      if (!signal.aborted) recorder.event(podReference(pod), "Warning", "FailedMount", errorMessage(error));
      throw error;
    }
    const renewal = tokens.nextRenewal(this.#uid);
    if (renewal !== undefined) this.#wakeAfter(Math.max(1_000, renewal - clock.now()));
    return this.#prepared;
  }

  /** What a running pod sees of ConfigMaps, Secrets and tokens follows their changes; a failure is no obstacle. */
  async keepFresh(pod: Pod, facts: DownwardFacts, signal: AbortSignal): Promise<void> {
    const renewal = this.#services.tokens.nextRenewal(this.#uid);
    if (renewal !== undefined && renewal <= this.#services.clock.now()) this.#stale = true;
    if (!this.#stale) return;
    await this.prepare(pod, facts, signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      this.#wakeAfter(retryMs);
    });
  }
}
