import { quantityToNumber } from "#base/quantity.ts";

/** A quantity as a number of its unit. The API has validated it before: what cannot be read counts as 0. */
export function parseQuantity(text: string | number): number {
  return typeof text === "number" ? text : quantityToNumber(text);
}
