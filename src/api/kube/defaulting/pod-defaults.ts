/** Defaults of pods and pod templates (kubernetes, pkg/apis/core/v1/defaults.go). Objects are changed in place. */

export type Fields = Record<string, unknown>;

/** Sets a field that is absent. */
export function fill(object: Fields, field: string, value: unknown): void {
  if (object[field] === undefined || object[field] === null) object[field] = value;
}

export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

export function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? (value.filter((item) => fieldsOf(item) !== undefined) as Fields[]) : [];
}

/** `Always` for an image without tag or with `latest`, else `IfNotPresent`. */
export function defaultPullPolicy(image: string): "Always" | "IfNotPresent" {
  if (image.includes("@")) return "IfNotPresent";
  const name = image.slice(image.lastIndexOf("/") + 1);
  const colon = name.lastIndexOf(":");
  const tag = colon < 0 ? "latest" : name.slice(colon + 1);
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function httpGet(action: Fields | undefined): void {
  const get = fieldsOf(action?.["httpGet"]);
  if (get === undefined) return;
  if (!get["path"]) get["path"] = "/";
  if (!get["scheme"]) get["scheme"] = "HTTP";
}

function probe(value: unknown): void {
  const fields = fieldsOf(value);
  if (fields === undefined) return;
  for (const [field, preset] of [["timeoutSeconds", 1], ["periodSeconds", 10], ["successThreshold", 1], ["failureThreshold", 3]] as const)
    if (!fields[field]) fields[field] = preset;
  httpGet(fields);
  const grpc = fieldsOf(fields["grpc"]);
  if (grpc !== undefined) fill(grpc, "service", "");
}

function fieldRef(value: unknown): void {
  const ref = fieldsOf(fieldsOf(value)?.["fieldRef"]);
  if (ref !== undefined && !ref["apiVersion"]) ref["apiVersion"] = "v1";
}

function container(fields: Fields): void {
  if (!fields["imagePullPolicy"]) fields["imagePullPolicy"] = defaultPullPolicy(String(fields["image"] ?? ""));
  if (!fields["terminationMessagePath"]) fields["terminationMessagePath"] = "/dev/termination-log";
  if (!fields["terminationMessagePolicy"]) fields["terminationMessagePolicy"] = "File";
  fill(fields, "resources", {});
  for (const port of listOf(fields["ports"])) if (!port["protocol"]) port["protocol"] = "TCP";
  for (const env of listOf(fields["env"])) fieldRef(env["valueFrom"]);
  for (const name of ["livenessProbe", "readinessProbe", "startupProbe"]) probe(fields[name]);
  const lifecycle = fieldsOf(fields["lifecycle"]);
  httpGet(fieldsOf(lifecycle?.["postStart"]));
  httpGet(fieldsOf(lifecycle?.["preStop"]));
}

const volumeDefaults: Record<string, Fields> = {
  secret: { defaultMode: 420 },
  configMap: { defaultMode: 420 },
  downwardAPI: { defaultMode: 420 },
  projected: { defaultMode: 420 },
  hostPath: { type: "" },
  iscsi: { iscsiInterface: "default" },
  rbd: { pool: "rbd", user: "admin", keyring: "/etc/ceph/keyring" },
  azureDisk: { cachingMode: "ReadWrite", kind: "Shared", fsType: "ext4", readOnly: false },
  scaleIO: { storageMode: "ThinProvisioned", fsType: "xfs" },
};

function volume(fields: Fields): void {
  if (Object.keys(fields).every((key) => key === "name")) fields["emptyDir"] = {};
  for (const source in volumeDefaults) {
    const given = fieldsOf(fields[source]);
    if (given !== undefined) for (const [field, value] of Object.entries(volumeDefaults[source] as Fields)) fill(given, field, value);
  }
  for (const item of listOf(fieldsOf(fields["downwardAPI"])?.["items"])) fieldRef(item);
  for (const source of listOf(fieldsOf(fields["projected"])?.["sources"])) {
    const token = fieldsOf(source["serviceAccountToken"]);
    if (token !== undefined) fill(token, "expirationSeconds", 3600);
    for (const item of listOf(fieldsOf(source["downwardAPI"])?.["items"])) fieldRef(item);
  }
  const claim = fieldsOf(fieldsOf(fieldsOf(fields["ephemeral"])?.["volumeClaimTemplate"])?.["spec"]);
  if (claim !== undefined) fill(claim, "volumeMode", "Filesystem");
}

/** Defaults of a pod's spec, in a pod or in a template. */
export function defaultPodSpec(spec: Fields): void {
  if (!spec["dnsPolicy"]) spec["dnsPolicy"] = "ClusterFirst";
  if (!spec["restartPolicy"]) spec["restartPolicy"] = "Always";
  fill(spec, "securityContext", {});
  fill(spec, "terminationGracePeriodSeconds", 30);
  if (!spec["schedulerName"]) spec["schedulerName"] = "default-scheduler";
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const each of listOf(spec[list])) {
      container(each);
      if (spec["hostNetwork"] === true && list !== "ephemeralContainers")
        for (const port of listOf(each["ports"])) if (!port["hostPort"]) port["hostPort"] = port["containerPort"];
    }
  }
  for (const each of listOf(spec["volumes"])) volume(each);
}

/** Defaults that only a pod itself has: requests follow limits. */
export function defaultPod(pod: Fields): void {
  const spec = fieldsOf(pod["spec"]);
  if (spec === undefined) return;
  defaultPodSpec(spec);
  fill(spec, "enableServiceLinks", true);
  for (const each of [...listOf(spec["initContainers"]), ...listOf(spec["containers"])]) {
    const resources = fieldsOf(each["resources"]);
    const limits = fieldsOf(resources?.["limits"]);
    if (resources === undefined || limits === undefined) continue;
    const requests = { ...fieldsOf(resources["requests"]) };
    for (const name in limits) fill(requests, name, limits[name]);
    if (Object.keys(requests).length > 0) resources["requests"] = requests;
  }
}

/** Defaults of `template` in a workload's spec. */
export function defaultTemplate(spec: Fields): void {
  const template = fieldsOf(spec["template"]);
  if (template === undefined) return;
  const podSpec = fieldsOf(template["spec"]);
  if (podSpec !== undefined) defaultPodSpec(podSpec);
}
