import { type FieldSelector, matchesFields, parseFieldSelector } from "#base/field-selector.ts";
import { type LabelSelector, matchesLabels, parseLabelSelector } from "#base/label-selector.ts";
import { errorMessage } from "#base/errors.ts";
import type { KubeObject } from "#api/kube/object.ts";
import { badRequest } from "./api-error.ts";
import type { CacheEntry } from "./cache-entry.ts";
import type { EntryMatch } from "./cache-watcher.ts";
import type { ResourceType } from "./resource-type.ts";

const podFields =
  "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork status.phase status.podIP status.podIPs status.nominatedNodeName";
const eventFields =
  "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type";

/** The fields that a selector may name besides metadata.name and metadata.namespace, by `group/resource`. */
const selectable: Record<string, readonly string[]> = Object.fromEntries(
  Object.entries({
    "/pods": podFields,
    "/events": eventFields,
    "/nodes": "spec.unschedulable",
    "/secrets": "type",
    "/namespaces": "status.phase",
    "/services": "spec.clusterIP spec.type",
    "/replicationcontrollers": "status.replicas",
    "apps/replicasets": "status.replicas",
    "batch/jobs": "status.successful",
    "certificates.k8s.io/certificatesigningrequests": "spec.signerName",
    "networking.k8s.io/ipaddresses":
      "spec.parentRef.group spec.parentRef.resource spec.parentRef.namespace spec.parentRef.name",
    "resource.k8s.io/resourceslices": "spec.nodeName spec.driver",
  }).map(([key, text]) => [key, text.split(" ")]),
);

/** What events.k8s.io calls its fields, in the stored form's words. */
const eventAliases: Record<string, string> = {
  "regarding.kind": "involvedObject.kind",
  "regarding.namespace": "involvedObject.namespace",
  "regarding.name": "involvedObject.name",
  "regarding.uid": "involvedObject.uid",
  "regarding.apiVersion": "involvedObject.apiVersion",
  "regarding.resourceVersion": "involvedObject.resourceVersion",
  "regarding.fieldPath": "involvedObject.fieldPath",
  reportingController: "reportingComponent",
};

/** A field's value as text, as selectors compare it. */
function readField(object: KubeObject, field: string): string {
  if (field === "source") {
    const { source, reportingComponent } = object as { source?: { component?: string }; reportingComponent?: string };
    return source?.component || reportingComponent || "";
  }
  if (field === "status.podIPs") {
    const ips = (object as { status?: { podIPs?: { ip: string }[] } }).status?.podIPs;
    return ips?.map(({ ip }) => ip).join(",") ?? "";
  }
  let at: unknown = object;
  for (const part of field.split(".")) {
    if (typeof at !== "object" || at === null) return missing(field);
    at = (at as Record<string, unknown>)[part];
  }
  return at === undefined || at === null ? missing(field) : String(at);
}

function missing(field: string): string {
  if (field === "spec.unschedulable" || field === "spec.hostNetwork") return "false";
  return field === "status.replicas" || field === "status.successful" ? "0" : "";
}

export interface Selection {
  match: EntryMatch;
  /** Set when the selection is of one name only. */
  name: string | undefined;
  empty: boolean;
}

const everything: Selection = { match: undefined, name: undefined, empty: true };

/** Reads the selectors of a list or watch. Throws 400 in upstream's words. */
export function parseSelection(
  type: ResourceType,
  labelText: string,
  fieldText: string,
  extraFields: readonly string[] = [],
): Selection {
  if (labelText === "" && fieldText === "") return everything;
  let labels: LabelSelector;
  let fields: FieldSelector;
  try {
    labels = parseLabelSelector(labelText);
    fields = parseFieldSelector(fieldText);
  } catch (error) {
    throw badRequest(errorMessage(error));
  }
  const allowed = selectable[`${type.group}/${type.resource}`] ?? extraFields;
  fields = fields.map((requirement) => {
    const field =
      type.resource === "events" ? (eventAliases[requirement.field] ?? requirement.field) : requirement.field;
    if (field === "metadata.name" || (field === "metadata.namespace" && type.namespaced) || allowed.includes(field))
      return { ...requirement, field };
    throw badRequest(
      allowed.length > 0
        ? `field label not supported: ${field}`
        : `"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`,
    );
  });
  if (labels.length === 0 && fields.length === 0) return everything;
  const match = (entry: CacheEntry): boolean =>
    (fields.length === 0 ||
      matchesFields(fields, (field) => {
        if (field === "metadata.name") return entry.name;
        if (field === "metadata.namespace") return entry.namespace;
        return readField(entry.object, field);
      })) &&
    (labels.length === 0 || matchesLabels(labels, entry.object.metadata?.labels));
  const name = fields.find(({ field, equal }) => field === "metadata.name" && equal)?.value;
  return { match, name, empty: false };
}
