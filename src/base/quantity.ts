/**
 * Kubernetes quantities (apimachinery, api/resource): `100m`, `1.5Gi`, `2e3`. Exact: a value is a whole
 * number of billionths.
 */
import { GantryError } from "./errors.ts";

export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

export interface Quantity {
  /** The value in billionths. */
  readonly nano: bigint;
  readonly format: QuantityFormat;
}

const billion = 1_000_000_000n;
const decimalExponents: Record<string, number> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const decimalSuffixes = new Map(Object.entries(decimalExponents).map(([suffix, exponent]) => [exponent, suffix]));
const binarySuffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:(Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?\d+)|([numkMGTPE]?))$/;

/** What Kubernetes says of a text that is no quantity. */
export const quantityFormatError =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/** The value, or undefined for what is no quantity. Finer than a billionth is rounded away from zero. */
export function tryParseQuantity(text: string): Quantity | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = "", fraction = "", binary, exponent, suffix = ""] = match;
  if (whole === "" && fraction === "") return undefined;
  let digits = BigInt(`${whole}${fraction}` || "0");
  let scale = 9 - fraction.length;
  let format: QuantityFormat = "DecimalSI";
  if (binary !== undefined) {
    digits *= 1024n ** BigInt(binarySuffixes.indexOf(binary));
    format = "BinarySI";
  } else if (exponent !== undefined) {
    if (Math.abs(Number(exponent)) > 100) return undefined;
    scale += Number(exponent);
    format = "DecimalExponent";
  } else scale += decimalExponents[suffix] ?? 0;
  let nano: bigint;
  if (scale >= 0) nano = digits * 10n ** BigInt(scale);
  else {
    const divisor = 10n ** BigInt(-scale);
    nano = (digits + divisor - 1n) / divisor;
  }
  return { nano: sign === "-" ? -nano : nano, format };
}

/** The value. Throws `invalid` for what is no quantity. */
export function parseQuantity(text: string): Quantity {
  const quantity = tryParseQuantity(text);
  if (quantity === undefined) throw new GantryError("invalid", quantityFormatError);
  return quantity;
}

/** The canonical text: the largest suffix that leaves no fraction. */
export function formatQuantity({ nano, format }: Quantity): string {
  if (nano === 0n) return "0";
  const negative = nano < 0n;
  const size = negative ? -nano : nano;
  const sign = negative ? "-" : "";
  if (format === "BinarySI" && size >= 1024n * billion) {
    let amount = (size + billion - 1n) / billion;
    let step = 0;
    while (step < 6 && amount % 1024n === 0n) {
      amount /= 1024n;
      step++;
    }
    return `${sign}${amount}${binarySuffixes[step]}`;
  }
  let amount = size;
  let exponent = -9;
  while (exponent < 18 && amount % 1000n === 0n) {
    amount /= 1000n;
    exponent += 3;
  }
  if (format === "DecimalExponent") return exponent === 0 ? `${sign}${amount}` : `${sign}${amount}e${exponent}`;
  return `${sign}${amount}${decimalSuffixes.get(exponent)}`;
}

/** The canonical form of a quantity's text: `1000m` → `1`, `1024Mi` → `1Gi`. Throws `invalid`. */
export function canonicalQuantity(text: string): string {
  return /^(?:0|[1-9]\d{0,2}[mMGTk]?)$/.test(text) ? text : formatQuantity(parseQuantity(text));
}

/** Negative, zero or positive, as a sorter wants it. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nano < b.nano ? -1 : a.nano > b.nano ? 1 : 0;
}

/** The sum, in the format of the first unless that is zero. */
export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return { nano: a.nano + b.nano, format: a.nano === 0n ? b.format : a.format };
}

export function subtractQuantities(a: Quantity, b: Quantity): Quantity {
  return addQuantities(a, { nano: -b.nano, format: b.format });
}

/** The number of its unit, a fraction where it is one; 0 for what is no quantity. */
export function quantityToNumber(text: string): number {
  const quantity = tryParseQuantity(text);
  if (quantity === undefined) return 0;
  const whole = quantity.nano / billion;
  return Number(whole) + Number(quantity.nano - whole * billion) / 1e9;
}

/** The number of thousandths, rounded up; 0 for what is no quantity. */
export function quantityToMilli(text: string): number {
  const quantity = tryParseQuantity(text);
  if (quantity === undefined) return 0;
  const million = 1_000_000n;
  const { nano } = quantity;
  return Number(nano >= 0n ? (nano + million - 1n) / million : nano / million);
}
