import type { KubeObject } from "#api/kube/object.ts";
import { conflict, forbidden } from "../api-error.ts";
import type { FieldProblem } from "../api-error.ts";
import { equalJson } from "../json-clone.ts";
import type { Mutable, Strategy } from "../resource-type.ts";

interface NamespaceObject extends Mutable {
  spec?: { finalizers?: string[] };
  status?: { phase?: string };
}

export const permanentNamespaces = ["default", "kube-system", "kube-public"];

/** A namespace is held by its spec.finalizers until the namespace controller has emptied it. */
export const namespaceStrategy: Strategy = {
  initialStatus: { phase: "Active" },

  prepareCreate(object) {
    const namespace = object as NamespaceObject;
    const finalizers = namespace.spec?.finalizers ?? [];
    namespace.spec = {
      ...namespace.spec,
      finalizers: finalizers.includes("kubernetes") ? finalizers : [...finalizers, "kubernetes"],
    };
    namespace.metadata = {
      ...namespace.metadata,
      labels: { ...namespace.metadata?.labels, "kubernetes.io/metadata.name": namespace.metadata?.name ?? "" },
    };
  },

  prepareUpdate(object, old) {
    const namespace = object as NamespaceObject;
    namespace.spec = { ...namespace.spec };
    const { finalizers } = (old as NamespaceObject).spec ?? {};
    if (finalizers === undefined) delete namespace.spec.finalizers;
    else namespace.spec.finalizers = finalizers;
    if (object.metadata !== undefined)
      object.metadata.labels = { ...object.metadata.labels, "kubernetes.io/metadata.name": old.metadata?.name ?? "" };
  },

  holdsDeletion: (object) => ((object as NamespaceObject).spec?.finalizers?.length ?? 0) > 0,

  beginDeletion(object) {
    (object as NamespaceObject).status = { ...(object as NamespaceObject).status, phase: "Terminating" };
  },

  validateDelete(object) {
    const name = object.metadata?.name ?? "";
    if (permanentNamespaces.includes(name))
      throw forbidden({ group: "", resource: "namespaces" }, name, "this namespace may not be deleted");
    if (object.metadata?.deletionTimestamp !== undefined && (object as NamespaceObject).spec?.finalizers?.length)
      throw conflict(
        { group: "", resource: "namespaces" },
        name,
        "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will automatically be purged by the system.",
      );
  },
};

interface SecretObject extends Mutable {
  type?: string;
  data?: Record<string, string>;
  stringData?: Record<string, string>;
  immutable?: boolean;
}

function foldStringData(object: Mutable): void {
  const secret = object as SecretObject;
  if (secret.stringData === undefined) return;
  const data = { ...secret.data };
  for (const key in secret.stringData) data[key] = Buffer.from(secret.stringData[key] ?? "").toString("base64");
  if (Object.keys(data).length > 0) secret.data = data;
  delete secret.stringData;
}

const immutableField = (field: string): FieldProblem => ({
  reason: "FieldValueForbidden",
  field,
  message: "Forbidden: field is immutable when `immutable` is set",
});

/** What `immutable: true` of a Secret or ConfigMap forbids. */
function checkImmutable(object: KubeObject, old: KubeObject, fields: string[]): FieldProblem[] {
  const now = object as Mutable;
  const before = old as Mutable;
  if (before["immutable"] !== true) return [];
  const problems: FieldProblem[] = [];
  if (now["immutable"] !== true) problems.push(immutableField("immutable"));
  for (const field of fields)
    if (!equalJson(now[field] ?? {}, before[field] ?? {})) problems.push(immutableField(field));
  return problems;
}

/** stringData is written into data; it is never stored. */
export const secretStrategy: Strategy = {
  async admitCreate(object) {
    foldStringData(object);
  },
  prepareCreate: foldStringData,
  prepareUpdate(object, old) {
    foldStringData(object);
    if (!(object as SecretObject).type) (object as SecretObject).type = (old as SecretObject).type ?? "Opaque";
  },
  validateUpdate: (object, old) => checkImmutable(object, old, ["data"]),
};

export const configMapStrategy: Strategy = {
  validateUpdate: (object, old) => checkImmutable(object, old, ["data", "binaryData"]),
};

/** A node's own registration brings its status along. */
export const nodeStrategy: Strategy = {
  /** Nothing is scheduled to a node before it has said that it is ready (upstream's TaintNodesByCondition). */
  prepareCreate(object) {
    const node = object as Mutable & { spec?: { taints?: { key: string; effect: string }[] } };
    const taints = node.spec?.taints ?? [];
    const key = "node.kubernetes.io/not-ready";
    if (taints.some((taint) => taint.key === key && taint.effect === "NoSchedule")) return;
    node.spec = { ...node.spec, taints: [...taints, { key, effect: "NoSchedule" }] };
  },
  prepareUpdate(object, old) {
    const status = (old as Mutable)["status"];
    if (status === undefined) delete object["status"];
    else object["status"] = status;
  },
};

export const persistentVolumeStrategy: Strategy = {
  initialStatus: { phase: "Pending" },
  prepareCreate(object) {
    addFinalizer(object, "kubernetes.io/pv-protection");
  },
};

export const persistentVolumeClaimStrategy: Strategy = {
  initialStatus: { phase: "Pending" },
  prepareCreate(object) {
    addFinalizer(object, "kubernetes.io/pvc-protection");
  },
};

function addFinalizer(object: Mutable, finalizer: string): void {
  const metadata = (object.metadata ??= {});
  if (!(metadata.finalizers ?? []).includes(finalizer))
    metadata.finalizers = [...(metadata.finalizers ?? []), finalizer];
}
