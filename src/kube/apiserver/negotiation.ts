/** Which form of answer a client wants (RFC 9110, Accept; apiserver, content negotiation). */
export interface Wanted {
  format: "json" | "yaml" | "protobuf";
  /** `Table`, `PartialObjectMetadata`, `PartialObjectMetadataList`, `APIGroupDiscoveryList`; "" for the object itself. */
  as: string;
  /** Group and version of `as`. */
  group: string;
  version: string;
}

const formats: Record<string, Wanted["format"]> = {
  "application/json": "json",
  "application/yaml": "yaml",
  "application/vnd.kubernetes.protobuf": "protobuf",
  "*/*": "json",
  "application/*": "json",
};

export const plainJson: Wanted = { format: "json", as: "", group: "", version: "" };

/** What the client accepts of what we know, its favourite first. Empty: nothing. */
export function parseAccept(header: string): Wanted[] {
  if (header.trim() === "") return [plainJson];
  const out: { wanted: Wanted; q: number }[] = [];
  for (const part of header.split(",")) {
    const [type, ...parameters] = part.split(";").map((text) => text.trim());
    const format = formats[(type ?? "").toLowerCase()];
    if (format === undefined) continue;
    const values = Object.fromEntries(parameters.map((text) => text.split("=").map((word) => word.trim())));
    const { as = "", g: group = "", v: version = "", q = "1" } = values as Record<string, string>;
    out.push({ wanted: { format, as, group, version }, q: Number(q) });
  }
  return out
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q)
    .map(({ wanted }) => wanted);
}

/** True for the forms that objects and lists can be turned into. */
export function isTransform({ as, group, version }: Wanted): boolean {
  if (group !== "meta.k8s.io" || (version !== "v1" && version !== "v1beta1")) return false;
  return as === "Table" || as === "PartialObjectMetadata" || as === "PartialObjectMetadataList";
}

/** The first wanted form that we can give for objects. Undefined: 406. */
export function chooseForm(accept: string): Wanted | undefined {
  return parseAccept(accept).find((wanted) => wanted.as === "" || isTransform(wanted));
}
