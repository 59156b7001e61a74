/**
 * What the tables know about every built-in kind: the one description that decoding, defaulting, pruning,
 * structural validation, patches, OpenAPI and discovery read. Obtained from `scheme` (`./scheme.ts`).
 */

export interface GroupVersionKind {
  /** "" for the core group. */
  group: string;
  version: string;
  kind: string;
}

/** A resource as discovery tells it, and the schema of its kind. */
export interface ResourceInfo extends GroupVersionKind {
  /** The lower-case plural in the path. */
  plural: string;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  verbs: readonly string[];
  subresources: readonly SubresourceInfo[];
  /** False for alpha and beta versions, which are off unless they are switched on. */
  servedByDefault: boolean;
  storageVersionHash: string;
  /** Read on first use. */
  readonly schema: ObjectSchema;
}

export interface SubresourceInfo extends GroupVersionKind {
  /** `status`, `scale`, `exec`, `proxy`… */
  name: string;
  verbs: readonly string[];
}

export interface GroupInfo {
  name: string;
  /** Preferred first. */
  versions: readonly string[];
}

export type ScalarKind =
  | "string"
  | "bool"
  | "int32"
  | "int64"
  | "float64"
  /** Base64 text in JSON. */
  | "bytes"
  | "quantity"
  /** RFC 3339, whole seconds. */
  | "time"
  /** RFC 3339, microseconds. */
  | "microTime"
  /** Go's text: `1h2m`. */
  | "duration"
  | "intOrString"
  /** Any JSON object, kept as it is. */
  | "rawExtension"
  | "fieldsV1"
  /** Any JSON value. */
  | "json"
  /** JSONSchemaProps or a boolean; or a list; or a list of strings (apiextensions). */
  | "schemaOrBool"
  | "schemaOrArray"
  | "schemaOrStringArray";

/** A type; `go` is Go's name for it, which decoding errors show (`v1.PullPolicy`, `[]v1.Container`). */
export type SchemaType =
  | { kind: ScalarKind; go: string; enum?: readonly string[] }
  /** `message`: a list type of its own name, in protobuf wrapped in a message (`Verbs`, `ExtraValue`). */
  | { kind: "list"; items: SchemaType; go: string; message?: boolean }
  | { kind: "map"; values: SchemaType; go: string }
  | { kind: "object"; object: ObjectSchema; go: string };

export type PatchStrategy = "merge" | "replace" | "retainKeys";

export interface FieldSchema {
  /** JSON name; "" for an inlined struct (only in `layout`). */
  readonly name: string;
  readonly type: SchemaType;
  /** Protobuf field number. */
  readonly number: number | undefined;
  readonly inline: boolean;
  /** Go has a pointer here: absent differs from zero. */
  readonly pointer: boolean;
  readonly omitempty: boolean;
  readonly omitzero: boolean;
  readonly required: boolean;
  readonly listType: "atomic" | "set" | "map" | undefined;
  readonly listKeys: readonly string[];
  readonly atomic: boolean;
  readonly patchStrategies: readonly PatchStrategy[];
  readonly patchMergeKey: string | undefined;
  /** The schema's own default (`+default=`); defaulting code adds more. */
  readonly default: unknown;
}

export interface ObjectSchema {
  /** Go's name: `PodSpec`. */
  readonly name: string;
  /** The table it stands in: `core/v1`. */
  readonly table: string;
  /** `io.k8s.api.core.v1.PodSpec`. */
  readonly openapi: string;
  /** Has apiVersion and kind. */
  readonly isKind: boolean;
  /** x-kubernetes-map-type: atomic. */
  readonly atomic: boolean;
  /** By JSON name, inlined structs flattened, in Go's order. */
  readonly fields: ReadonlyMap<string, FieldSchema>;
  /** As Go's struct is laid out: an inlined struct is one field. */
  readonly layout: readonly FieldSchema[];
}

/** All that is known of the built-in API; `scheme` in `./scheme.ts` is the one instance. */
export interface SchemeTables {
  /** Every resource of every version, in discovery's order. */
  readonly resources: readonly ResourceInfo[];
  /** Groups in discovery's order, with all their versions. */
  readonly groups: readonly GroupInfo[];
  resource(group: string, version: string, plural: string): ResourceInfo | undefined;
  /** The resource whose objects are of this kind. */
  resourceOfKind(group: string, version: string, kind: string): ResourceInfo | undefined;
  /** The schema of any kind, also of lists, options and reviews. `meta.k8s.io` kinds are in every group. */
  kind(group: string, version: string, kind: string): ObjectSchema | undefined;
  /** A part by table and name: `object("core/v1", "PodSpec")`. */
  object(table: string, name: string): ObjectSchema | undefined;
}
