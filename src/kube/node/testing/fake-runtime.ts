import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { PassThrough, type Duplex } from "node:stream";
import type {
  ContainerUsage,
  PodContainerConfig,
  PodContainerStatus,
  PodRuntime,
  PodSandboxConfig,
  PodSandboxStatus,
  RuntimeEvent,
  RuntimeImage,
} from "#api/pod-runtime.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import { GantryError } from "#base/errors.ts";

interface FakeContainer {
  status: PodContainerStatus;
  config: PodContainerConfig;
}

/** A runtime in memory, for tests: containers run until the test, or a stop, ends them. */
export class FakeRuntime implements PodRuntime {
  readonly sandboxes = new Map<string, { status: PodSandboxStatus; config: PodSandboxConfig }>();
  readonly containers = new Map<string, FakeContainer>();
  readonly images = new Map<string, RuntimeImage>();
  /** What was asked, in order: `start web`, `stop web 30`. */
  readonly calls: string[] = [];
  /** Exit codes of containers that end as soon as they start, by name; used up one by one. */
  readonly exits = new Map<string, number[]>();
  /** Errors of the next call of a method. */
  readonly failures = new Map<string, GantryError>();
  /** Answers of execSync, by command line. Default: exit 0. */
  exec1: (id: string, command: string[]) => { exitCode: number; output: string } = () => ({ exitCode: 0, output: "" });
  /** How long a container takes to stop after SIGTERM; more than the grace period: it is killed. */
  stopMs = 0;
  readonly #listeners = new Set<AsyncQueue<RuntimeEvent>>();
  #serial = 0;

  constructor() {
    this.addImage("gantry/hello");
  }

  addImage(name: string, more: Partial<RuntimeImage> = {}): void {
    this.images.set(name, { id: `sha256:${name}`, repoTags: [name], repoDigests: [], sizeBytes: 1234, ...more });
  }

  named(name: string): FakeContainer[] {
    return [...this.containers.values()].filter(({ config }) => config.metadata.name === name);
  }

  running(name: string): FakeContainer | undefined {
    return this.named(name).find(({ status }) => status.state === "running");
  }

  /** The container's process ends. */
  exit(id: string, exitCode: number, reason = exitCode === 0 ? "Completed" : "Error"): void {
    const container = this.#container(id);
    Object.assign(container.status, { state: "exited", exitCode, reason, finishedAt: Date.now() });
    this.#emit({ type: "container-exited", sandboxId: container.status.sandboxId, containerId: id });
  }

  /** The sandbox is lost, with everything in it. */
  breakSandbox(id: string): void {
    const sandbox = this.sandboxes.get(id);
    if (sandbox === undefined) return;
    sandbox.status.state = "not-ready";
    for (const { status } of this.containers.values())
      if (status.sandboxId === id && status.state === "running") this.exit(status.id, 137);
    this.#emit({ type: "sandbox-changed", sandboxId: id });
  }

  #emit(event: RuntimeEvent): void {
    for (const queue of this.#listeners) queue.push(event);
  }

  #container(id: string): FakeContainer {
    const container = this.containers.get(id);
    if (container === undefined) throw new GantryError("not-found", `no container ${id}`);
    return container;
  }

  #check(method: string): void {
    const failure = this.failures.get(method);
    this.failures.delete(method);
    if (failure !== undefined) throw failure;
  }

  async version(): Promise<{ name: string; version: string }> {
    return { name: "gantry", version: "0.1.0" };
  }

  async notReadyReason(): Promise<string | undefined> {
    return undefined;
  }

  async userNamespacesReason(): Promise<string | undefined> {
    return undefined;
  }

  async runPodSandbox(config: PodSandboxConfig): Promise<string> {
    this.#check("runPodSandbox");
    const id = `sandbox-${++this.#serial}`;
    this.calls.push(`sandbox ${config.metadata.name}`);
    const status: PodSandboxStatus = {
      id,
      metadata: config.metadata,
      state: "ready",
      createdAt: Date.now(),
      ips: config.hostNetwork ? [] : ["127.0.0.1"],
      netnsPath: "",
      labels: config.labels,
      annotations: config.annotations,
    };
    this.sandboxes.set(id, { status, config });
    return id;
  }

  async stopPodSandbox(id: string): Promise<void> {
    this.calls.push("stop-sandbox");
    this.breakSandbox(id);
  }

  async removePodSandbox(id: string): Promise<void> {
    this.calls.push("remove-sandbox");
    this.sandboxes.delete(id);
    for (const { status } of this.containers.values()) if (status.sandboxId === id) this.containers.delete(status.id);
  }

  async podSandboxStatus(id: string): Promise<PodSandboxStatus> {
    const sandbox = this.sandboxes.get(id);
    if (sandbox === undefined) throw new GantryError("not-found", `no sandbox ${id}`);
    return structuredClone(sandbox.status);
  }

  async listPodSandboxes(): Promise<PodSandboxStatus[]> {
    return [...this.sandboxes.values()].map(({ status }) => structuredClone(status));
  }

  async createContainer(sandboxId: string, config: PodContainerConfig): Promise<string> {
    this.#check("createContainer");
    const id = `container-${++this.#serial}`;
    this.calls.push(`create ${config.metadata.name}`);
    const logPath = join(this.sandboxes.get(sandboxId)?.config.logDirectory ?? "/nonexistent", config.logPath);
    this.containers.set(id, {
      config,
      status: {
        id,
        sandboxId,
        metadata: config.metadata,
        state: "created",
        createdAt: Date.now(),
        startedAt: 0,
        finishedAt: 0,
        exitCode: 0,
        reason: "",
        message: "",
        image: config.image,
        imageId: config.imageId,
        imageRef: config.imageId,
        labels: config.labels,
        annotations: config.annotations,
        logPath,
        pid: 0,
      },
    });
    mkdirSync(dirname(logPath), { recursive: true });
    writeFileSync(logPath, "");
    return id;
  }

  async startContainer(id: string): Promise<void> {
    this.#check("startContainer");
    const container = this.#container(id);
    const { name } = container.config.metadata;
    this.calls.push(`start ${name}`);
    Object.assign(container.status, { state: "running", startedAt: Date.now(), pid: 4242 });
    this.#emit({ type: "container-started", sandboxId: container.status.sandboxId, containerId: id });
    const code = this.exits.get(name)?.shift();
    if (code !== undefined) this.exit(id, code);
  }

  async stopContainer(id: string, timeoutSeconds: number): Promise<void> {
    const container = this.#container(id);
    this.calls.push(`stop ${container.config.metadata.name} ${timeoutSeconds}`);
    if (container.status.state !== "running") return;
    const wait = Math.min(this.stopMs, timeoutSeconds * 1000);
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (container.status.state === "running") this.exit(id, this.stopMs > timeoutSeconds * 1000 ? 137 : 143);
  }

  async updatePodSandboxResources(): Promise<void> {}

  async removeContainer(id: string): Promise<void> {
    this.containers.delete(id);
  }

  async containerStatus(id: string): Promise<PodContainerStatus> {
    return structuredClone(this.#container(id).status);
  }

  async listContainers(): Promise<PodContainerStatus[]> {
    return [...this.containers.values()].map(({ status }) => structuredClone(status));
  }

  async updateContainerResources(): Promise<void> {}

  async reopenContainerLog(id: string): Promise<void> {
    this.calls.push("reopen-log");
    writeFileSync(this.#container(id).status.logPath, "");
  }

  async execSync(id: string, command: string[]): Promise<{ exitCode: number; stdout: Uint8Array; stderr: Uint8Array }> {
    this.calls.push(`exec ${command.join(" ")}`);
    const { exitCode, output } = this.exec1(id, command);
    return { exitCode, stdout: Buffer.from(output), stderr: Buffer.alloc(0) };
  }

  async exec(): Promise<number> {
    return 0;
  }

  async attach(): Promise<void> {}

  async portForward(): Promise<Duplex> {
    return new PassThrough();
  }

  async imageStatus(image: string): Promise<RuntimeImage | undefined> {
    return this.images.get(image) ?? [...this.images.values()].find(({ id }) => id === image);
  }

  async pullImage(image: string): Promise<string> {
    this.calls.push(`pull ${image}`);
    this.#check("pullImage");
    if (!image.startsWith("registry.test/")) throw new GantryError("not-found", `pull access denied for ${image}`);
    this.addImage(image);
    return `sha256:${image}`;
  }

  async listImages(): Promise<RuntimeImage[]> {
    return [...this.images.values()];
  }

  async removeImage(image: string): Promise<void> {
    this.images.delete(image);
  }

  async imageFsInfo(): Promise<{
    usedBytes: number;
    capacityBytes: number;
    availableBytes: number;
    inodesUsed: number;
    inodes: number;
    inodesFree: number;
  }> {
    return { usedBytes: 1, capacityBytes: 2, availableBytes: 1, inodesUsed: 1, inodes: 2, inodesFree: 1 };
  }

  async stats(): Promise<ContainerUsage[]> {
    return [];
  }

  async *events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const queue = new AsyncQueue<RuntimeEvent>();
    this.#listeners.add(queue);
    const end = (): void => queue.end();
    signal.addEventListener("abort", end, { once: true });
    try {
      yield* queue;
    } finally {
      this.#listeners.delete(queue);
      signal.removeEventListener("abort", end);
    }
  }
}
