import type { ContainerMount, ContainerSecurity, PodContainerConfig, RuntimeImage } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import { expandVariables } from "./environment.ts";
import { containerHash } from "./pod-actions.ts";
import { containerResources } from "./pod-resources.ts";
import { type AppArmorProfile, type Container, type Pod, type SeccompProfile, podLabel } from "./pod-types.ts";
import { runtimeAnnotations, runtimeLabels } from "./runtime-view.ts";

export interface ContainerFacts {
  attempt: number;
  image: RuntimeImage;
  environment: ReadonlyMap<string, string>;
  mounts: ContainerMount[];
  /** The host's file that is mounted at the termination message path. */
  terminationMessageFile: string;
  nodeMemoryBytes: number;
  /** Folder of seccomp profiles for `Localhost`. */
  seccompRoot: string;
}

/** Log path of one container instance, below the pod's log folder. */
export function containerLogPath(name: string, attempt: number): string {
  return `${name}/${attempt}.log`;
}

/** Refuses what may not run as root: the kubelet's verifyRunAsNonRoot and its messages. Throws `invalid`. */
export function verifyNonRoot(pod: Pod, container: Container, image: RuntimeImage): void {
  const podContext = pod.spec?.securityContext ?? {};
  const context = container.securityContext ?? {};
  if ((context.runAsNonRoot ?? podContext.runAsNonRoot) !== true) return;
  const user = context.runAsUser ?? podContext.runAsUser;
  const where = `(pod: "${podLabel(pod)}", container: ${container.name})`;
  if (user !== undefined) {
    if (user === 0) throw new GantryError("invalid", `container's runAsUser breaks non-root policy ${where}`);
    return;
  }
  if (image.username !== undefined && image.username !== "" && image.uid === undefined) {
    throw new GantryError(
      "invalid",
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root ${where}`,
    );
  }
  if ((image.uid ?? 0) === 0) {
    throw new GantryError("invalid", `container has runAsNonRoot and image will run as root ${where}`);
  }
}

function seccomp(profile: SeccompProfile | undefined, root: string): string {
  switch (profile?.type) {
    case "RuntimeDefault":
      return "runtime/default";
    case "Localhost":
      return `localhost/${root}/${profile.localhostProfile ?? ""}`;
    default:
      return "unconfined";
  }
}

/** The profile that holds for a container: its own, or its pod's. */
export function appArmorOf(pod: Pod, container: Container): AppArmorProfile | undefined {
  return container.securityContext?.appArmorProfile ?? pod.spec?.securityContext?.appArmorProfile;
}

/** For the port: a profile that the kernel has, or `unconfined`; the engine's own is what there is without a name. */
function appArmor(profile: AppArmorProfile | undefined): { apparmorProfile?: string } {
  if (profile?.type === "Localhost") return { apparmorProfile: profile.localhostProfile ?? "" };
  return profile?.type === "Unconfined" ? { apparmorProfile: "unconfined" } : {};
}

export function containerSecurity(pod: Pod, container: Container, seccompRoot: string): ContainerSecurity {
  const podContext = pod.spec?.securityContext ?? {};
  const context = container.securityContext ?? {};
  const privileged = context.privileged === true;
  const groups = [...(podContext.supplementalGroups ?? [])];
  if (podContext.fsGroup !== undefined) groups.push(podContext.fsGroup);
  return {
    privileged,
    runAsUser: context.runAsUser ?? podContext.runAsUser,
    runAsGroup: context.runAsGroup ?? podContext.runAsGroup,
    supplementalGroups: [...new Set(groups)],
    readOnlyRootFilesystem: context.readOnlyRootFilesystem === true,
    noNewPrivileges: context.allowPrivilegeEscalation === false,
    capabilitiesAdd: context.capabilities?.add ?? [],
    capabilitiesDrop: context.capabilities?.drop ?? [],
    seccompProfile: privileged
      ? "unconfined"
      : seccomp(context.seccompProfile ?? podContext.seccompProfile, seccompRoot),
    ...appArmor(appArmorOf(pod, container)),
  };
}

/** What the runtime is told about a container. Throws `invalid` with a message for CreateContainerConfigError. */
export function containerConfig(pod: Pod, container: Container, facts: ContainerFacts): PodContainerConfig {
  verifyNonRoot(pod, container, facts.image);
  const expand = (text: string): string => expandVariables(text, (name) => facts.environment.get(name));
  const messagePath = container.terminationMessagePath ?? "/dev/termination-log";
  const { name = "", namespace = "", uid = "" } = pod.metadata ?? {};
  return {
    metadata: { name: container.name, attempt: facts.attempt },
    imageId: facts.image.id,
    image: container.image ?? "",
    command: (container.command ?? []).map(expand),
    args: (container.args ?? []).map(expand),
    ...(container.workingDir ? { workingDir: container.workingDir } : {}),
    env: [...facts.environment].map(([variable, value]) => ({ name: variable, value })),
    mounts: [
      ...facts.mounts,
      {
        hostPath: facts.terminationMessageFile,
        containerPath: messagePath,
        readOnly: false,
        propagation: "private" as const,
      },
    ].map((mount) => (pod.spec?.hostUsers === false ? { ...mount, idMapped: true } : mount)),
    devices: [],
    labels: {
      [runtimeLabels.podName]: name,
      [runtimeLabels.podNamespace]: namespace,
      [runtimeLabels.podUid]: uid,
      [runtimeLabels.containerName]: container.name,
    },
    annotations: {
      [runtimeAnnotations.hash]: containerHash(container),
      [runtimeAnnotations.restartCount]: String(facts.attempt),
      [runtimeAnnotations.terminationMessagePath]: messagePath,
      [runtimeAnnotations.terminationMessagePolicy]: container.terminationMessagePolicy ?? "File",
      [runtimeAnnotations.terminationMessageFile]: facts.terminationMessageFile,
      [runtimeAnnotations.podTerminationGracePeriod]: String(pod.spec?.terminationGracePeriodSeconds ?? 30),
    },
    logPath: containerLogPath(container.name, facts.attempt),
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
    resources: containerResources(pod, container, facts.nodeMemoryBytes),
    security: containerSecurity(pod, container, facts.seccompRoot),
  };
}
