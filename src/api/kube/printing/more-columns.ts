/** Columns of the kinds that few people meet (printers/internalversion). */
import { since } from "./human-time.ts";
import type { Columns, Loose } from "./table-columns.ts";

interface Meta {
  name?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
}

const metaOf = (object: Loose): Meta => (object["metadata"] ?? {}) as Meta;
const part = (object: Loose, name: string): Loose => (object[name] ?? {}) as Loose;
const spec = (object: Loose): Loose => part(object, "spec");
const text = (value: unknown): string => (typeof value === "string" ? value : "");

const name: Columns[number] = ["Name", (object) => metaOf(object).name ?? ""];
const age: Columns[number] = ["Age", (object, now) => since(metaOf(object).creationTimestamp, now)];

function claimState(object: Loose): string {
  const gone = metaOf(object).deletionTimestamp !== undefined;
  const status = part(object, "status");
  const states = gone ? ["deleted"] : [];
  if (status["allocation"] === undefined) {
    if (!gone) states.push("pending");
  } else {
    states.push("allocated");
    if (((status["reservedFor"] as unknown[] | undefined) ?? []).length > 0) states.push("reserved");
  }
  return states.join(",");
}

function paramKind(object: Loose): string {
  const kind = spec(object)["paramKind"] as Loose | undefined;
  return kind === undefined ? "<unset>" : `${text(kind["apiVersion"])}/${text(kind["kind"])}`;
}

function paramRef(object: Loose): string {
  const ref = spec(object)["paramRef"] as Loose | undefined;
  if (ref === undefined || !ref["name"]) return "<unset>";
  return `${text(ref["namespace"]) || "*"}/${text(ref["name"])}`;
}

function healthy(object: Loose, field: string): string {
  const conditions = (object["conditions"] ?? []) as Loose[];
  const condition = conditions.find(({ type }) => type === "Healthy");
  if (field !== "status") return text(condition?.[field]);
  if (condition === undefined) return "Unknown";
  return condition["status"] === "True" ? "Healthy" : condition["status"] === "False" ? "Unhealthy" : "Unknown";
}

export const moreColumns: Readonly<Record<string, Columns>> = {
  "/ComponentStatus": [
    name,
    ["Status", (object) => healthy(object, "status")],
    ["Message", (object) => healthy(object, "message")],
    ["Error", (object) => healthy(object, "error")],
  ],
  "storage.k8s.io/VolumeAttributesClass": [name, ["DriverName", (object) => text(object["driverName"])], age],
  "storage.k8s.io/CSIStorageCapacity": [
    name,
    ["StorageClassName", (object) => text(object["storageClassName"])],
    ["Capacity", (object) => text(object["capacity"])],
  ],
  "admissionregistration.k8s.io/MutatingAdmissionPolicy": [
    name,
    ["Mutations", (object) => ((spec(object)["mutations"] as unknown[] | undefined) ?? []).length],
    ["ParamKind", paramKind],
    age,
  ],
  "admissionregistration.k8s.io/MutatingAdmissionPolicyBinding": [
    name,
    ["PolicyName", (object) => text(spec(object)["policyName"])],
    ["ParamRef", paramRef],
    age,
  ],
  "resource.k8s.io/DeviceClass": [name, age],
  "resource.k8s.io/ResourceClaim": [name, ["State", claimState], age],
  "resource.k8s.io/ResourceClaimTemplate": [name, age],
  "resource.k8s.io/ResourceSlice": [
    name,
    ["Node", (object) => text(spec(object)["nodeName"])],
    ["Driver", (object) => text(spec(object)["driver"])],
    ["Pool", (object) => text(part(spec(object), "pool")["name"])],
    age,
  ],
};
