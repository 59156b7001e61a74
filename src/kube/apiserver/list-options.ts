import { badRequest, invalid } from "./api-error.ts";

export interface ListOptions {
  labelSelector: string;
  fieldSelector: string;
  limit: number;
  continue: string;
  resourceVersion: string;
  resourceVersionMatch: "" | "NotOlderThan" | "Exact";
}

export interface WatchRequest extends ListOptions {
  allowWatchBookmarks: boolean;
  sendInitialEvents: boolean | undefined;
  /** 0: the server's choice. */
  timeoutSeconds: number;
}

export const noListOptions: ListOptions = {
  labelSelector: "",
  fieldSelector: "",
  limit: 0,
  continue: "",
  resourceVersion: "",
  resourceVersionMatch: "",
};

function flag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  if (value === "" || value === "0" || value === "false" || value === "False") return value !== "" ? false : true;
  return true;
}

function whole(query: URLSearchParams, name: string): number {
  const value = query.get(name);
  if (value === null || value === "") return 0;
  if (!/^-?\d+$/.test(value)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  return Number(value);
}

/** Reads the query of a list or watch (meta/v1, ListOptions). Throws 400 for numbers that are none. */
export function parseListOptions(query: URLSearchParams): WatchRequest & { watch: boolean } {
  const resourceVersion = query.get("resourceVersion") ?? "";
  const options = {
    labelSelector: query.get("labelSelector") ?? "",
    fieldSelector: query.get("fieldSelector") ?? "",
    limit: whole(query, "limit"),
    continue: query.get("continue") ?? "",
    resourceVersion,
    resourceVersionMatch: (query.get("resourceVersionMatch") ?? "") as ListOptions["resourceVersionMatch"],
    allowWatchBookmarks: flag(query, "allowWatchBookmarks") ?? false,
    sendInitialEvents: flag(query, "sendInitialEvents"),
    timeoutSeconds: whole(query, "timeoutSeconds"),
    watch: flag(query, "watch") ?? false,
  };
  checkListOptions(options);
  return options;
}

/** The rules between the options (metainternalversion validation, ValidateListOptions). */
function checkListOptions(options: WatchRequest & { watch: boolean }): void {
  const { resourceVersionMatch: match, resourceVersion, watch, sendInitialEvents } = options;
  const problem = (field: string, reason: string, message: string): never => {
    throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [{ field, reason, message }]);
  };
  if (resourceVersion !== "" && !/^\d+$/.test(resourceVersion))
    problem(
      "resourceVersion",
      "FieldValueInvalid",
      `Invalid value: ${JSON.stringify(resourceVersion)}: strconv.ParseUint: parsing ${JSON.stringify(resourceVersion)}: invalid syntax`,
    );
  if (watch && sendInitialEvents !== undefined) {
    if (match === "")
      problem(
        "resourceVersionMatch",
        "FieldValueForbidden",
        "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
      );
    if (match !== "NotOlderThan")
      problem(
        "resourceVersionMatch",
        "FieldValueNotSupported",
        `Unsupported value: ${JSON.stringify(match)}: supported values: "NotOlderThan"`,
      );
    return;
  }
  if (!watch && sendInitialEvents !== undefined)
    problem("sendInitialEvents", "FieldValueForbidden", "Forbidden: sendInitialEvents is forbidden for list");
  if (match === "") return;
  if (watch)
    problem(
      "resourceVersionMatch",
      "FieldValueForbidden",
      "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
    );
  if (resourceVersion === "")
    problem(
      "resourceVersionMatch",
      "FieldValueForbidden",
      "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
  if (options.continue !== "")
    problem(
      "resourceVersionMatch",
      "FieldValueForbidden",
      "Forbidden: resourceVersionMatch is forbidden when continue is provided",
    );
  if (match !== "Exact" && match !== "NotOlderThan")
    problem(
      "resourceVersionMatch",
      "FieldValueNotSupported",
      `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`,
    );
  if (match === "Exact" && resourceVersion === "0")
    problem(
      "resourceVersionMatch",
      "FieldValueForbidden",
      'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
    );
}

export interface ContinueToken {
  revision: number;
  /** Go on after this key (without the resource's prefix). */
  after: string;
}

export function encodeContinue({ revision, after }: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: revision, start: `${after}\u0000` })).toString(
    "base64url",
  );
}

export function decodeContinue(text: string): ContinueToken {
  try {
    const { v, rv, start } = JSON.parse(Buffer.from(text, "base64url").toString("utf8")) as Record<string, unknown>;
    if (v === "meta.k8s.io/v1" && typeof rv === "number" && typeof start === "string" && !start.includes(".."))
      return { revision: rv, after: start.endsWith("\u0000") ? start.slice(0, -1) : start };
  } catch {
    // Falls through to the error.
  }
  throw badRequest("continue key is not valid: invalid continue token");
}
