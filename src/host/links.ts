import { randomInt } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { type GantryError, hasCode } from "#base/errors.ts";
import { bind, cString, errnoOf } from "./libc.ts";
import { attribute, netlinkFlag, type NetlinkMessage, type NetlinkSocket, readAttributes } from "./netlink-socket.ts";

/** Links, addresses, routes and neighbours as rtnetlink(7) messages. Addresses are bytes in network order. */

const rtm = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddr: 20,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeigh: 28,
  delNeigh: 29,
} as const;
const ifla = { address: 1, name: 3, mtu: 4, link: 5, master: 10, linkInfo: 18, group: 27, netnsFd: 28 } as const;
const info = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const;
const flagUp = 1;

const nameToIndex = bind("if_nametoindex", "uint", ["void *"]);

/** The index of a link in the thread's network namespace; 0 when there is none of that name. */
export function linkIndex(name: string): number {
  return nameToIndex(cString(name));
}

export interface LinkSpec {
  name: string;
  /** `02:42:…`. */
  mac?: string;
  mtu?: number;
  /** Index of the bridge that the link becomes a port of. */
  master?: number;
  up?: boolean;
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(":", ""), "hex");
}

/** ifinfomsg and the attributes that every kind of link has. */
function linkHeader(index: number, up: boolean | undefined): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  if (up !== undefined) {
    header.writeUInt32LE(up ? flagUp : 0, 8);
    header.writeUInt32LE(flagUp, 12);
  }
  return header;
}

function linkAttributes(spec: Omit<LinkSpec, "name"> & { name?: string }): Buffer[] {
  const parts: Buffer[] = [];
  if (spec.name !== undefined) parts.push(attribute(ifla.name, spec.name));
  if (spec.mac !== undefined && spec.mac !== "") parts.push(attribute(ifla.address, macBytes(spec.mac)));
  if (spec.mtu !== undefined && spec.mtu > 0) parts.push(attribute(ifla.mtu, spec.mtu));
  if (spec.master !== undefined) parts.push(attribute(ifla.master, spec.master));
  return parts;
}

function newLink(
  spec: LinkSpec,
  kind: string,
  data: readonly Buffer[] = [],
  more: readonly Buffer[] = [],
): NetlinkMessage {
  const linkInfo = [attribute(info.kind, kind), ...(data.length > 0 ? [attribute(info.data, data)] : [])];
  return {
    type: rtm.newLink,
    flags: netlinkFlag.create | netlinkFlag.exclusive,
    payload: Buffer.concat([
      linkHeader(0, spec.up),
      ...linkAttributes(spec),
      ...more,
      attribute(ifla.linkInfo, linkInfo),
    ]),
  };
}

export function addBridge(spec: LinkSpec): NetlinkMessage {
  return newLink(spec, "bridge");
}

/** A veth pair: one end here, the other, `peer`, in the namespace of the open file `netnsFd`. */
export function addVeth(spec: LinkSpec, peer: LinkSpec, netnsFd: number): NetlinkMessage {
  const peerMessage = Buffer.concat([
    linkHeader(0, peer.up),
    ...linkAttributes(peer),
    attribute(ifla.netnsFd, netnsFd),
  ]);
  return newLink(spec, "veth", [attribute(1, peerMessage)]);
}

export type MacvlanMode = "private" | "vepa" | "bridge" | "passthru";
const macvlanModes: Record<MacvlanMode, number> = { private: 1, vepa: 2, bridge: 4, passthru: 8 };

/** A macvlan link on the link with index `parent`, put into a namespace at once. */
export function addMacvlan(spec: LinkSpec, parent: number, mode: MacvlanMode, netnsFd?: number): NetlinkMessage {
  const more = [attribute(ifla.link, parent)];
  if (netnsFd !== undefined) more.push(attribute(ifla.netnsFd, netnsFd));
  return newLink(spec, "macvlan", [attribute(1, macvlanModes[mode])], more);
}

export type IpvlanMode = "l2" | "l3" | "l3s";
export type IpvlanFlag = "bridge" | "private" | "vepa";
const ipvlanModes: Record<IpvlanMode, number> = { l2: 0, l3: 1, l3s: 2 };
const ipvlanFlags: Record<IpvlanFlag, number> = { bridge: 0, private: 1, vepa: 2 };

/** An ipvlan link on the link with index `parent`, whose MAC it shares, put into a namespace at once. */
export function addIpvlan(
  spec: LinkSpec,
  parent: number,
  mode: IpvlanMode,
  flag: IpvlanFlag,
  netnsFd?: number,
): NetlinkMessage {
  const short = (value: number): Buffer => Buffer.from([value, 0]);
  const more = [attribute(ifla.link, parent)];
  if (netnsFd !== undefined) more.push(attribute(ifla.netnsFd, netnsFd));
  const data = [attribute(1, short(ipvlanModes[mode])), attribute(2, short(ipvlanFlags[flag]))];
  return newLink(spec, "ipvlan", data, more);
}

/** An 802.1q link: `eth0.50`. */
export function addVlan(spec: LinkSpec, parent: number, id: number): NetlinkMessage {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(id);
  return newLink(spec, "vlan", [attribute(1, bytes)], [attribute(ifla.link, parent)]);
}

export interface VxlanSpec extends LinkSpec {
  id: number;
  port: number;
  /** Our own address in the underlay: 4 or 16 bytes. */
  local: Uint8Array;
  /** Remember where frames came from. Else only `forwardingEntry` says where to send. */
  learning: boolean;
}

/** A VXLAN link. */
export function addVxlan(spec: VxlanSpec): NetlinkMessage {
  const port = Buffer.alloc(2);
  port.writeUInt16BE(spec.port);
  return newLink(spec, "vxlan", [
    attribute(1, spec.id),
    attribute(spec.local.length === 4 ? 4 : 17, spec.local),
    attribute(15, port),
    attribute(7, Buffer.from([spec.learning ? 1 : 0])),
  ]);
}

/** Changes a link that exists, by index. */
export function setLink(
  index: number,
  change: { name?: string; up?: boolean; mtu?: number; master?: number; mac?: string },
): NetlinkMessage {
  return { type: rtm.newLink, payload: Buffer.concat([linkHeader(index, change.up), ...linkAttributes(change)]) };
}

/** Port flags of a bridge's port: `hairpin` sends frames back where they came from, isolated ports do not see each other. */
export function setBridgePort(name: string, flags: { hairpin?: boolean; isolated?: boolean }): NetlinkMessage {
  const byte = (value: boolean): Buffer => Buffer.from([value ? 1 : 0]);
  const data: Buffer[] = [];
  if (flags.hairpin !== undefined) data.push(attribute(4, byte(flags.hairpin)));
  if (flags.isolated !== undefined) data.push(attribute(33, byte(flags.isolated)));
  return {
    type: rtm.newLink,
    payload: Buffer.concat([
      linkHeader(0, undefined),
      attribute(ifla.name, name),
      attribute(ifla.linkInfo, [attribute(info.slaveKind, "bridge"), attribute(info.slaveData, data)]),
    ]),
  };
}

export function deleteLink(name: string): NetlinkMessage {
  return { type: rtm.delLink, payload: Buffer.concat([linkHeader(0, undefined), attribute(ifla.name, name)]) };
}

/**
 * Takes many links away for the price of one: the kernel waits for its readers once for each request, some 15 ms.
 * The links are put into a group of their own, which is then deleted. Those that are gone already do not matter.
 */
export async function deleteLinks(socket: NetlinkSocket, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  if (names.length === 1) return apply(socket, names.map(deleteLink), isGone);
  const group = attribute(ifla.group, randomInt(0x40000000, 0x7fffffff));
  const marks = names.map((name) => ({
    type: rtm.newLink,
    payload: Buffer.concat([linkHeader(0, undefined), attribute(ifla.name, name), group]),
  }));
  await apply(socket, marks, isGone);
  await apply(socket, [{ type: rtm.delLink, payload: Buffer.concat([linkHeader(0, undefined), group]) }], isGone);
}

const familyOf = (address: Uint8Array): number => (address.length === 4 ? 2 : 10);

/** Gives a link an address; one that it has already is no error (`replace`). IPv6 without duplicate detection. */
export function addAddress(index: number, address: Uint8Array, prefixLength: number): NetlinkMessage {
  const header = Buffer.alloc(8);
  header[0] = familyOf(address);
  header[1] = prefixLength;
  if (address.length === 16) header[2] = 2;
  header.writeUInt32LE(index, 4);
  const parts = [header, attribute(2, address), attribute(1, address)];
  if (address.length === 4 && prefixLength < 31) {
    const broadcast = Buffer.from(address);
    const value = (broadcast.readUInt32BE() | (0xffffffff >>> prefixLength)) >>> 0;
    broadcast.writeUInt32BE(value);
    parts.push(attribute(4, broadcast));
  }
  return { type: rtm.newAddr, flags: netlinkFlag.create | netlinkFlag.replace, payload: Buffer.concat(parts) };
}

export interface RouteSpec {
  family: 4 | 6;
  /** Undefined: the default route. */
  destination?: { address: Uint8Array; prefixLength: number };
  gateway?: Uint8Array;
  /** Index of the link. */
  link?: number;
  source?: Uint8Array;
  metric?: number;
  kind?: "unicast" | "unreachable";
  /** The gateway is reached through the link although no subnet says so. */
  onLink?: boolean;
}

function route(type: number, flags: number, spec: RouteSpec): NetlinkMessage {
  const header = Buffer.alloc(12);
  header[0] = spec.family === 4 ? 2 : 10;
  header[1] = spec.destination?.prefixLength ?? 0;
  header[4] = 254;
  header[5] = 3;
  header[6] = spec.gateway === undefined && spec.link !== undefined && spec.family === 4 ? 253 : 0;
  header[7] = spec.kind === "unreachable" ? 7 : 1;
  if (spec.onLink) header.writeUInt32LE(4, 8);
  const parts: Buffer[] = [header];
  if (spec.destination !== undefined) parts.push(attribute(1, spec.destination.address));
  if (spec.link !== undefined) parts.push(attribute(4, spec.link));
  if (spec.gateway !== undefined) parts.push(attribute(5, spec.gateway));
  if (spec.metric !== undefined) parts.push(attribute(6, spec.metric));
  if (spec.source !== undefined) parts.push(attribute(7, spec.source));
  return { type, flags, payload: Buffer.concat(parts) };
}

/** Sets a route, replacing one to the same destination with the same metric. */
export function addRoute(spec: RouteSpec): NetlinkMessage {
  return route(rtm.newRoute, netlinkFlag.create | netlinkFlag.replace, spec);
}

export function deleteRoute(spec: RouteSpec): NetlinkMessage {
  return route(rtm.delRoute, 0, spec);
}

/** Where frames for `mac` go on a VXLAN link: to the host `remote`. All zeros is everybody's: broadcast and unknown. */
export function forwardingEntry(
  verb: "add" | "delete",
  index: number,
  mac: string,
  remote: Uint8Array,
): NetlinkMessage {
  const header = Buffer.alloc(12);
  header[0] = 7;
  header.writeInt32LE(index, 4);
  header.writeUInt16LE(0x80, 8);
  header[10] = 2;
  return {
    type: verb === "add" ? rtm.newNeigh : rtm.delNeigh,
    flags: verb === "add" ? netlinkFlag.create | netlinkFlag.append : 0,
    payload: Buffer.concat([header, attribute(2, macBytes(mac)), attribute(1, remote)]),
  };
}

export interface LinkInfo {
  index: number;
  name: string;
  up: boolean;
  /** `bridge`, `veth`, `dummy`…; "" for a real device. */
  kind: string;
  /** Index of the bridge that it is a port of; 0: none. */
  master: number;
  mac: string;
  mtu: number;
}

/** All links of the socket's namespace. */
export async function listLinks(socket: NetlinkSocket): Promise<LinkInfo[]> {
  const messages = await socket.dump({ type: rtm.getLink, payload: Buffer.alloc(16) });
  return messages.map(({ payload }) => {
    const found = readAttributes(payload, 16);
    const details = readAttributes(found.get(ifla.linkInfo) ?? Buffer.alloc(0), 0);
    return {
      index: payload.readInt32LE(4),
      name: cText(found.get(ifla.name)),
      up: (payload.readUInt32LE(8) & flagUp) !== 0,
      kind: cText(details.get(info.kind)),
      master: found.get(ifla.master)?.readUInt32LE() ?? 0,
      mac: (found.get(ifla.address)?.toString("hex").match(/../g) ?? []).join(":"),
      mtu: found.get(ifla.mtu)?.readUInt32LE() ?? 0,
    };
  });
}

function cText(bytes: Buffer | undefined): string {
  if (bytes === undefined) return "";
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
}

export interface RouteInfo {
  family: 4 | 6;
  /** Empty for the default route. */
  destination: Buffer;
  prefixLength: number;
  link: number;
  metric: number;
  kind: number;
}

/** The routes of the main table. */
export async function listRoutes(socket: NetlinkSocket, family: 4 | 6): Promise<RouteInfo[]> {
  const header = Buffer.alloc(12);
  header[0] = family === 4 ? 2 : 10;
  const messages = await socket.dump({ type: rtm.getRoute, payload: header });
  return messages
    .filter(({ payload }) => payload[4] === 254)
    .map(({ payload }) => {
      const found = readAttributes(payload, 12);
      return {
        family,
        destination: Buffer.from(found.get(1) ?? Buffer.alloc(0)),
        prefixLength: payload[1] as number,
        link: found.get(4)?.readUInt32LE() ?? 0,
        metric: found.get(6)?.readUInt32LE() ?? 0,
        kind: payload[7] as number,
      };
    });
}

/** Sends messages in order and throws the first error, unless `ignore` says that it does not matter. */
export async function apply(
  socket: NetlinkSocket,
  messages: readonly NetlinkMessage[],
  ignore: (error: GantryError, index: number) => boolean = () => false,
): Promise<void> {
  const results = await socket.request(messages);
  results.forEach((error, index) => {
    if (error !== undefined && !ignore(error, index)) throw error;
  });
}

/** True for the errors of what is gone already: no such device, no such route. */
export function isGone(error: unknown): boolean {
  return hasCode(error, "not-found") || errnoOf(error) === "ENODEV";
}

/** Opens the file that names a network namespace for as long as `work` takes. */
export async function withNamespaceFile<T>(path: string, work: (fd: number) => Promise<T>): Promise<T> {
  const fd = openSync(path, "r");
  try {
    return await work(fd);
  } finally {
    closeSync(fd);
  }
}
