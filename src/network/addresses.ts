import { isIPv4, isIPv6 } from "node:net";
import { GantryError } from "#base/errors.ts";

export type Family = 4 | 6;

/** An address block. `base` is the block's first address as a number, host bits zero. */
export interface Cidr {
  family: Family;
  base: bigint;
  prefix: number;
}

/** 32 or 128. */
export function addressBits(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** The number of an address, or undefined when the text is none. A zone (`%eth0`) is not an address. */
export function parseAddress(text: string): { family: Family; value: bigint } | undefined {
  if (isIPv4(text)) {
    let value = 0n;
    for (const part of text.split(".")) value = (value << 8n) | BigInt(part);
    return { family: 4, value };
  }
  if (!isIPv6(text) || text.includes("%")) return undefined;
  return { family: 6, value: bytesToNumber(parseIPv6(text)) };
}

function parseIPv6(text: string): Uint8Array {
  let words = text;
  const dotted = /(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(2).map(Number) as [number, number, number, number];
    words = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = "", tail] = words.split("::") as [string, string | undefined];
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const all = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right];
  const bytes = new Uint8Array(16);
  all.forEach((word, index) => {
    const value = Number.parseInt(word, 16);
    bytes[index * 2] = value >> 8;
    bytes[index * 2 + 1] = value & 255;
  });
  return bytes;
}

function bytesToNumber(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

/** The address in network order: 4 or 16 bytes. Throws a plain Error for what is no address. */
export function addressBytes(text: string): Uint8Array {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no IP address`);
  const bytes = new Uint8Array(addressBits(address.family) / 8);
  let rest = address.value;
  for (let index = bytes.length - 1; index >= 0; index--) {
    bytes[index] = Number(rest & 255n);
    rest >>= 8n;
  }
  return bytes;
}

/** Text of an address; IPv6 in the shortest form (RFC 5952). */
export function formatAddress(family: Family, value: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
  const words: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) words.push(Number((value >> shift) & 0xffffn));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = words.map((word) => word.toString(16));
  if (best.start < 0) return hex.join(":");
  return `${hex.slice(0, best.start).join(":")}::${hex.slice(best.start + best.length).join(":")}`;
}

/** One spelling for an address; undefined when it is none. */
export function canonicalAddress(text: string): string | undefined {
  const address = parseAddress(text);
  return address === undefined ? undefined : formatAddress(address.family, address.value);
}

/** Parses `10.0.0.0/8`. Host bits are kept out of `base`; `hasHostBits` tells whether there were any. */
export function parseCidr(text: string): (Cidr & { hasHostBits: boolean }) | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !/^\d{1,3}$/.test(length)) return undefined;
  const prefix = Number(length);
  const bits = addressBits(address.family);
  if (prefix > bits) return undefined;
  const base = (address.value >> BigInt(bits - prefix)) << BigInt(bits - prefix);
  return { family: address.family, base, prefix, hasHostBits: base !== address.value };
}

/** Like `parseCidr`, for configuration that must be right: throws `invalid`. */
export function requireCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new GantryError("invalid", `invalid CIDR address: ${text}`);
  return { family: cidr.family, base: cidr.base, prefix: cidr.prefix };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.family, cidr.base)}/${cidr.prefix}`;
}

/** How many addresses the block has. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(addressBits(cidr.family) - cidr.prefix);
}

export function cidrContains(cidr: Cidr, family: Family, value: bigint): boolean {
  return family === cidr.family && value >= cidr.base && value < cidr.base + cidrSize(cidr);
}

export function cidrOverlaps(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.base < b.base + cidrSize(b) && b.base < a.base + cidrSize(a);
}

/** docker's MAC of an IPv4 address: `02:42:` and the address's four bytes. */
export function macFromIPv4(address: string): string {
  return ["02", "42", ...[...addressBytes(address)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/** The name whose PTR record belongs to an address, without a trailing dot. */
export function reverseName(address: string): string {
  const bytes = [...addressBytes(address)];
  if (bytes.length === 4) return `${bytes.reverse().join(".")}.in-addr.arpa`;
  const digits = bytes.flatMap((byte) => [byte >> 4, byte & 15]);
  return `${digits
    .reverse()
    .map((digit) => digit.toString(16))
    .join(".")}.ip6.arpa`;
}

/** The address in a reverse name, or undefined when the name is no whole address. */
export function addressOfReverseName(name: string): string | undefined {
  const lower = name.toLowerCase().replace(/\.$/, "");
  if (lower.endsWith(".in-addr.arpa")) {
    return canonicalAddress(lower.slice(0, -".in-addr.arpa".length).split(".").reverse().join("."));
  }
  if (!lower.endsWith(".ip6.arpa")) return undefined;
  const digits = lower.slice(0, -".ip6.arpa".length).split(".").reverse();
  if (digits.length !== 32 || digits.some((digit) => !/^[0-9a-f]$/.test(digit))) return undefined;
  return formatAddress(6, BigInt(`0x${digits.join("")}`));
}
