/** The API's types that the node agent reads and writes, and two small readings of them. */
import type { Container, Pod } from "#api/kube/generated/types.ts";

export type {
  AppArmorProfile,
  ConfigMap,
  ConfigMapKeySelector,
  Container,
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  DownwardAPIVolumeFile,
  EnvVar,
  HTTPGetAction,
  KeyToPath,
  LifecycleHandler,
  ObjectFieldSelector,
  Pod,
  PodCondition,
  PodSpec,
  PodStatus,
  Probe,
  ResourceFieldSelector,
  ResourceRequirements,
  SeccompProfile,
  Secret,
  SecretKeySelector,
  Service,
  Volume,
  VolumeMount,
} from "#api/kube/generated/types.ts";
/** `name_namespace(uid)`, as the kubelet writes pods in messages. */
export function podLabel(pod: Pod): string {
  const { name, namespace, uid } = pod.metadata ?? {};
  return `${name}_${namespace}(${uid})`;
}

/** An init container with `restartPolicy: Always`: a sidecar. */
export function isSidecar(container: Container): boolean {
  return container.restartPolicy === "Always";
}
