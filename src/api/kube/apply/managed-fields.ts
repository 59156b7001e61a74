import { FieldSet } from "./field-set.ts";

export interface ManagedFieldsEntry {
  manager?: string;
  operation?: string;
  apiVersion?: string;
  time?: string;
  fieldsType?: string;
  fieldsV1?: Record<string, unknown>;
  subresource?: string;
}

/** Who owns which fields. */
export interface Manager {
  name: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  subresource: string;
  time: string | undefined;
  fields: FieldSet;
}

export function readManagers(entries: readonly unknown[] | undefined): Manager[] {
  return ((entries ?? []) as ManagedFieldsEntry[]).map((entry) => ({
    name: entry.manager ?? "",
    operation: entry.operation === "Apply" ? "Apply" : "Update",
    apiVersion: entry.apiVersion ?? "",
    subresource: entry.subresource ?? "",
    time: entry.time,
    fields: FieldSet.fromJson(entry.fieldsV1),
  }));
}

/** The entries for `metadata.managedFields`: those that own something, appliers first, then by time and name. */
export function writeManagers(managers: readonly Manager[]): Record<string, unknown>[] {
  return managers
    .filter(({ fields }) => !fields.isEmpty)
    .toSorted(
      (a, b) =>
        compareText(a.operation, b.operation) || compareText(a.time ?? "", b.time ?? "") || compareText(a.name, b.name),
    )
    .map(({ name, operation, apiVersion, subresource, time, fields }) => ({
      manager: name,
      operation,
      apiVersion,
      ...(time === undefined ? {} : { time }),
      fieldsType: "FieldsV1",
      fieldsV1: fields.toJson(),
      ...(subresource === "" ? {} : { subresource }),
    }));
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** As a conflict names it: `"kubectl" using apps/v1`. */
export function showManager({ name, operation, apiVersion, subresource }: Manager): string {
  const text = JSON.stringify(name);
  if (operation === "Apply") return text;
  return `${text}${subresource === "" ? "" : ` with subresource ${JSON.stringify(subresource)}`} using ${apiVersion}`;
}
