import { attribute, netlinkProtocol, NetlinkSocket, readAttributes } from "./netlink-socket.ts";

/** Flows to forget: those whose first packet went to `port` (and `address`), and are answered by `reply`. */
export interface FlowFilter {
  protocol: "tcp" | "udp";
  /** 4 or 16 bytes; undefined: any. */
  address?: Uint8Array;
  port: number;
  reply?: Uint8Array;
}

const getEntry = (1 << 8) | 1;
const deleteEntry = (1 << 8) | 2;
const tuple = { ip: 1, protocol: 2 } as const;
const origin = 1;
const answer = 2;

interface Tuple {
  source: Buffer;
  destination: Buffer;
  protocol: number;
  destinationPort: number;
}

function readTuple(bytes: Buffer): Tuple {
  const parts = readAttributes(bytes, 0);
  const ip = readAttributes(parts.get(tuple.ip) ?? Buffer.alloc(0), 0);
  const layer4 = readAttributes(parts.get(tuple.protocol) ?? Buffer.alloc(0), 0);
  return {
    source: ip.get(1) ?? ip.get(3) ?? Buffer.alloc(0),
    destination: ip.get(2) ?? ip.get(4) ?? Buffer.alloc(0),
    protocol: layer4.get(1)?.[0] ?? 0,
    destinationPort: layer4.get(3)?.readUInt16BE() ?? 0,
  };
}

/**
 * Makes the kernel forget the flows that match any filter, in one walk over its table: their next packet is
 * decided about anew. Returns how many. For UDP, where a client that keeps its port would else be sent to an
 * endpoint that is gone for as long as it keeps asking.
 */
export async function forgetFlows(filters: readonly FlowFilter[]): Promise<number> {
  if (filters.length === 0) return 0;
  const socket = NetlinkSocket.open(netlinkProtocol.netfilter);
  try {
    const doomed: Buffer[] = [];
    const families = new Set(filters.map(({ address, reply }) => ((address ?? reply)?.length === 16 ? 10 : 2)));
    for (const family of families) {
      const header = Buffer.from([family, 0, 0, 0]);
      for (const { payload } of await socket.dump({ type: getEntry, payload: header })) {
        const entry = readAttributes(payload, 4);
        const first = entry.get(origin);
        const back = entry.get(answer);
        if (first === undefined || back === undefined) continue;
        if (!filters.some((filter) => matches(filter, readTuple(first), readTuple(back)))) continue;
        doomed.push(Buffer.concat([header, attribute(origin | 0x8000, first)]));
      }
    }
    const results = await socket.request(doomed.map((payload) => ({ type: deleteEntry, payload })));
    return results.filter((error) => error === undefined).length;
  } finally {
    socket.close();
  }
}

function matches(filter: FlowFilter, first: Tuple, back: Tuple): boolean {
  if (first.protocol !== (filter.protocol === "udp" ? 17 : 6)) return false;
  if (first.destinationPort !== filter.port) return false;
  if (filter.address !== undefined && !first.destination.equals(filter.address)) return false;
  return filter.reply === undefined || back.source.equals(filter.reply);
}
