import type { PodSandboxStatus } from "#api/pod-runtime.ts";
import { errorMessage } from "#base/errors.ts";
import { containerConfig } from "./container-config.ts";
import type { ContainerStopper } from "./container-stopper.ts";
import type { DownwardFacts } from "./downward.ts";
import { containerEnvironment } from "./environment.ts";
import { ImageError, type RegistryAuth, abortable, registryAuths } from "./image-puller.ts";
import { runHook } from "./lifecycle-hook.ts";
import { type PodServices, podReference } from "./pod-services.ts";
import type { ConfigMap, Container, Pod, Secret } from "./pod-types.ts";
import type { PreparedVolumes } from "./volumes/volume-store.ts";

/** Why a container did not start, as its waiting state shows it. */
export interface StartFailure {
  reason: string;
  message: string;
  /** When to try again. */
  retryMs: number;
  /** The instance that was made and could not be started. */
  failedId?: string;
}

const configRetryMs = 10_000;

export interface StartRequest {
  pod: Pod;
  container: Container;
  attempt: number;
  sandbox: PodSandboxStatus;
  volumes: PreparedVolumes;
  facts: DownwardFacts;
  signal: AbortSignal;
  /** Called once the container runs and its postStart hook is about to. */
  onStarting(containerId: string): void;
  onStarted(containerId: string): void;
}

/** Reads of ConfigMaps and Secrets on behalf of a pod, which from then on follows them. */
export function podObjects(
  services: PodServices,
  uid: string,
  signal: AbortSignal,
): {
  configMap(namespace: string, name: string): Promise<ConfigMap>;
  secret(namespace: string, name: string): Promise<Secret>;
} {
  return {
    configMap: (namespace, name) => services.objects.get<ConfigMap>(uid, "configmaps", namespace, name, signal),
    secret: (namespace, name) => services.objects.get<Secret>(uid, "secrets", namespace, name, signal),
  };
}

/** Image, configuration, creation, start and postStart hook of one container. Undefined when it runs. */
export async function startContainer(
  services: PodServices,
  stopper: ContainerStopper,
  request: StartRequest,
): Promise<StartFailure | undefined> {
  const { pod, container, attempt, sandbox, volumes, facts, signal } = request;
  const { runtime, view, recorder } = services;
  const uid = pod.metadata?.uid ?? "";
  const record = (type: "Normal" | "Warning", reason: string, message: string): void =>
    recorder.event(podReference(pod, container), type, reason, message);
  const fail = (reason: string, error: unknown, retryMs: number): StartFailure => {
    if (signal.aborted) throw error;
    const message = errorMessage(error);
    record("Warning", "Failed", `Error: ${message}`);
    return { reason, message, retryMs };
  };

  let image;
  try {
    image = await services.images.ensure(
      pod,
      container,
      await pullSecrets(services, pod, container, signal),
      record,
      signal,
    );
  } catch (error) {
    if (!(error instanceof ImageError)) return fail("ErrImagePull", error, configRetryMs);
    record("Warning", "Failed", `Error: ${error.reason}`);
    return { reason: error.reason, message: error.message, retryMs: error.retryMs ?? configRetryMs };
  }

  let config;
  try {
    await abortable(services.servicesSynced, signal);
    const sources = { ...podObjects(services, uid, signal), services: services.services };
    const environment = await containerEnvironment(pod, container, sources, facts);
    config = containerConfig(pod, container, {
      attempt,
      image,
      environment,
      mounts: await services.volumes.mounts(container, volumes, environment, pod),
      terminationMessageFile: await services.volumes.terminationMessageFile(pod, container.name, attempt),
      nodeMemoryBytes: services.nodeMemoryBytes,
      seccompRoot: services.seccompRoot,
    });
  } catch (error) {
    return fail("CreateContainerConfigError", error, configRetryMs);
  }

  let id: string;
  try {
    id = await runtime.createContainer(sandbox.id, config);
  } catch (error) {
    return fail("CreateContainerError", error, configRetryMs);
  }
  view.touchContainer(uid, id);
  record("Normal", "Created", "Container created");
  request.onStarting(id);
  try {
    try {
      await runtime.startContainer(id);
    } catch (error) {
      // From here on it counts as an instance that ended: the back-off of crashes applies.
      return { ...fail("RunContainerError", error, 0), failedId: id };
    } finally {
      view.touchContainer(uid, id);
    }
    record("Normal", "Started", "Container started");
    await linkLog(services, pod, container, id);
    return await postStart(services, stopper, request, id);
  } finally {
    request.onStarted(id);
  }
}

/** For log collectors; a container runs without. */
async function linkLog(services: PodServices, pod: Pod, container: Container, id: string): Promise<void> {
  const { name = "", namespace = "" } = pod.metadata ?? {};
  try {
    const { logPath } = await services.runtime.containerStatus(id);
    if (logPath !== "") await services.logLinks.add({ pod: name, namespace, name: container.name, id }, logPath);
  } catch (error) {
    services.log.warn("A log could not be linked.", { container: id, error: errorMessage(error) });
  }
}

async function postStart(
  services: PodServices,
  stopper: ContainerStopper,
  request: StartRequest,
  id: string,
): Promise<StartFailure | undefined> {
  const { pod, container, sandbox, signal } = request;
  const hook = container.lifecycle?.postStart;
  if (hook === undefined) return undefined;
  const podIp = sandbox.ips[0] ?? services.node.hostIp;
  try {
    await abortable(runHook(services.runtime, services.clock, hook, container, id, podIp, 3600_000, signal), signal);
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    services.recorder.event(podReference(pod, container), "Warning", "FailedPostStartHook", "PostStartHook failed");
    const grace = pod.spec?.terminationGracePeriodSeconds ?? 30;
    const status = await services.runtime.containerStatus(id);
    await stopper.stop(pod, container, status, "FailedPostStartHook", grace, podIp, signal);
    return { reason: "PostStartHookError", message: "PostStartHook failed", retryMs: 0 };
  }
}

async function pullSecrets(
  services: PodServices,
  pod: Pod,
  container: Container,
  signal: AbortSignal,
): Promise<RegistryAuth[]> {
  const secrets: Secret[] = [];
  const { namespace = "", uid = "" } = pod.metadata ?? {};
  for (const { name } of pod.spec?.imagePullSecrets ?? []) {
    if (!name) continue;
    try {
      secrets.push(await services.objects.get<Secret>(uid, "secrets", namespace, name, signal));
    } catch (error) {
      if (signal.aborted) throw error;
      services.recorder.event(
        podReference(pod),
        "Warning",
        "FailedToRetrieveImagePullSecret",
        `Unable to retrieve some image pull secrets (${name}); attempting to pull the image may not succeed.`,
      );
    }
  }
  return registryAuths(secrets, container.image ?? "");
}
