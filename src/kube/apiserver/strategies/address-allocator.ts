import { randomInt } from "node:crypto";

/** Owners and what they hold. A value has one owner at a time. */
export class Allocator {
  readonly #owners = new Map<number, string>();
  readonly #held = new Map<string, Set<number>>();
  readonly #first: number;
  readonly #last: number;
  readonly #dynamicFirst: number;

  /** Values from `first` to `last`; those below `dynamicFirst` are given out only when asked for, or when nothing else is left. */
  constructor(first: number, last: number, dynamicFirst = first) {
    this.#first = first;
    this.#last = last;
    this.#dynamicFirst = dynamicFirst;
  }

  inRange(value: number): boolean {
    return value >= this.#first && value <= this.#last;
  }

  /** False when another owner has it. */
  claim(owner: string, value: number): boolean {
    const holder = this.#owners.get(value);
    if (holder !== undefined) return holder === owner;
    this.#owners.set(value, owner);
    const held = this.#held.get(owner);
    if (held === undefined) this.#held.set(owner, new Set([value]));
    else held.add(value);
    return true;
  }

  /** A free value for `owner`, undefined when there is none. */
  allocate(owner: string): number | undefined {
    return this.#pick(owner, this.#dynamicFirst, this.#last) ?? this.#pick(owner, this.#first, this.#dynamicFirst - 1);
  }

  #pick(owner: string, from: number, to: number): number | undefined {
    const size = to - from + 1;
    if (size <= 0) return undefined;
    const start = randomInt(size);
    for (let step = 0; step < size; step++) {
      const value = from + ((start + step) % size);
      if (this.#owners.has(value)) continue;
      this.claim(owner, value);
      return value;
    }
    return undefined;
  }

  /** Makes `values` all that `owner` holds. */
  settle(owner: string, values: readonly number[]): void {
    const held = this.#held.get(owner);
    if (held !== undefined) {
      for (const value of held) if (!values.includes(value)) this.#owners.delete(value);
      this.#held.delete(owner);
    }
    for (const value of values) {
      this.#owners.delete(value);
      this.claim(owner, value);
    }
  }
}

/** An IPv4 address as a number; undefined when it is none. */
export function ipToNumber(text: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export function numberToIp(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** First and last address of an IPv4 range in CIDR form. */
export function cidrRange(cidr: string): { base: number; size: number } {
  const [address, prefix] = cidr.split("/") as [string, string];
  const size = 2 ** (32 - Number(prefix));
  const number = ipToNumber(address);
  if (number === undefined || !Number.isInteger(size)) throw new Error(`${cidr} is not an IPv4 range`);
  return { base: number - (number % size), size };
}
