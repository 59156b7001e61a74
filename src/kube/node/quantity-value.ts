import { GantryError } from "#base/errors.ts";

const binary: Record<string, number> = { Ki: 1, Mi: 2, Gi: 3, Ti: 4, Pi: 5, Ei: 6 };
const decimal: Record<string, number> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };

/** The number that a resource quantity stands for (`250m` is 0.25, `1Ki` is 1024). Throws `invalid`. */
export function quantityValue(quantity: string | number): number {
  if (typeof quantity === "number") return quantity;
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?))$/.exec(quantity);
  if (match === null) throw new GantryError("invalid", `"${quantity}" is not a quantity.`);
  const [, digits, exponent, suffix = ""] = match;
  if (exponent !== undefined) return Number(digits + exponent);
  const power = binary[suffix];
  if (power !== undefined) return Number(digits) * 1024 ** power;
  return Number(`${digits}e${decimal[suffix]}`);
}

/** Rounded up to whole units, as upstream's `Value()`. */
export function quantityCeil(quantity: string | number): number {
  return Math.ceil(Number(quantityValue(quantity).toPrecision(15)));
}

/** Thousandths, rounded up: millicores. */
export function quantityMilli(quantity: string | number): number {
  return Math.ceil(Number((quantityValue(quantity) * 1000).toPrecision(15)));
}
