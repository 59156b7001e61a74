import type { KubeObject } from "#api/kube/object.ts";
import { printTable, type Table } from "./machinery.ts";
import type { Wanted } from "./negotiation.ts";
import type { KindRef } from "./resource-type.ts";

export type IncludeObject = "None" | "Metadata" | "Object";

/** An object's metadata alone. */
export function partialMetadata(object: KubeObject, version = "v1"): KubeObject {
  return { kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${version}`, metadata: object.metadata ?? {} };
}

/** A Table of objects. `headers: false` leaves the columns out: later events of a watch. */
export function tableOf(
  kind: KindRef,
  objects: readonly KubeObject[],
  metadata: Record<string, unknown>,
  options: { include: IncludeObject; version: string; headers: boolean; now: number },
): Table {
  const { columnDefinitions, rows } = printTable(kind, objects, options.now);
  return {
    kind: "Table",
    apiVersion: `meta.k8s.io/${options.version}`,
    metadata,
    columnDefinitions: options.headers ? columnDefinitions : (null as unknown as Table["columnDefinitions"]),
    rows: rows.map((row, index) => {
      const object = objects[index] as KubeObject;
      if (options.include === "None") return { cells: row.cells, object: null };
      return {
        cells: row.cells,
        object: options.include === "Object" ? object : partialMetadata(object, options.version),
      };
    }),
  };
}

/** One object in the wanted form. */
export function transformObject(
  kind: KindRef,
  object: KubeObject,
  { as, version }: Wanted,
  include: IncludeObject,
  now: number,
): KubeObject {
  if (as === "Table") {
    const { resourceVersion } = object.metadata ?? {};
    return tableOf(kind, [object], resourceVersion === undefined ? {} : { resourceVersion }, {
      include,
      version,
      headers: true,
      now,
    });
  }
  return partialMetadata(object, version);
}
