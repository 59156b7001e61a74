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

const wholeNumbers = new Set([
  "Desired",
  "Current",
  "Up-to-date",
  "Available",
  "Data",
  "Secrets",
  "Revision",
  "Webhooks",
  "Value",
]);

function definitions(columns: Columns): TableColumn[] {
  return columns.map(([title]) => {
    const wide = title.startsWith("+");
    const name = wide ? title.slice(1) : title;
    return {
      name,
      type: wholeNumbers.has(name) ? "integer" : "string",
      format: name === "Name" ? "name" : "",
      description: "",
      priority: wide ? 1 : 0,
    };
  });
}

/** A kind's columns and the cells of each object, with ages at `now` (milliseconds since the epoch). */
export function printTable(group: string, kind: string, objects: readonly object[], now: number): PrintedTable {
  const stored = kind === "Event" ? "/Event" : `${group}/${kind}`;
  const columns = tableColumns[stored] ?? plainColumns;
  return {
    columnDefinitions: definitions(columns),
    rows: objects.map((object) => ({ cells: columns.map(([, cell]) => cell(object as Loose, now)) })),
  };
}
