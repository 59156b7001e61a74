export interface RouteMatch<T> {
  value: T;
  /** Percent-decoded. */
  params: Readonly<Record<string, string>>;
}

/**
 * Finds a value by method and path. Patterns are `/`-separated: a literal, `{name}` for one segment, or
 * `{name...}` for one or more segments (also in the middle: `/images/{name...}/json`). Literals win over
 * parameters, those over tails; a longer tail wins over a shorter one.
 */
export declare class Router<T> {
  add(method: string, pattern: string, value: T): this;
  /** Undefined when nothing fits the path with that method. */
  find(method: string, path: string): RouteMatch<T> | undefined;
  /** The methods with which `path` would be found, for a 405. */
  methods(path: string): string[];
}
