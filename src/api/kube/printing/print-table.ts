import { moreColumns } from "./more-columns.ts";
import { type Columns, type Loose, plainColumns, tableColumns } from "./table-columns.ts";

export interface TableColumn {
  name: string;
  type: string;
  format: string;
  description: string;
  /** 0: always shown; 1: with `-o wide`. */
  priority: number;
}

export interface PrintedTable {
  columnDefinitions: TableColumn[];
  rows: { cells: unknown[] }[];
}

/** Columns that are no strings, by kind and title. */
const types: Record<string, "integer" | "boolean"> = {};
for (const kind of ["ReplicationController", "ReplicaSet", "DaemonSet"])
  for (const title of ["Desired", "Current", "Ready", "Up-to-date", "Available"]) types[`${kind}/${title}`] = "integer";
for (const column of [
  "PodDisruptionBudget/Allowed Disruptions",
  "CronJob/Active",
  "CSINode/Drivers",
  "ValidatingAdmissionPolicy/Validations",
  "MutatingAdmissionPolicy/Mutations",
  "MutatingWebhookConfiguration/Webhooks",
  "ValidatingWebhookConfiguration/Webhooks",
  "PriorityClass/Value",
])
  types[column] = "integer";
for (const column of [
  "CronJob/Suspend",
  "CSIDriver/AttachRequired",
  "CSIDriver/PodInfoOnMount",
  "CSIDriver/StorageCapacity",
  "CSIDriver/RequiresRepublish",
  "PriorityClass/Global-Default",
  "VolumeAttachment/Attached",
])
  types[column] = "boolean";
const nameColumns = new Set(["Name", "VolumeAttachment/Attacher"]);

function definitions(kind: string, columns: Columns): TableColumn[] {
  return columns.map(([title]) => {
    const wide = title.startsWith("+");
    const name = wide ? title.slice(1) : title;
    return {
      name,
      type: types[`${kind}/${name}`] ?? "string",
      format: (nameColumns.has(name) && !wide) || nameColumns.has(`${kind}/${name}`) ? "name" : "",
      description: "",
      priority: wide ? 1 : 0,
    };
  });
}

/** A kind's columns and the cells of each object, with ages at `now` (milliseconds since the epoch). */
export function printTable(group: string, kind: string, objects: readonly object[], now: number): PrintedTable {
  const stored = kind === "Event" ? "/Event" : `${group}/${kind}`;
  const columns = tableColumns[stored] ?? moreColumns[stored] ?? plainColumns;
  return {
    columnDefinitions: definitions(kind, columns),
    rows: objects.map((object) => ({ cells: columns.map(([, cell]) => cell(object as Loose, now)) })),
  };
}
