const binary: Record<string, number> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 };
const decimal: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
};

/** A quantity in thousandths, for comparing. NaN for what is no quantity. */
export function parseQuantityMilli(value: string | number): number {
  if (typeof value === "number") return value * 1000;
  const match = /^([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)?)$/.exec(value);
  if (match === null) return Number.NaN;
  if (match[2] !== undefined) return Number(match[1] + match[2]) * 1000;
  const suffix = match[3] ?? "";
  return Number(match[1]) * (binary[suffix] ?? decimal[suffix] ?? 1) * 1000;
}
