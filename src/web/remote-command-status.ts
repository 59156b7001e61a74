import { AsyncQueue } from "#base/async-queue.ts";
import type { RemoteCommandOutcome } from "./remote-command.ts";

/** The metav1.Status that ends a session of protocol v4 and later. */
export interface RemoteCommandStatus {
  metadata: Record<string, never>;
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: { causes: { reason?: string; message: string }[] };
  code?: number;
}

/** How the kubelet words an outcome (kubelet/pkg/cri/streaming/remotecommand). */
export function outcomeStatus(outcome: RemoteCommandOutcome): RemoteCommandStatus {
  if ("error" in outcome) {
    return {
      metadata: {},
      status: "Failure",
      message: `Internal error occurred: ${outcome.error}`,
      reason: "InternalError",
      details: { causes: [{ message: outcome.error }] },
      code: 500,
    };
  }
  if (outcome.exitCode === 0) return { metadata: {}, status: "Success" };
  const message = `command terminated with non-zero exit code: exit status ${outcome.exitCode}`;
  return {
    metadata: {},
    status: "Failure",
    message,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(outcome.exitCode) }] },
  };
}

/** What goes to the error channel: a Status from v4 on, plain text for a failure before, nothing for success before. */
export function encodeOutcome(outcome: RemoteCommandOutcome, version: number): Buffer | undefined {
  const status = outcomeStatus(outcome);
  if (version >= 4) return Buffer.from(JSON.stringify(status));
  return status.status === "Success" ? undefined : Buffer.from(status.message ?? "");
}

/** The number in `v4.channel.k8s.io`; 1 for names without one. */
export function protocolVersion(protocol: string): number {
  return Number(/^v(\d)\./.exec(protocol)?.[1] ?? 1);
}

/** Terminal sizes, from JSON objects that follow each other in a byte stream: `{"Width":80,"Height":24}`. */
export class ResizeDecoder {
  readonly sizes = new AsyncQueue<{ width: number; height: number }>(64);
  #text = "";

  push(chunk: Buffer): void {
    this.#text += chunk.toString("latin1");
    for (let end = this.#text.indexOf("}"); end >= 0; end = this.#text.indexOf("}")) {
      const one = this.#text.slice(0, end + 1);
      this.#text = this.#text.slice(end + 1);
      const size = parseSize(one);
      if (size !== undefined) this.sizes.push(size);
    }
    // Anything this long is no size.
    if (this.#text.length > 4096) this.#text = "";
  }

  end(): void {
    this.sizes.end();
  }
}

function parseSize(text: string): { width: number; height: number } | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as { Width?: unknown; Height?: unknown };
    const fits = (value: unknown): value is number =>
      Number.isInteger(value) && (value as number) >= 0 && (value as number) < 65_536;
    return fits(Width) && fits(Height) ? { width: Width, height: Height } : undefined;
  } catch {
    return undefined;
  }
}
