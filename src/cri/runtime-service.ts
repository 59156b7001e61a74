import type { ContainerUsage, PodContainerStatus, PodRuntime, PodSandboxStatus } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import type { RemoteCommandOptions } from "#web/remote-command.ts";
import { containerConfigOf, hasRecursiveReadOnly, resourcesOf } from "./container-request.ts";
import { fullId, hasLabels } from "./filters.ts";
import type { Handlers, RuntimeRequests } from "./messages.ts";
import { metricDescriptors, sandboxMetrics } from "./metrics.ts";
import { sandboxConfigOf } from "./sandbox-request.ts";
import {
  containerMessage,
  containerState,
  containerStatsMessage,
  containerStatusMessage,
  nanoseconds,
  sandboxMessage,
  sandboxState,
  sandboxStatsMessage,
  sandboxStatusMessage,
} from "./status-messages.ts";
import type { StreamingServer } from "./streaming-server.ts";

export interface RuntimeServiceParts {
  runtime: PodRuntime;
  clock: Clock;
  streaming: Pick<StreamingServer, "url">;
}

/** More of ExecSync's output is dropped, as CRI asks for. */
const execOutputLimit = 16 * 1024 * 1024 - 64 * 1024;

/** `runtime.v1.RuntimeService` over the port: the unary methods. */
export function runtimeHandlers(parts: RuntimeServiceParts): Handlers<RuntimeRequests> {
  const { runtime, clock, streaming } = parts;

  const sandboxId = async (id: string): Promise<string> =>
    fullId(id, "sandbox", async () => (await runtime.listPodSandboxes()).map((sandbox) => sandbox.id));
  const containerId = async (id: string): Promise<string> =>
    fullId(id, "container", async () => (await runtime.listContainers()).map((container) => container.id));
  const mountpoint = async (): Promise<string> => (await runtime.imageFsInfo()).path ?? "";

  async function runningContainer(id: string): Promise<PodContainerStatus> {
    const status = await runtime.containerStatus(await containerId(id));
    if (status.state !== "running") {
      throw new GantryError("conflict", `container "${id}" is in ${containerState(status)} state`);
    }
    return status;
  }

  async function usages(ids: string[]): Promise<Map<string, ContainerUsage>> {
    return new Map((await runtime.stats(ids)).map((usage) => [usage.containerId, usage]));
  }

  /** Sandboxes that are ready, and what their containers use. */
  async function sandboxUsages(
    matches: (sandbox: PodSandboxStatus) => boolean,
  ): Promise<{ sandbox: PodSandboxStatus; containers: { status: PodContainerStatus; usage: ContainerUsage }[] }[]> {
    const [all, running] = await Promise.all([runtime.listPodSandboxes(), runtime.listContainers()]);
    const found = all.filter((sandbox) => sandbox.state === "ready" && matches(sandbox));
    const ids = new Set(found.map(({ id }) => id));
    const members = running.filter((container) => ids.has(container.sandboxId));
    const byId = await usages(members.map(({ id }) => id));
    return found.map((sandbox) => ({
      sandbox,
      containers: members.flatMap((status) => {
        const usage = status.sandboxId === sandbox.id ? byId.get(status.id) : undefined;
        return usage === undefined ? [] : [{ status, usage }];
      }),
    }));
  }

  const versions: Pick<Handlers<RuntimeRequests>, "Version" | "Status" | "RuntimeConfig" | "UpdateRuntimeConfig"> = {
    async Version() {
      const { name, version } = await runtime.version();
      return { version: "0.1.0", runtimeName: name, runtimeVersion: version, runtimeApiVersion: "v1" };
    },
    async Status({ verbose }) {
      const reason = await runtime.notReadyReason();
      const condition = (type: string): object =>
        reason === undefined
          ? { type, status: true }
          : { type, status: false, reason: `${type.replace("Ready", "")}NotReady`, message: reason };
      return {
        status: { conditions: [condition("RuntimeReady"), condition("NetworkReady")] },
        runtimeHandlers: [
          {
            name: "",
            features: {
              recursiveReadOnlyMounts: hasRecursiveReadOnly(),
              userNamespaces: (await runtime.userNamespacesReason()) === undefined,
            },
          },
        ],
        features: { supplementalGroupsPolicy: true },
        ...(verbose ? { info: { version: JSON.stringify(await runtime.version()) } } : {}),
      };
    },
    async RuntimeConfig() {
      return { linux: { cgroupDriver: "CGROUPFS" } };
    },
    /** The pods' range belongs to the instance, which has one from its start. A client's is taken note of only. */
    async UpdateRuntimeConfig() {
      return {};
    },
  };

  const sandboxes: Pick<
    Handlers<RuntimeRequests>,
    | "RunPodSandbox"
    | "StopPodSandbox"
    | "RemovePodSandbox"
    | "PodSandboxStatus"
    | "ListPodSandbox"
    | "UpdatePodSandboxResources"
  > = {
    async RunPodSandbox({ config, runtimeHandler }) {
      if (runtimeHandler !== "") {
        throw new GantryError("invalid", `no runtime for "${runtimeHandler}" is configured`);
      }
      return { podSandboxId: await runtime.runPodSandbox(sandboxConfigOf(config)) };
    },
    async StopPodSandbox({ podSandboxId }) {
      await runtime.stopPodSandbox(await sandboxId(podSandboxId));
      return {};
    },
    async RemovePodSandbox({ podSandboxId }) {
      await runtime.removePodSandbox(await sandboxId(podSandboxId));
      return {};
    },
    async PodSandboxStatus({ podSandboxId, verbose }) {
      const status = await runtime.podSandboxStatus(await sandboxId(podSandboxId));
      return {
        status: sandboxStatusMessage(status),
        timestamp: nanoseconds(clock.now()),
        ...(verbose
          ? { info: { info: JSON.stringify({ netns: status.netnsPath, resources: status.resources }) } }
          : {}),
      };
    },
    /** Whoever asks has changed the pod's cgroup already (CRI v1, UpdatePodSandboxResources): it is taken note of. */
    async UpdatePodSandboxResources({ podSandboxId, resources }) {
      const id = await sandboxId(podSandboxId);
      await runtime.updatePodSandboxResources(id, resources === null ? {} : resourcesOf(resources));
      return {};
    },
    async ListPodSandbox({ filter }) {
      const wanted = filter?.id ? await sandboxId(filter.id) : "";
      const all = await runtime.listPodSandboxes();
      const items = all.filter(
        (sandbox) =>
          (wanted === "" || sandbox.id === wanted) &&
          (!filter?.state || sandboxState(sandbox) === filter.state.state) &&
          hasLabels(sandbox.labels, filter?.labelSelector),
      );
      return { items: items.map(sandboxMessage) };
    },
  };

  const containers: Pick<
    Handlers<RuntimeRequests>,
    | "CreateContainer"
    | "StartContainer"
    | "StopContainer"
    | "RemoveContainer"
    | "ListContainers"
    | "ContainerStatus"
    | "UpdateContainerResources"
    | "ReopenContainerLog"
  > = {
    async CreateContainer({ podSandboxId, config, sandboxConfig }) {
      const name = config?.image?.image ?? "";
      if (name === "") throw new GantryError("invalid", "container config must name an image");
      const image = await runtime.imageStatus(name);
      if (image === undefined) throw new GantryError("not-found", `image "${name}" not found`);
      const id = await sandboxId(podSandboxId);
      return { containerId: await runtime.createContainer(id, containerConfigOf(config, sandboxConfig, image.id)) };
    },
    async StartContainer(request) {
      const id = await containerId(request.containerId);
      const { state } = await runtime.containerStatus(id);
      if (state !== "created") {
        throw new GantryError("conflict", `container "${request.containerId}" is not in created state`);
      }
      await runtime.startContainer(id);
      return {};
    },
    async StopContainer(request) {
      await runtime.stopContainer(await containerId(request.containerId), request.timeout);
      return {};
    },
    async RemoveContainer(request) {
      await runtime.removeContainer(await containerId(request.containerId));
      return {};
    },
    async ListContainers({ filter }) {
      const wanted = filter?.id ? await containerId(filter.id) : "";
      const inSandbox = filter?.podSandboxId ? await sandboxId(filter.podSandboxId) : "";
      const all = await runtime.listContainers();
      const found = all.filter(
        (container) =>
          (wanted === "" || container.id === wanted) &&
          (inSandbox === "" || container.sandboxId === inSandbox) &&
          (!filter?.state || containerState(container) === filter.state.state) &&
          hasLabels(container.labels, filter?.labelSelector),
      );
      return { containers: found.map(containerMessage) };
    },
    async ContainerStatus(request) {
      const status = await runtime.containerStatus(await containerId(request.containerId));
      return {
        status: containerStatusMessage(status),
        ...(request.verbose
          ? { info: { info: JSON.stringify({ pid: status.pid, sandboxID: status.sandboxId }) } }
          : {}),
      };
    },
    async UpdateContainerResources({ containerId: id, linux }) {
      if (linux === null) throw new GantryError("invalid", "no resources are given");
      await runtime.updateContainerResources(await containerId(id), resourcesOf(linux));
      return {};
    },
    async ReopenContainerLog(request) {
      const { id } = await runningContainer(request.containerId);
      await runtime.reopenContainerLog(id);
      return {};
    },
  };

  const streamOptions = ({ tty, stdin, stdout, stderr }: RemoteCommandOptions): RemoteCommandOptions => {
    if (tty && stderr) throw new GantryError("invalid", "tty and stderr cannot both be true");
    if (!stdin && !stdout && !stderr) {
      throw new GantryError("invalid", "one of stdin, stdout, or stderr must be set");
    }
    return { tty, stdin, stdout, stderr };
  };

  const execution: Pick<Handlers<RuntimeRequests>, "ExecSync" | "Exec" | "Attach" | "PortForward"> = {
    async ExecSync(request) {
      const { id } = await runningContainer(request.containerId);
      const { exitCode, stdout, stderr } = await runtime.execSync(id, request.cmd, request.timeout);
      return {
        exitCode,
        stdout: stdout.subarray(0, execOutputLimit / 2),
        stderr: stderr.subarray(0, execOutputLimit / 2),
      };
    },
    async Exec(request) {
      const streams = streamOptions(request);
      const { id } = await runningContainer(request.containerId);
      return { url: await streaming.url({ kind: "exec", containerId: id, command: request.cmd, streams }) };
    },
    async Attach(request) {
      const streams = streamOptions(request);
      const { id } = await runningContainer(request.containerId);
      return { url: await streaming.url({ kind: "attach", containerId: id, streams }) };
    },
    async PortForward({ podSandboxId }) {
      const { id, state } = await runtime.podSandboxStatus(await sandboxId(podSandboxId));
      if (state !== "ready") throw new GantryError("conflict", `sandbox container "${id}" is not running`);
      return { url: await streaming.url({ kind: "portforward", sandboxId: id }) };
    },
  };

  const statistics: Pick<
    Handlers<RuntimeRequests>,
    | "ContainerStats"
    | "ListContainerStats"
    | "PodSandboxStats"
    | "ListPodSandboxStats"
    | "ListMetricDescriptors"
    | "ListPodSandboxMetrics"
  > = {
    async ContainerStats(request) {
      const status = await runtime.containerStatus(await containerId(request.containerId));
      const usage = (await usages([status.id])).get(status.id);
      return { stats: containerStatsMessage(status, usage, await mountpoint()) };
    },
    async ListContainerStats({ filter }) {
      const wanted = filter?.id ? await containerId(filter.id) : "";
      const inSandbox = filter?.podSandboxId ? await sandboxId(filter.podSandboxId) : "";
      const found = (await runtime.listContainers()).filter(
        (container) =>
          (wanted === "" || container.id === wanted) &&
          (inSandbox === "" || container.sandboxId === inSandbox) &&
          hasLabels(container.labels, filter?.labelSelector),
      );
      const [byId, path] = await Promise.all([usages(found.map(({ id }) => id)), mountpoint()]);
      return { stats: found.map((status) => containerStatsMessage(status, byId.get(status.id), path)) };
    },
    async PodSandboxStats({ podSandboxId }) {
      const id = await sandboxId(podSandboxId);
      await runtime.podSandboxStatus(id);
      const { stats } = (await statistics.ListPodSandboxStats({ filter: { id, labelSelector: {} } })) as {
        stats: object[];
      };
      return { stats: stats[0] };
    },
    async ListPodSandboxStats({ filter }) {
      const wanted = filter?.id ? await sandboxId(filter.id) : "";
      const [found, path] = await Promise.all([
        sandboxUsages(
          (sandbox) => (wanted === "" || sandbox.id === wanted) && hasLabels(sandbox.labels, filter?.labelSelector),
        ),
        mountpoint(),
      ]);
      const now = clock.now();
      return { stats: found.map(({ sandbox, containers: own }) => sandboxStatsMessage(sandbox, own, now, path)) };
    },
    async ListMetricDescriptors() {
      return { descriptors: metricDescriptors() };
    },
    async ListPodSandboxMetrics() {
      const found = await sandboxUsages(() => true);
      return { podMetrics: found.map(({ sandbox, containers: own }) => sandboxMetrics(sandbox, own)) };
    },
  };

  return { ...versions, ...sandboxes, ...containers, ...execution, ...statistics };
}
