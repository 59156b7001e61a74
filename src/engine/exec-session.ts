import type { ExecHandle } from "#api/container-runtime.ts";
import type { ExecCreateBody, ExecInspect } from "#api/docker/container-types.ts";

/** One `docker exec`, from its creation until some time after its end. */
export class ExecSession {
  readonly id: string;
  readonly containerId: string;
  readonly body: ExecCreateBody;
  isRunning = false;
  isStarted = false;
  exitCode: number | null = null;
  pid = 0;
  handle: ExecHandle | undefined;
  endedAt = 0;
  readonly #settled = Promise.withResolvers<void>();
  /** Resolves once the program runs, or will not. */
  readonly settled = this.#settled.promise;

  constructor(id: string, containerId: string, body: ExecCreateBody) {
    this.id = id;
    this.containerId = containerId;
    this.body = body;
  }

  began(handle: ExecHandle): void {
    this.handle = handle;
    this.pid = handle.pid;
    this.#settled.resolve();
  }

  ended(exitCode: number, at: number): void {
    this.isRunning = false;
    this.exitCode = exitCode;
    this.endedAt = at;
    this.handle = undefined;
    this.#settled.resolve();
  }

  /** The container's end takes every exec with it. */
  containerEnded(): void {
    if (!this.isRunning) return;
    this.handle?.streams.closeStdin();
  }

  inspect(): ExecInspect {
    const { body } = this;
    const [entrypoint = "", ...args] = body.Cmd ?? [];
    return {
      ID: this.id,
      Running: this.isRunning,
      ExitCode: this.exitCode,
      ProcessConfig: {
        tty: body.Tty === true,
        entrypoint,
        arguments: args,
        privileged: body.Privileged === true,
        ...(body.User ? { user: body.User } : {}),
      },
      OpenStdin: body.AttachStdin === true,
      OpenStderr: body.AttachStderr === true,
      OpenStdout: body.AttachStdout === true,
      CanRemove: false,
      ContainerID: this.containerId,
      DetachKeys: body.DetachKeys ?? "",
      Pid: this.pid,
    };
  }
}
