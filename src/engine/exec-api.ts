import type { ContainerRuntimePort } from "#api/container-runtime.ts";
import type { ExecCreateBody, ExecInspect } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, GantryError } from "#base/errors.ts";
import { randomHex } from "#base/ids.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { expectCgroupMove } from "#host/cgroup-moves.ts";
import type { Container } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";
import { parseDetachKeys } from "./detach-keys.ts";
import type { ExecStartOptions, StreamSession } from "./engine.ts";
import { runningLinks } from "./container-links.ts";
import { execPlan } from "./exec-plan.ts";
import { ExecSession } from "./exec-session.ts";
import { linkEnvironment } from "./link-environment.ts";
import type { Launcher } from "./launcher.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { resolveUser } from "./passwd.ts";
import { ProcessSession } from "./stream-session.ts";

export interface ExecApiParts {
  store: ContainerStore;
  lifecycle: Lifecycle;
  launcher: Launcher;
  runtime: ContainerRuntimePort;
  clock: Clock;
  tasks: TaskGroup;
}

/** docker forgets an exec some minutes after its end. */
const keptMs = 300_000;

/** How long docker waits for an exec's start before it sizes its terminal. */
const resizeWaitMs = 10_000;

/** `docker exec`: create, start, look, resize. */
export class ExecApi {
  readonly #parts: ExecApiParts;
  readonly #sessions = new Map<string, ExecSession>();

  constructor(parts: ExecApiParts) {
    this.#parts = parts;
  }

  /** `name` is what the user called the container. */
  create(container: Container, body: ExecCreateBody, name = container.id): string {
    checkRunning(container, name);
    expectCgroupMove();
    if ((body.Cmd ?? []).length === 0) throw new GantryError("invalid", "No exec command specified");
    parseDetachKeys(body.DetachKeys);
    if (body.User) resolveUser(this.#parts.launcher.rootfs(container), body.User);
    for (const variable of body.Env ?? []) {
      if (variable === "" || variable.startsWith("="))
        throw new GantryError("invalid", `invalid environment variable: ${variable}`);
    }
    this.#forgetOld();
    const session = new ExecSession(randomHex(32), container.id, body);
    this.#sessions.set(session.id, session);
    container.execs.set(session.id, session);
    this.#parts.lifecycle.emit(container, `exec_create: ${eventCommand(body)}`, { execID: session.id });
    return session.id;
  }

  #forgetOld(): void {
    const now = this.#parts.clock.now();
    for (const [id, session] of this.#sessions) {
      const container = this.#parts.store.byId(session.containerId);
      const isOver = session.endedAt > 0 && now - session.endedAt > keptMs;
      if (container !== undefined && !isOver) continue;
      this.#sessions.delete(id);
      container?.execs.delete(id);
    }
  }

  #get(id: string): ExecSession {
    const exact = this.#sessions.get(id);
    if (exact !== undefined) return exact;
    const matching = [...this.#sessions.values()].filter((session) => id !== "" && session.id.startsWith(id));
    if (matching.length === 1) return matching[0] as ExecSession;
    throw new GantryError("not-found", `No such exec instance: ${id}`);
  }

  async start(id: string, options: ExecStartOptions): Promise<StreamSession | undefined> {
    const session = this.#get(id);
    const { store, lifecycle, runtime, clock, tasks } = this.#parts;
    const container = store.byId(session.containerId);
    if (container === undefined) throw new GantryError("not-found", `No such container: ${session.containerId}`);
    if (session.isRunning) throw new GantryError("conflict", `exec command ${session.id} is already running`);
    if (session.isStarted) throw new GantryError("conflict", `exec command ${session.id} has already run`);
    checkRunning(container);
    const { body } = session;
    session.isStarted = true;
    if (body.WorkingDir !== undefined && body.WorkingDir !== "" && !body.WorkingDir.startsWith("/")) {
      session.ended(128, clock.now());
      throw new GantryError("invalid", "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown");
    }
    session.isRunning = true;
    const isAttached = !options.detach;
    const stdin = isAttached && body.AttachStdin === true;
    try {
      const plan = execPlan(
        container,
        this.#parts.launcher.rootfs(container),
        {
          ...body,
          ...(options.consoleSize === undefined ? {} : { ConsoleSize: [...options.consoleSize] }),
        },
        linkEnvironment(container.name, runningLinks(container, store)),
      );
      const handle = await runtime.exec(container.id, { ...plan, privileged: body.Privileged === true, stdin });
      session.began(handle);
      lifecycle.emit(container, `exec_start: ${eventCommand(body)}`, { execID: session.id });
      const exited = handle.exited.then((code) => {
        session.ended(code, clock.now());
        lifecycle.emit(container, "exec_die", { execID: session.id, exitCode: String(code) });
      });
      const live = new ProcessSession({
        tty: body.Tty === true,
        stdin,
        stdout: isAttached && body.AttachStdout === true,
        stderr: isAttached && body.AttachStderr === true,
        detachKeys: stdin && body.Tty === true ? parseDetachKeys(body.DetachKeys) : undefined,
        onDetach: () => lifecycle.emit(container, "exec_detach", { execID: session.id }),
      });
      await live.connect(handle.streams);
      if (!isAttached) {
        tasks.run(`exec ${session.id.slice(0, 12)}`, async (signal) => {
          const close = (): void => live.close();
          signal.addEventListener("abort", close, { once: true });
          // Read so that the process never waits for room.
          for await (const _ of live.output) continue;
          signal.removeEventListener("abort", close);
        });
        return undefined;
      }
      return withExit(live, exited);
    } catch (error) {
      const code = error instanceof GantryError ? (error.data["exitCode"] as number | undefined) : undefined;
      const words = code === undefined ? "" : execWords(errorMessage(error), body, code);
      // docker tells by these words that something is missing.
      session.ended(/no such file or directory|file not found/.test(words) ? 127 : (code ?? 126), clock.now());
      if (code === undefined) throw error;
      const hint = words.endsWith(": is a directory") ? ": permission denied" : "";
      throw new GantryError(
        "invalid",
        `OCI runtime exec failed: exec failed: unable to start container process: ${words}: unknown${hint}`,
        { cause: error },
      );
    }
  }

  inspect(id: string): ExecInspect {
    return this.#get(id).inspect();
  }

  async resize(id: string, size: { height: number; width: number }): Promise<void> {
    const session = this.#get(id);
    // The client of a start that is under way has its stream, and sends the size at once.
    const waited = new AbortController();
    const timeout = this.#parts.clock.sleep(resizeWaitMs, waited.signal).catch(() => {});
    await Promise.race([session.settled, timeout]);
    waited.abort();
    if (!session.isRunning || session.handle === undefined) {
      throw new GantryError("conflict", `Exec ${session.id} is not running`);
    }
    await session.handle.resize(size);
  }
}

/** The exit status must be known when the client sees the end of the output: it asks at once. */
function withExit(session: ProcessSession, exited: Promise<void>): StreamSession {
  const output = (async function* () {
    yield* session.output;
    if (!session.isDetached) await exited;
  })();
  return {
    tty: session.tty,
    output,
    write: (chunk) => session.write(chunk),
    closeStdin: () => session.closeStdin(),
    close: () => session.close(),
  };
}

/** The program, a space, its arguments. */
function eventCommand({ Cmd: command }: ExecCreateBody): string {
  const [program = "", ...rest] = command ?? [];
  return `${program} ${rest.join(" ")}`;
}

function execWords(text: string, body: ExecCreateBody, code: number): string {
  const program = body.Cmd?.[0] ?? "";
  if (program === "") return 'exec: "": executable file not found in $PATH';
  if (text.includes('exec: "')) return text;
  if (code === 127) {
    return program.includes("/")
      ? `exec: "${program}": stat ${program}: no such file or directory`
      : `exec: "${program}": executable file not found in $PATH`;
  }
  const folder = /^chdir [`'"](.*)[`'"]/.exec(text)?.[1];
  if (folder !== undefined) return `chdir to cwd ("${folder}") set in config.json failed: no such file or directory`;
  return code === 126 ? `exec: "${program}": permission denied` : text;
}

function checkRunning(container: Container, name = container.id): void {
  const { state, id } = container;
  if (state.Restarting)
    throw new GantryError("conflict", `Container ${id} is restarting, wait until the container is running`);
  if (!state.Running) throw new GantryError("conflict", `container ${id} is not running`);
  if (state.Paused) throw new GantryError("conflict", `Container ${name} is paused, unpause the container before exec`);
}
