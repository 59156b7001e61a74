/**
 * Sets of fields of an object, as `managedFields` keeps them (structured-merge-diff, FieldsV1): a tree whose
 * edges are `f:name`, `k:{"name":"c"}` (an item of a keyed list) or `v:"value"` (an item of a set).
 */
export class FieldSet {
  /** The path to here is in the set itself. */
  member = false;
  readonly children = new Map<string, FieldSet>();

  static fromJson(json: unknown): FieldSet {
    const set = new FieldSet();
    if (typeof json !== "object" || json === null) return set;
    for (const [edge, below] of Object.entries(json)) {
      if (edge === ".") {
        set.member = true;
        continue;
      }
      const child = FieldSet.fromJson(below);
      if (child.children.size === 0) child.member = true;
      set.children.set(edge, child);
    }
    return set;
  }

  toJson(): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    if (this.member && this.children.size > 0) out["."] = {};
    for (const edge of [...this.children.keys()].toSorted()) out[edge] = this.children.get(edge)?.toJson();
    return out;
  }

  get isEmpty(): boolean {
    return !this.member && [...this.children.values()].every((child) => child.isEmpty);
  }

  child(edge: string): FieldSet {
    let child = this.children.get(edge);
    if (child === undefined) {
      child = new FieldSet();
      this.children.set(edge, child);
    }
    return child;
  }

  /** Takes away branches that hold nothing. */
  prune(): this {
    for (const [edge, child] of this.children) if (child.prune().isEmpty) this.children.delete(edge);
    return this;
  }

  clone(): FieldSet {
    const copy = new FieldSet();
    copy.member = this.member;
    for (const [edge, child] of this.children) copy.children.set(edge, child.clone());
    return copy;
  }

  /** Adds everything of `other` to this. */
  add(other: FieldSet): this {
    this.member ||= other.member;
    for (const [edge, child] of other.children) this.child(edge).add(child);
    return this;
  }

  /** What is in both. */
  intersection(other: FieldSet): FieldSet {
    const out = new FieldSet();
    out.member = this.member && other.member;
    for (const [edge, child] of this.children) {
      const theirs = other.children.get(edge);
      if (theirs !== undefined) out.children.set(edge, child.intersection(theirs));
    }
    return out.prune();
  }

  /** What is in this and not in `other`. */
  difference(other: FieldSet): FieldSet {
    const out = new FieldSet();
    out.member = this.member && !other.member;
    for (const [edge, child] of this.children) {
      const theirs = other.children.get(edge);
      out.children.set(edge, theirs === undefined ? child.clone() : child.difference(theirs));
    }
    return out.prune();
  }

  /** The members, as paths for people: `.spec.containers[name="c"].image`. */
  paths(prefix = ""): string[] {
    const out = this.member ? [prefix] : [];
    for (const edge of [...this.children.keys()].toSorted())
      out.push(...(this.children.get(edge) as FieldSet).paths(prefix + showEdge(edge)));
    return out;
  }
}

function showEdge(edge: string): string {
  const text = edge.slice(2);
  if (edge.startsWith("f:")) return `.${text}`;
  if (edge.startsWith("v:")) return `[=${text}]`;
  const keys = JSON.parse(text) as Record<string, unknown>;
  return `[${Object.keys(keys)
    .map((key) => `${key}=${JSON.stringify(keys[key])}`)
    .join(",")}]`;
}
