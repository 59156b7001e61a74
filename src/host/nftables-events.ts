import { closeFd } from "./descriptors.ts";
import { bind, check } from "./libc.ts";
import { readAttributes } from "./netlink-socket.ts";
import { watchReadable } from "./poll.ts";

const socketCall = bind("socket", "int", ["int", "int", "int"]);
const bindCall = bind("bind", "int", ["int", "void *", "int"]);
const setsockopt = bind("setsockopt", "int", ["int", "int", "int", "void *", "int"]);
const recv = bind("recv", "long", ["int", "void *", "long", "int"]);

const newTable = 10 << 8;
const deleteTable = (10 << 8) | 2;

/**
 * Calls `onGone` when one of `tables` was deleted and not made again in the same breath, as a firewall's reload
 * with `flush ruleset` does to everybody's tables. When events were lost, all are taken for gone. Returns the
 * function that ends the watch. The watch does not keep the process alive.
 */
export function watchTables(tables: readonly string[], onGone: (table: string) => void): () => void {
  const fd = check(socketCall(16, 3 | 0o2000000 | 0o4000, 12), "socket");
  const address = Buffer.alloc(12);
  address.writeUInt16LE(16, 0);
  const group = Buffer.from([7, 0, 0, 0]);
  try {
    check(bindCall(fd, address, 12), "bind");
    check(setsockopt(fd, 270, 1, group, 4), "setsockopt");
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  const buffer = Buffer.alloc(64 * 1024);
  const watch = watchReadable(fd, () => {
    const gone = new Set<string>();
    for (let reads = 0; reads < 256; reads++) {
      const length = recv(fd, buffer, buffer.length, 0x40);
      if (length < 0) {
        if (reads === 0) for (const table of tables) gone.add(table);
        break;
      }
      for (const { type, name } of tableEvents(buffer.subarray(0, length))) {
        if (!tables.includes(name)) continue;
        if (type === deleteTable) gone.add(name);
        else gone.delete(name);
      }
    }
    for (const table of gone) onGone(table);
  });
  watch.unref();
  return () => {
    watch.close();
    closeFd(fd);
  };
}

function* tableEvents(bytes: Buffer): Iterable<{ type: number; name: string }> {
  for (let at = 0; at + 16 <= bytes.length;) {
    const size = bytes.readUInt32LE(at);
    if (size < 16) return;
    const type = bytes.readUInt16LE(at + 4);
    if (type === newTable || type === deleteTable) {
      const name = readAttributes(bytes.subarray(at, at + size), 20).get(1);
      if (name !== undefined) yield { type, name: name.toString("utf8", 0, name.length - 1) };
    }
    at += (size + 3) & ~3;
  }
}
