import { GantryError } from "./errors.ts";

const powers = " kmgtp";

/**
 * `64M`, `1.5GiB`, `10 kb` or a number of bytes, in units of 1024, or of 1000 where docker means those (github.com/
 * docker/go-units: RAMInBytes and FromHumanSize). Throws `invalid size: '…'`.
 */
export function parseByteSize(text: string, unit: 1000 | 1024 = 1024): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text);
  if (match === null) throw new GantryError("invalid", `invalid size: '${text}'`);
  return Math.floor(Number(match[1]) * unit ** powers.indexOf((match[2] ?? " ").toLowerCase()));
}
