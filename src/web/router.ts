import { GantryError } from "#base/errors.ts";

export interface RouteMatch<T> {
  value: T;
  /** Percent-decoded. */
  params: Readonly<Record<string, string>>;
}

interface Entry<T> {
  names: readonly string[];
  value: T;
}

interface TreeNode<T> {
  literals: Map<string, TreeNode<T>>;
  param: TreeNode<T> | undefined;
  tail: TreeNode<T> | undefined;
  methods: Map<string, Entry<T>> | undefined;
}

function newNode<T>(): TreeNode<T> {
  return { literals: new Map(), param: undefined, tail: undefined, methods: undefined };
}

function decodeSegment(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new GantryError("invalid", `The path segment "${text}" is not properly percent-encoded.`, { cause });
  }
}

/**
 * Finds a value by method and path. Patterns are `/`-separated: a literal, `{name}` for one segment, or
 * `{name...}` for one or more segments (also in the middle: `/images/{name...}/json`). Literals win over
 * parameters, those over tails; a longer tail wins over a shorter one.
 */
export class Router<T> {
  readonly #root: TreeNode<T> = newNode();

  /** Throws a plain Error when the same method and pattern are there already. */
  add(method: string, pattern: string, value: T): this {
    let node = this.#root;
    const names: string[] = [];
    for (const segment of pattern.split("/").slice(1)) {
      if (segment.startsWith("{") && segment.endsWith("...}")) {
        names.push(segment.slice(1, -4));
        node = node.tail ??= newNode();
      } else if (segment.startsWith("{") && segment.endsWith("}")) {
        names.push(segment.slice(1, -1));
        node = node.param ??= newNode();
      } else {
        let next = node.literals.get(segment);
        if (next === undefined) node.literals.set(segment, (next = newNode()));
        node = next;
      }
    }
    const methods = (node.methods ??= new Map());
    if (methods.has(method)) throw new Error(`the route ${method} ${pattern} is defined twice`);
    methods.set(method, { names, value });
    return this;
  }

  /** Undefined when nothing fits the path with that method. Throws `invalid` for broken percent-encoding. */
  find(method: string, path: string): RouteMatch<T> | undefined {
    const captures: string[] = [];
    const accept = (node: TreeNode<T>): Entry<T> | undefined => node.methods?.get(method);
    const entry = walk(this.#root, path.split("/"), 1, captures, accept);
    if (entry === undefined) return undefined;
    const params: Record<string, string> = {};
    for (const [index, name] of entry.names.entries()) {
      params[name] = (captures[index] as string).split("/").map(decodeSegment).join("/");
    }
    return { value: entry.value, params };
  }

  /** The methods with which `path` would be found, for a 405. */
  methods(path: string): string[] {
    const found = new Set<string>();
    // Never accepting makes the walk visit every node that fits.
    walk(this.#root, path.split("/"), 1, [], (node) => {
      for (const method of node.methods?.keys() ?? []) found.add(method);
      return undefined;
    });
    return [...found];
  }
}

function walk<T>(
  node: TreeNode<T>,
  segments: readonly string[],
  at: number,
  captures: string[],
  accept: (node: TreeNode<T>) => Entry<T> | undefined,
): Entry<T> | undefined {
  if (at >= segments.length) return accept(node);
  const segment = segments[at] as string;
  const literal = node.literals.get(segment);
  if (literal !== undefined) {
    const found = walk(literal, segments, at + 1, captures, accept);
    if (found !== undefined) return found;
  }
  if (segment === "") return undefined;
  if (node.param !== undefined) {
    captures.push(segment);
    const found = walk(node.param, segments, at + 1, captures, accept);
    if (found !== undefined) return found;
    captures.pop();
  }
  if (node.tail === undefined) return undefined;
  for (let end = segments.length; end > at; end--) {
    captures.push(segments.slice(at, end).join("/"));
    const found = walk(node.tail, segments, end, captures, accept);
    if (found !== undefined) return found;
    captures.pop();
  }
  return undefined;
}
