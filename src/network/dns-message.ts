import { GantryError } from "#base/errors.ts";
import { addressBytes, formatAddress } from "./addresses.ts";

/** Record types by number (IANA, DNS parameters). */
export const dnsType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const;

export const dnsRcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
export type DnsRcode = keyof typeof dnsRcode;

/** Names are without a trailing dot; "" is the root. Times to live in seconds. */
export type DnsRecord =
  | { type: "A" | "AAAA"; name: string; ttl: number; address: string }
  | { type: "CNAME" | "PTR" | "NS"; name: string; ttl: number; target: string }
  | { type: "SRV"; name: string; ttl: number; priority: number; weight: number; port: number; target: string }
  | { type: "TXT"; name: string; ttl: number; texts: string[] }
  | {
      type: "SOA";
      name: string;
      ttl: number;
      primary: string;
      mailbox: string;
      serial: number;
      refresh: number;
      retry: number;
      expire: number;
      minimum: number;
    };

export interface DnsQuestion {
  /** As asked, letter case kept. */
  name: string;
  type: number;
  class: number;
}

export interface DnsQuery {
  id: number;
  opcode: number;
  recursionDesired: boolean;
  question: DnsQuestion;
  /** What the asker takes over UDP: 512 without EDNS. */
  udpSize: number;
  edns: boolean;
}

export interface DnsResponse {
  rcode: DnsRcode;
  authoritative: boolean;
  answers: DnsRecord[];
  authority?: DnsRecord[];
  additional?: DnsRecord[];
}

function malformed(): GantryError {
  return new GantryError("invalid", "The DNS message is malformed.");
}

/** Reads a name at `offset`; compression pointers may only go backwards, so that it ends. */
function readName(bytes: Buffer, offset: number): { name: string; next: number } {
  const labels: string[] = [];
  let at = offset;
  let next = -1;
  let total = 0;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw malformed();
    if (length === 0) break;
    if ((length & 0xc0) === 0xc0) {
      const low = bytes[at + 1];
      if (low === undefined) throw malformed();
      const target = ((length & 0x3f) << 8) | low;
      if (target >= at) throw malformed();
      if (next < 0) next = at + 2;
      at = target;
      continue;
    }
    if (length > 63 || at + 1 + length > bytes.length) throw malformed();
    total += length + 1;
    if (total > 254) throw malformed();
    const label = bytes.toString("latin1", at + 1, at + 1 + length);
    if (label.includes(".")) throw malformed();
    labels.push(label);
    at += length + 1;
  }
  return { name: labels.join("."), next: next < 0 ? at + 1 : next };
}

/** Reads a query. Throws `invalid` for what is no query with exactly one question (RFC 1035, section 4). */
export function decodeQuery(message: Uint8Array): DnsQuery {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  if (bytes.length < 12) throw malformed();
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) !== 0 || bytes.readUInt16BE(4) !== 1) throw malformed();
  const { name, next } = readName(bytes, 12);
  if (next + 4 > bytes.length) throw malformed();
  const query: DnsQuery = {
    id: bytes.readUInt16BE(0),
    opcode: (flags >> 11) & 15,
    recursionDesired: (flags & 0x0100) !== 0,
    question: { name, type: bytes.readUInt16BE(next), class: bytes.readUInt16BE(next + 2) },
    udpSize: 512,
    edns: false,
  };
  readEdns(bytes, next + 4, query);
  return query;
}

function readEdns(bytes: Buffer, start: number, query: DnsQuery): void {
  let records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  let at = start;
  while (records-- > 0) {
    const { next } = readName(bytes, at);
    if (next + 10 > bytes.length) throw malformed();
    if (bytes.readUInt16BE(next) === dnsType.OPT) {
      query.edns = true;
      query.udpSize = Math.max(512, bytes.readUInt16BE(next + 2));
    }
    at = next + 10 + bytes.readUInt16BE(next + 8);
  }
}

/** Writes a message, pointing back to names that stand there already (RFC 1035, section 4.1.4). */
class Writer {
  bytes = Buffer.allocUnsafe(512);
  length = 0;
  readonly #names = new Map<string, number>();

  #grow(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.length + more));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  uint8(value: number): void {
    this.#grow(1);
    this.bytes[this.length++] = value;
  }

  uint16(value: number): void {
    this.#grow(2);
    this.length = this.bytes.writeUInt16BE(value & 0xffff, this.length);
  }

  uint32(value: number): void {
    this.#grow(4);
    this.length = this.bytes.writeUInt32BE(value >>> 0, this.length);
  }

  raw(value: Uint8Array): void {
    this.#grow(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }

  name(name: string, compress = true): void {
    const labels = name === "" ? [] : name.split(".");
    for (let index = 0; index < labels.length; index++) {
      const suffix = labels.slice(index).join(".").toLowerCase();
      const known = compress ? this.#names.get(suffix) : undefined;
      if (known !== undefined) return this.uint16(0xc000 | known);
      if (this.length < 0x4000 && !this.#names.has(suffix)) this.#names.set(suffix, this.length);
      const label = Buffer.from(labels[index] as string, "latin1");
      if (label.length === 0 || label.length > 63) throw new Error(`${name} cannot be written as a DNS name`);
      this.uint8(label.length);
      this.raw(label);
    }
    this.uint8(0);
  }

  /** Takes back what was written after `length`. */
  cut(length: number): void {
    this.length = length;
    for (const [suffix, at] of this.#names) if (at >= length) this.#names.delete(suffix);
  }

  record(record: DnsRecord): void {
    this.name(record.name);
    this.uint16(dnsType[record.type]);
    this.uint16(1);
    this.uint32(record.ttl);
    const lengthAt = this.length;
    this.uint16(0);
    this.#data(record);
    this.bytes.writeUInt16BE(this.length - lengthAt - 2, lengthAt);
  }

  #data(record: DnsRecord): void {
    switch (record.type) {
      case "A":
      case "AAAA":
        return this.raw(addressBytes(record.address));
      case "CNAME":
      case "PTR":
      case "NS":
        return this.name(record.target);
      case "SRV":
        this.uint16(record.priority);
        this.uint16(record.weight);
        this.uint16(record.port);
        // RFC 2782: the target is not compressed.
        return this.name(record.target, false);
      case "TXT":
        for (const text of record.texts) {
          const value = Buffer.from(text).subarray(0, 255);
          this.uint8(value.length);
          this.raw(value);
        }
        return;
      case "SOA":
        this.name(record.primary);
        this.name(record.mailbox);
        for (const value of [record.serial, record.refresh, record.retry, record.expire, record.minimum]) {
          this.uint32(value);
        }
    }
  }
}

/**
 * Bytes of the response to `query`. Records that do not fit into `limit` bytes are left out and the message is
 * marked as truncated, so that the asker comes again over TCP.
 */
export function encodeResponse(query: DnsQuery, response: DnsResponse, limit = 65_535): Buffer {
  const writer = new Writer();
  const opt = query.edns ? 11 : 0;
  writer.raw(Buffer.alloc(12));
  writer.name(query.question.name);
  writer.uint16(query.question.type);
  writer.uint16(query.question.class);
  const counts = [0, 0, 0];
  let truncated = false;
  [response.answers, response.authority ?? [], response.additional ?? []].forEach((records, section) => {
    for (const record of records) {
      if (truncated) return;
      const before = writer.length;
      writer.record(record);
      if (writer.length + opt > limit) {
        writer.cut(before);
        // Additional records are a courtesy; their absence is no truncation (RFC 2181, section 9).
        if (section < 2) truncated = true;
        return;
      }
      counts[section] = (counts[section] as number) + 1;
    }
  });
  if (query.edns) {
    writer.uint8(0);
    writer.uint16(dnsType.OPT);
    writer.uint16(1232);
    writer.uint32(0);
    writer.uint16(0);
    counts[2] = (counts[2] as number) + 1;
  }
  let flags = 0x8080 | (query.opcode << 11) | dnsRcode[response.rcode];
  if (response.authoritative) flags |= 0x0400;
  if (truncated) flags |= 0x0200;
  if (query.recursionDesired) flags |= 0x0100;
  const bytes = writer.bytes;
  bytes.writeUInt16BE(query.id, 0);
  bytes.writeUInt16BE(flags, 2);
  bytes.writeUInt16BE(1, 4);
  counts.forEach((count, index) => bytes.writeUInt16BE(count, 6 + index * 2));
  return bytes.subarray(0, writer.length);
}

/** The answer to bytes that cannot be read: FORMERR with their id, or undefined when there is not even that. */
export function encodeFormatError(message: Uint8Array): Buffer | undefined {
  if (message.length < 12 || ((message[2] as number) & 0x80) !== 0) return undefined;
  const bytes = Buffer.alloc(12);
  bytes.set(message.subarray(0, 2), 0);
  bytes.writeUInt16BE(0x8000 | dnsRcode.FORMERR, 2);
  return bytes;
}

/** Bytes of a query for one name, recursion desired. */
export function encodeQuery(id: number, question: DnsQuestion): Buffer {
  const writer = new Writer();
  writer.raw(Buffer.alloc(12));
  writer.name(question.name);
  writer.uint16(question.type);
  writer.uint16(question.class);
  const bytes = writer.bytes;
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt16BE(0x0100, 2);
  bytes.writeUInt16BE(1, 4);
  return bytes.subarray(0, writer.length);
}

/** The addresses and aliases among a response's answers. Throws `invalid` for what is malformed. */
export function decodeAddresses(bytes: Buffer): DnsRecord[] {
  if (bytes.length < 12) throw malformed();
  let at = 12;
  for (let question = bytes.readUInt16BE(4); question > 0; question--) at = readName(bytes, at).next + 4;
  const records: DnsRecord[] = [];
  for (let answer = bytes.readUInt16BE(6); answer > 0; answer--) {
    const { name, next } = readName(bytes, at);
    if (next + 10 > bytes.length) throw malformed();
    const type = bytes.readUInt16BE(next);
    const ttl = bytes.readUInt32BE(next + 4);
    const end = next + 10 + bytes.readUInt16BE(next + 8);
    if (end > bytes.length) throw malformed();
    const data = bytes.subarray(next + 10, end);
    if (type === dnsType.A && data.length === 4) records.push({ type: "A", name, ttl, address: data.join(".") });
    if (type === dnsType.AAAA && data.length === 16) {
      records.push({ type: "AAAA", name, ttl, address: formatAddress(6, BigInt(`0x${data.toString("hex")}`)) });
    }
    if (type === dnsType.CNAME) records.push({ type: "CNAME", name, ttl, target: readName(bytes, next + 10).name });
    at = end;
  }
  return records;
}
