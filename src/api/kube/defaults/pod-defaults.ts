/** Defaults of pods and their parts (Kubernetes 1.36, API reference of core/v1). */
import { type DefaultRule, each, type Fields, isEmpty, part, set } from "./rule.ts";

const reference =
  /^(?:[A-Za-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+|\/)[a-z0-9]+)*(?::([\w][\w.-]{0,127}))?(@.+)?$/;

/** Always for the tag `latest` and for no tag and no digest, else IfNotPresent, also for what is no reference. */
function pullPolicy(image: unknown): string {
  const match = reference.exec(typeof image === "string" ? image : "");
  if (match === null) return "IfNotPresent";
  const [, tag, digest] = match;
  return tag === "latest" || (tag === undefined && digest === undefined) ? "Always" : "IfNotPresent";
}

const container: DefaultRule = (object) => {
  set(object, "imagePullPolicy", pullPolicy(object["image"]));
  set(object, "terminationMessagePath", "/dev/termination-log");
  set(object, "terminationMessagePolicy", "File");
};

function requestsFromLimits(object: Fields): void {
  const resources = object["resources"] as Fields | undefined;
  if (isEmpty(resources?.["limits"])) return;
  resources!["requests"] = { ...(resources!["limits"] as Fields), ...(resources!["requests"] as Fields | undefined) };
}

function hostPorts(object: Fields): void {
  for (const port of each(object, "ports")) if (!port["hostPort"]) port["hostPort"] = port["containerPort"];
}

const defaultMode: DefaultRule = (object) => set(object, "defaultMode", 420);
const zeroAsAbsent = (object: Fields, name: string, value: number): void => {
  if (!object[name]) object[name] = value;
};

export const podDefaults: Record<string, DefaultRule> = {
  "core/v1.Pod": (object) => {
    const spec = part(object, "spec");
    const containers = [...each(spec, "containers"), ...each(spec, "initContainers")];
    for (const each of containers) requestsFromLimits(each);
    set(spec, "enableServiceLinks", true);
    if (spec["hostNetwork"] === true) for (const each of containers) hostPorts(each);
    const pod = spec["resources"] as Fields | undefined;
    if (pod !== undefined && !isEmpty(pod["limits"])) {
      const limits = pod["limits"] as Fields;
      const requests = (pod["requests"] ??= {}) as Fields;
      for (const name of Object.keys(limits))
        if (!(name in requests) && (name === "cpu" || name === "memory" || name.startsWith("hugepages-")))
          requests[name] = limits[name];
    }
  },
  "core/v1.PodSpec": (object) => {
    set(object, "dnsPolicy", "ClusterFirst");
    set(object, "restartPolicy", "Always");
    set(object, "securityContext", {});
    set(object, "terminationGracePeriodSeconds", 30);
    set(object, "schedulerName", "default-scheduler");
    if (object["hostNetwork"] === true)
      for (const each_ of [...each(object, "containers"), ...each(object, "initContainers")]) hostPorts(each_);
    // The older name of serviceAccountName follows it, both ways.
    if (object["serviceAccountName"]) object["serviceAccount"] = object["serviceAccountName"];
    else if (object["serviceAccount"]) object["serviceAccountName"] = object["serviceAccount"];
  },
  "core/v1.Container": container,
  "core/v1.EphemeralContainer": container,
  "core/v1.Probe": (object) => {
    zeroAsAbsent(object, "timeoutSeconds", 1);
    zeroAsAbsent(object, "periodSeconds", 10);
    zeroAsAbsent(object, "successThreshold", 1);
    zeroAsAbsent(object, "failureThreshold", 3);
    const grpc = object["grpc"] as Fields | undefined;
    if (grpc !== undefined) set(grpc, "service", "");
  },
  "core/v1.HTTPGetAction": (object) => {
    set(object, "path", "/");
    set(object, "scheme", "HTTP");
  },
  "core/v1.Volume": (object) => {
    if (Object.keys(object).every((name) => name === "name" || object[name] === undefined || object[name] === null))
      object["emptyDir"] = {};
    const image = object["image"] as Fields | undefined;
    if (image !== undefined) set(image, "pullPolicy", pullPolicy(image["reference"]));
  },
  "core/v1.HostPathVolumeSource": (object) => {
    if (object["type"] === undefined || object["type"] === null) object["type"] = "";
  },
  "core/v1.SecretVolumeSource": defaultMode,
  "core/v1.ConfigMapVolumeSource": defaultMode,
  "core/v1.DownwardAPIVolumeSource": defaultMode,
  "core/v1.ProjectedVolumeSource": defaultMode,
  "core/v1.ServiceAccountTokenProjection": (object) => set(object, "expirationSeconds", 3600),
  "core/v1.ObjectFieldSelector": (object) => set(object, "apiVersion", "v1"),
};
