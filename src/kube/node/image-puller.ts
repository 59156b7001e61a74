import type { PodRuntime, RuntimeImage } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError, errorMessage } from "#base/errors.ts";
import { Backoff, goDuration } from "./backoff.ts";
import type { Container, Pod, Secret } from "./pod-types.ts";

export type RecordEvent = (type: "Normal" | "Warning", reason: string, message: string) => void;

/** A container's image is not to be had (yet): `reason` is the container's waiting reason. */
export class ImageError extends GantryError {
  readonly reason: string;
  /** Milliseconds until it makes sense to try again; undefined: not before something changes. */
  readonly retryMs: number | undefined;

  constructor(reason: string, message: string, retryMs?: number) {
    super("unavailable", message);
    this.reason = reason;
    this.retryMs = retryMs;
  }
}

export interface RegistryAuth {
  username?: string;
  password?: string;
  auth?: string;
  identityToken?: string;
}

/** The registry that an image's name begins with; docker.io when it names none. */
export function registryOf(image: string): string {
  const first = image.split("/")[0] as string;
  const named = image.includes("/") && (first.includes(".") || first.includes(":") || first === "localhost");
  return named ? first : "docker.io";
}

const nameWithTag =
  /^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?\/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?(?:@[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,})?$/;

/** The waiting message for a name that is no image reference; undefined for a good one. */
export function invalidImageName(image: string): string | undefined {
  if (nameWithTag.test(image)) return undefined;
  const lower = nameWithTag.test(image.toLowerCase());
  const why = lower
    ? `invalid reference format: repository name (${registryOf(image) === "docker.io" && !image.includes("/") ? "library/" : ""}${image.split(/[:@]/)[0]}) must be lowercase`
    : "invalid reference format";
  return `Failed to apply default image tag "${image}": couldn't parse image name "${image}": ${why}`;
}

/** Entries of the pod's pull secrets that fit the image's registry, in order. */
export function registryAuths(secrets: readonly Secret[], image: string): RegistryAuth[] {
  const registry = registryOf(image);
  const found: RegistryAuth[] = [];
  for (const secret of secrets) {
    const json = secret.data?.[".dockerconfigjson"];
    const old = secret.data?.[".dockercfg"];
    const encoded = json ?? old;
    if (encoded === undefined) continue;
    try {
      const parsed = JSON.parse(Buffer.from(encoded, "base64").toString("utf8")) as Record<string, unknown>;
      const auths = (json === undefined ? parsed : (parsed.auths ?? {})) as Record<string, Record<string, string>>;
      for (const [host, entry] of Object.entries(auths)) {
        if (hostOf(host) !== hostOf(registry)) continue;
        found.push({
          username: entry.username,
          password: entry.password,
          auth: entry.auth,
          identityToken: entry.identitytoken,
        });
      }
    } catch {
      // A secret that is no JSON gives no credentials, as upstream: the pull says what it lacks.
    }
  }
  return found;
}

function hostOf(registry: string): string {
  const host = registry.replace(/^https?:\/\//, "").split("/")[0] as string;
  return host === "index.docker.io" || host === "registry-1.docker.io" ? "docker.io" : host;
}

/** The default policy: Always for `latest` or no tag, else IfNotPresent. */
function pullPolicy(container: Container): string {
  if (container.imagePullPolicy) return container.imagePullPolicy;
  const last = (container.image ?? "").split("/").pop() as string;
  return last.includes("@") || (last.includes(":") && !last.endsWith(":latest")) ? "IfNotPresent" : "Always";
}

/** Gets images as pull policies ask, with back-off per pod and image, and with the kubelet's events. */
export class ImagePuller {
  readonly #runtime: PodRuntime;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #pulling = new Map<string, Promise<string>>();
  readonly #lastError = new Map<string, string>();

  constructor(runtime: PodRuntime, clock: Clock) {
    this.#runtime = runtime;
    this.#clock = clock;
    this.#backoff = new Backoff(clock);
  }

  /** The container's image, pulled when the policy asks for it. Throws ImageError; `cancelled` by the signal. */
  async ensure(
    pod: Pod,
    container: Container,
    auths: readonly RegistryAuth[],
    record: RecordEvent,
    signal: AbortSignal,
  ): Promise<RuntimeImage> {
    const image = container.image ?? "";
    const policy = pullPolicy(container);
    const invalid = invalidImageName(image);
    if (invalid !== undefined) {
      record("Warning", "InspectFailed", invalid);
      throw new ImageError("InvalidImageName", invalid);
    }
    const present = await this.#runtime.imageStatus(image);
    // What was built or loaded on this machine never came from a registry: there is nothing to ask one about.
    const isLocal = present !== undefined && present.repoDigests.length === 0;
    if (present !== undefined && (policy !== "Always" || isLocal)) {
      record(
        "Normal",
        "Pulled",
        `Container image "${image}" already present on machine and can be accessed by the pod`,
      );
      return present;
    }
    if (policy === "Never") {
      const message = `Container image "${image}" is not present with pull policy of Never`;
      record("Warning", "ErrImageNeverPull", message);
      throw new ImageError("ErrImageNeverPull", message);
    }
    const key = `${pod.metadata?.uid}/${image}`;
    this.#refuseInBackoff(key, image, record);
    return this.#pull(key, image, auths, record, signal);
  }

  #refuseInBackoff(key: string, image: string, record: RecordEvent): void {
    const since = this.#failedAt.get(key);
    if (since === undefined) return;
    const wait = this.#backoff.remaining(key, since);
    if (wait === 0) return;
    record("Normal", "BackOff", `Back-off pulling image "${image}"`);
    const last = this.#lastError.get(key);
    throw new ImageError(
      "ImagePullBackOff",
      `Back-off pulling image "${image}"${last === undefined ? "" : `: ErrImagePull: ${last}`}`,
      wait,
    );
  }

  readonly #failedAt = new Map<string, number>();

  async #pull(
    key: string,
    image: string,
    auths: readonly RegistryAuth[],
    record: RecordEvent,
    signal: AbortSignal,
  ): Promise<RuntimeImage> {
    record("Normal", "Pulling", `Pulling image "${image}"`);
    const startedAt = this.#clock.monotonic();
    try {
      const id = await abortable(this.#shared(image, auths), signal);
      const status = await this.#runtime.imageStatus(id);
      if (status === undefined) throw new GantryError("internal", `image ${id} is gone right after its pull`);
      const took = pullDuration(this.#clock.monotonic() - startedAt);
      record(
        "Normal",
        "Pulled",
        `Successfully pulled image "${image}" in ${took} (${took} including waiting). Image size: ${status.sizeBytes} bytes.`,
      );
      this.#backoff.forget(key);
      this.#failedAt.delete(key);
      this.#lastError.delete(key);
      return status;
    } catch (error) {
      if (signal.aborted) throw error;
      const message = errorMessage(error);
      this.#failedAt.set(key, this.#clock.now());
      this.#backoff.next(key, this.#clock.now());
      this.#lastError.set(key, message);
      record("Warning", "Failed", `Failed to pull image "${image}": ${message}`);
      throw new ImageError("ErrImagePull", message, Math.min(this.#backoff.delay(key), 1_000));
    }
  }

  /** Pods that want the same image with the same credentials at once share one pull. */
  #shared(image: string, auths: readonly RegistryAuth[]): Promise<string> {
    const key = `${image}\n${JSON.stringify(auths)}`;
    let pull = this.#pulling.get(key);
    if (pull === undefined) {
      pull = this.#tryEach(image, auths).finally(() => this.#pulling.delete(key));
      this.#pulling.set(key, pull);
    }
    return pull;
  }

  async #tryEach(image: string, auths: readonly RegistryAuth[]): Promise<string> {
    let last: unknown;
    for (const auth of auths.length === 0 ? [undefined] : auths) {
      try {
        return await this.#runtime.pullImage(image, auth);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  /** For a pod that is gone. */
  forget(podUid: string): void {
    const prefix = `${podUid}/`;
    this.#backoff.forgetPrefix(prefix);
    for (const map of [this.#failedAt, this.#lastError])
      for (const key of map.keys()) if (key.startsWith(prefix)) map.delete(key);
  }
}

/** `850ms`, `1.234s`, `1m2.5s`. */
function pullDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(3))}s`;
  return goDuration(ms);
}

/** The promise's outcome, or `cancelled` when the signal aborts first. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw new GantryError("cancelled", "The wait was cancelled.");
  let onAbort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new GantryError("cancelled", "The wait was cancelled."));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
