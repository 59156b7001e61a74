import type { PodContainerStatus, PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError, errorCode, errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "#web/http.ts";
import { servePortForward } from "#web/port-forward.ts";
import { type RemoteCommandOptions, acceptRemoteCommand } from "#web/remote-command.ts";
import { Router } from "#web/router.ts";
import { latestOf } from "../pod-actions.ts";
import type { PodManager } from "../pod-manager.ts";
import type { Pod } from "../pod-types.ts";
import { type PodView, type RuntimeView, runtimeLabels } from "../runtime-view.ts";
import { type LogOptions, readLog } from "./log-reader.ts";
import { UsageRates, machineUsage, resourceMetrics, statsSummary } from "./stats-summary.ts";

export interface NodeServerParts {
  nodeName: string;
  runtime: PodRuntime;
  view: RuntimeView;
  pods: PodManager;
  clock: Clock;
  log: Logger;
  /** Who may do anything: common names of client certificates. Others, and nobody else's, are refused. */
  allowedUsers: readonly string[];
}

type Route = (request: HttpRequest, response: HttpResponse, params: Readonly<Record<string, string>>) => Promise<void>;

const statusOf: Partial<Record<ReturnType<typeof errorCode>, number>> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  "not-found": 404,
  unsupported: 501,
  unavailable: 503,
};

const reasons: Record<number, string> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  503: "ServiceUnavailable",
};

/** Plain text as the kubelet's; a `Status` for a client of the API whose request was passed on as it is. */
function sendFailure(request: HttpRequest, response: HttpResponse, error: unknown): void {
  const code = statusOf[errorCode(error)] ?? 500;
  const message = errorMessage(error);
  if (request.upgrade === undefined && request.header("accept").includes("application/json")) {
    const reason = reasons[code] ?? "InternalError";
    response.sendJson(code, {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      reason,
      code,
    });
  } else response.send(code, { "Content-Type": "text/plain; charset=utf-8" }, message);
}

/** The node's own API, which the API server calls for logs, exec, attach, port-forward and statistics. */
export class NodeServer {
  readonly #parts: NodeServerParts;
  readonly #router = new Router<Route>();
  readonly #rates = new UsageRates();
  readonly #startTime: string;
  #lastNode: { cpuNanoseconds: number; at: number } | undefined;

  constructor(parts: NodeServerParts) {
    this.#parts = parts;
    this.#startTime = new Date(parts.clock.now()).toISOString();
    const both = (pattern: string, route: Route): void => {
      this.#router.add("GET", pattern, route).add("POST", pattern, route);
    };
    this.#router
      .add("GET", "/healthz", async (_request, response) =>
        response.send(200, { "Content-Type": "text/plain; charset=utf-8" }, "ok"),
      )
      .add("GET", "/pods", async (_request, response) => this.#podList(response))
      .add("GET", "/stats/summary", async (_request, response) => this.#summary(response))
      .add("GET", "/metrics/resource", async (_request, response) => this.#resourceMetrics(response))
      .add("GET", "/metrics", async (_request, response) => this.#metrics(response))
      .add("GET", "/containerLogs/{namespace}/{pod}/{container}", (request, response, params) =>
        this.#logs(request, response, params),
      );
    both("/exec/{namespace}/{pod}/{container}", (request, response, params) => this.#exec(request, response, params));
    both("/attach/{namespace}/{pod}/{container}", (request, response, params) =>
      this.#attach(request, response, params),
    );
    both("/portForward/{namespace}/{pod}", (request, response, params) => this.#portForward(request, response, params));
  }

  readonly handler: HttpHandler = async (request, response) => {
    try {
      this.#authorise(request);
      const match = this.#router.find(request.method, request.path);
      if (match === undefined) throw new GantryError("not-found", "404 page not found");
      await match.value(request, response, match.params);
    } catch (error) {
      if (response.started || response.finished) throw error;
      sendFailure(request, response, error);
    }
  };

  #authorise(request: HttpRequest): void {
    if (request.path === "/healthz") return;
    const peer = request.peerCertificate;
    if (peer?.authorized !== true) throw new GantryError("unauthorized", "Unauthorized");
    const allowed = this.#parts.allowedUsers.includes(peer.commonName) || peer.organizations.includes("system:masters");
    if (!allowed) {
      throw new GantryError(
        "forbidden",
        `Forbidden (user=${peer.commonName}, verb=${request.method.toLowerCase()}, resource=nodes, subresource=proxy)`,
      );
    }
  }

  #pod(params: Readonly<Record<string, string>>): Pod {
    const { namespace = "", pod: name = "" } = params;
    const pod = this.#parts.pods.find(namespace, name);
    if (pod === undefined) throw new GantryError("not-found", `pod "${name}" in namespace "${namespace}" not found`);
    return pod;
  }

  async #running(params: Readonly<Record<string, string>>): Promise<PodContainerStatus> {
    const pod = this.#pod(params);
    const { container = "" } = params;
    const view = await this.#parts.view.view(pod.metadata?.uid ?? "");
    const status = latestOf(view, container);
    if (status === undefined || status.state !== "running") {
      throw new GantryError("not-found", `container not found ("${container}")`);
    }
    return status;
  }

  #podList(response: HttpResponse): void {
    response.sendJson(200, { kind: "PodList", apiVersion: "v1", metadata: {}, items: this.#parts.pods.pods() });
  }

  async #logs(request: HttpRequest, response: HttpResponse, params: Readonly<Record<string, string>>): Promise<void> {
    const pod = this.#pod(params);
    const { container = "" } = params;
    const known = [
      ...(pod.spec?.containers ?? []),
      ...(pod.spec?.initContainers ?? []),
      ...(pod.spec?.ephemeralContainers ?? []),
    ];
    if (!known.some(({ name }) => name === container)) {
      throw new GantryError("not-found", `container "${container}" not found in pod "${params.pod}"`);
    }
    const options = logOptions(request.query, this.#parts.clock.now());
    const uid = pod.metadata?.uid ?? "";
    const view = await this.#parts.view.view(uid);
    const previous = request.query.get("previous") === "true";
    const status = previous ? previousOf(view, container) : latestOf(view, container);
    if (status === undefined) throw missingLog(pod, container, previous);
    response.setHeader("Content-Type", "text/plain; charset=utf-8");
    response.start(200, {});
    const isRunning = async (): Promise<boolean> => {
      const now = (await this.#parts.view.view(uid)).containers.find(({ id }) => id === status.id);
      return now?.state === "running" || now?.state === "created";
    };
    try {
      await readLog(status.logPath, options, (chunk) => response.write(chunk), isRunning, request.signal);
    } catch (error) {
      if (!request.signal.aborted) response.write(`${errorMessage(error)}\n`);
    }
    response.end();
  }

  async #exec(request: HttpRequest, response: HttpResponse, params: Readonly<Record<string, string>>): Promise<void> {
    const command = request.query.getAll("command");
    if (command.length === 0) throw new GantryError("invalid", "you must specify at least one command");
    const options = streamOptions(request.query);
    const status = await this.#running(params);
    const session = await acceptRemoteCommand(request, response, options);
    try {
      await session.finish({ exitCode: await this.#parts.runtime.exec(status.id, command, options.tty, session) });
    } catch (error) {
      await session.finish({ error: errorMessage(error) });
    }
  }

  async #attach(request: HttpRequest, response: HttpResponse, params: Readonly<Record<string, string>>): Promise<void> {
    const options = streamOptions(request.query);
    const status = await this.#running(params);
    const session = await acceptRemoteCommand(request, response, options);
    try {
      await this.#parts.runtime.attach(status.id, options.tty, session);
      await session.finish({ exitCode: 0 });
    } catch (error) {
      await session.finish({ error: errorMessage(error) });
    }
  }

  async #portForward(
    request: HttpRequest,
    response: HttpResponse,
    params: Readonly<Record<string, string>>,
  ): Promise<void> {
    const pod = this.#pod(params);
    const view = await this.#parts.view.view(pod.metadata?.uid ?? "");
    const sandbox = view.sandboxes.find(({ state }) => state === "ready");
    if (sandbox === undefined) throw new GantryError("not-found", `pod "${params.pod}" is not running`);
    await servePortForward(request, response, {
      log: this.#parts.log,
      connect: (port, signal) => this.#parts.runtime.portForward(sandbox.id, port, signal),
    });
  }

  #containers(): Promise<PodContainerStatus[]> {
    return this.#parts.runtime.listContainers();
  }

  async #summary(response: HttpResponse): Promise<void> {
    const { runtime, pods, clock, nodeName } = this.#parts;
    const [containers, usages] = await Promise.all([this.#containers(), runtime.stats()]);
    const node = machineUsage();
    const now = clock.now();
    const before = this.#lastNode;
    this.#lastNode = { cpuNanoseconds: node.cpuNanoseconds, at: now };
    const nanoCores =
      before === undefined || now <= before.at
        ? 0
        : Math.round(((node.cpuNanoseconds - before.cpuNanoseconds) / (now - before.at)) * 1000);
    response.sendJson(
      200,
      statsSummary(
        nodeName,
        this.#startTime,
        pods.pods(),
        containers,
        this.#rates.next(usages),
        { ...node, nanoCores },
        now,
      ),
    );
  }

  async #resourceMetrics(response: HttpResponse): Promise<void> {
    const [containers, usages] = await Promise.all([this.#containers(), this.#parts.runtime.stats()]);
    const body = resourceMetrics(containers, usages, machineUsage(), this.#parts.clock.now());
    response.send(200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" }, body);
  }

  async #metrics(response: HttpResponse): Promise<void> {
    const containers = await this.#containers();
    const running = containers.filter(({ state }) => state === "running").length;
    const body = [
      "# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox",
      "# TYPE kubelet_running_pods gauge",
      `kubelet_running_pods ${this.#parts.pods.size}`,
      "# HELP kubelet_running_containers [ALPHA] Number of containers currently running",
      "# TYPE kubelet_running_containers gauge",
      `kubelet_running_containers{container_state="running"} ${running}`,
      `kubelet_running_containers{container_state="exited"} ${containers.length - running}`,
      "# HELP process_resident_memory_bytes Resident memory size in bytes.",
      "# TYPE process_resident_memory_bytes gauge",
      `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
    ];
    response.send(200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" }, `${body.join("\n")}\n`);
  }
}

function previousOf(view: PodView, container: string): PodContainerStatus | undefined {
  return view.containers.filter((one) => one.labels[runtimeLabels.containerName] === container)[1];
}

function missingLog(pod: Pod, container: string, previous: boolean): GantryError {
  const name = pod.metadata?.name;
  if (previous)
    return new GantryError("invalid", `previous terminated container "${container}" in pod "${name}" not found`);
  const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  const waiting = all.find((status) => status.name === container)?.state?.waiting;
  const detail = waiting?.message ?? waiting?.reason ?? "ContainerCreating";
  const cause =
    waiting?.reason?.includes("Image") === true && waiting.message !== undefined
      ? "trying and failing to pull image"
      : detail;
  return new GantryError("invalid", `container "${container}" in pod "${name}" is waiting to start: ${cause}`);
}

/** The query of an exec or attach: the kubelet's `input`, `output`, `error`, or the API's `stdin`, `stdout`, `stderr`. */
export function streamOptions(query: URLSearchParams): RemoteCommandOptions {
  const on = (...names: string[]): boolean => names.some((name) => ["1", "true"].includes(query.get(name) ?? ""));
  const tty = on("tty");
  return { stdin: on("input", "stdin"), stdout: on("output", "stdout"), stderr: on("error", "stderr") && !tty, tty };
}

/** The query of a log request (core/v1, PodLogOptions). Throws `invalid`. */
export function logOptions(query: URLSearchParams, now: number): LogOptions {
  const integer = (name: string): number | undefined => {
    const text = query.get(name);
    if (text === null || text === "") return undefined;
    if (!/^-?\d+$/.test(text)) throw new GantryError("invalid", `invalid value for ${name}: "${text}"`);
    return Number(text);
  };
  const sinceSeconds = integer("sinceSeconds");
  const sinceTime = query.get("sinceTime");
  const since =
    sinceSeconds === undefined ? (sinceTime ? Date.parse(sinceTime) : undefined) : now - sinceSeconds * 1000;
  const tail = integer("tailLines");
  const stream = query.get("stream");
  return {
    follow: query.get("follow") === "true",
    timestamps: query.get("timestamps") === "true",
    ...(tail === undefined ? {} : { tailLines: Math.max(0, tail) }),
    ...(integer("limitBytes") === undefined ? {} : { limitBytes: integer("limitBytes") }),
    ...(since === undefined ? {} : { since }),
    ...(stream === "Stdout" || stream === "Stderr" ? { stream } : {}),
  };
}
