export type Fields = Record<string, unknown>;

/** Sets what is absent in one struct, in place. Runs before those of the structs inside it. */
export type DefaultRule = (object: Fields) => void;

/** Sets `object[name]` when it is absent, and for strings also when it is empty. */
export function set(object: Fields, name: string, value: unknown): void {
  const present = object[name];
  if (present === undefined || present === null || (present === "" && typeof value === "string")) object[name] = value;
}

/** The struct at `object[name]`, made when it is absent. */
export function part(object: Fields, name: string): Fields {
  return (object[name] ??= {}) as Fields;
}

/** The structs of the list at `object[name]`. */
export function each(object: Fields, name: string): Fields[] {
  const list = object[name];
  return Array.isArray(list) ? (list as Fields[]) : [];
}

/** True for an absent or empty map or list. */
export function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
