import { GantryError, errorMessage } from "#base/errors.ts";
import type { ProgressMessage } from "#api/docker/object-types.ts";
import type { Call } from "./call.ts";

/**
 * The stream of JSON lines in which pull, push, load and import tell their progress. Headers go out with the
 * first line: what fails before it is an ordinary error answer, what fails later becomes a last line.
 */
export class ProgressStream {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  /** Sends the headers before there is a line: from now on every failure is one. */
  begin(): void {
    if (!this.#call.response.started) this.#call.response.start(200, { "Content-Type": "application/json" });
  }

  readonly write = (message: ProgressMessage): void => {
    const { response } = this.#call;
    if (response.finished) return;
    this.begin();
    // Progress is dropped for nobody: what a slow client leaves is a few lines, bounded by the work's own.
    void response.write(`${JSON.stringify(ordered(message))}\r\n`);
  };

  /** Runs `work` and ends the stream, telling what went wrong. Rethrows when nothing was sent yet. */
  async run(work: () => Promise<void>): Promise<void> {
    const { response, log, request } = this.#call;
    try {
      await work();
    } catch (error) {
      if (!response.started) throw error;
      if (!(error instanceof GantryError)) log.error("A transfer failed.", { path: request.path, error });
      const message = errorMessage(error);
      this.write({ errorDetail: { message }, error: message });
    }
    this.begin();
    response.end();
  }
}

/** The order in which docker's encoder writes the fields. */
function ordered(message: ProgressMessage): ProgressMessage {
  const out: ProgressMessage = {};
  if (message.stream !== undefined) out.stream = message.stream;
  if (message.status !== undefined) out.status = message.status;
  if (message.progressDetail !== undefined) out.progressDetail = message.progressDetail;
  if (message.progress !== undefined) out.progress = message.progress;
  if (message.id !== undefined) out.id = message.id;
  if (message.errorDetail !== undefined) out.errorDetail = message.errorDetail;
  if (message.error !== undefined) out.error = message.error;
  if (message.aux !== undefined) out.aux = message.aux;
  return out;
}
