import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { closeFd } from "./descriptors.ts";
import { bind, check } from "./libc.ts";
import { watchReadable } from "./poll.ts";
import { SeqpacketSocket } from "./seqpacket.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-seqpacket-"));
after(() => rmSync(folder, { recursive: true }));

const socketCall = bind("socket", "int", ["int", "int", "int"]);
const bindCall = bind("bind", "int", ["int", "void *", "uint32"]);
const listenCall = bind("listen", "int", ["int", "int"]);
const acceptCall = bind("accept4", "int", ["int", "void *", "void *", "int"]);
const recvCall = bind("recv", "long", ["int", "void *", "size_t", "int"]);
const sendCall = bind("send", "long", ["int", "void *", "size_t", "int"]);
const chdirCall = bind("chdir", "int", ["void *"]);

/** A listening socket `s` in a folder, bound by its short name. */
function listen(where: string): number {
  const fd = check(socketCall(1, 5 | 0o2000000, 0), "socket");
  const address = Buffer.from("\x01\0s\0");
  const before = process.cwd();
  check(chdirCall(Buffer.from(`${where}\0`)), "chdir");
  check(bindCall(fd, address, address.length), "bind");
  process.chdir(before);
  check(listenCall(fd, 8), "listen");
  return fd;
}

const accept = (fd: number): number => check(acceptCall(fd, null, null, 0o2000000), "accept4");

test("messages keep their borders both ways, and the end arrives", async () => {
  const listener = listen(folder);
  const client = SeqpacketSocket.connect(join(folder, "s"));
  const peer = accept(listener);
  for (const text of ["one", "two", "three"]) sendCall(peer, Buffer.from(text), text.length, 0);
  assert.equal(await client.send(Buffer.from("hello")), true);
  client.endWriting();
  const buffer = Buffer.alloc(100);
  assert.equal(buffer.toString("utf8", 0, recvCall(peer, buffer, 100, 0)), "hello");
  assert.equal(recvCall(peer, buffer, 100, 0), 0, "the peer reads the end");
  closeFd(peer);
  const got: string[] = [];
  for await (const packet of client.packets()) got.push(packet.toString());
  assert.deepEqual(got, ["one", "two", "three"]);
  closeFd(listener);
  rmSync(join(folder, "s"));
});

test("a slow reader stops the sender and loses nothing", async () => {
  const listener = listen(folder);
  const client = SeqpacketSocket.connect(join(folder, "s"));
  const peer = accept(listener);
  const count = 3000;
  let sent = 0;
  const sending = (async () => {
    const data = Buffer.alloc(1000);
    while (sent < count) {
      data.writeUInt32LE(sent);
      const dontWait = 0x40;
      if (sendCall(peer, data, data.length, dontWait) >= 0) sent++;
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
    closeFd(peer);
  })();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(sent < count, "the sender had to wait");
  let next = 0;
  for await (const packet of client.packets()) assert.equal(packet.readUInt32LE(), next++);
  await sending;
  assert.equal(next, count);
  closeFd(listener);
  rmSync(join(folder, "s"));
});

test("a path that is longer than the kernel takes is reached all the same", async () => {
  const deep = join(folder, "d".repeat(100), "e".repeat(100));
  mkdirSync(deep, { recursive: true });
  const listener = listen(deep);
  const before = readdirSync("/proc/self/fd").length;
  const client = SeqpacketSocket.connect(join(deep, "s"));
  const peer = accept(listener);
  sendCall(peer, Buffer.from("far"), 3, 0);
  closeFd(peer);
  for await (const packet of client.packets()) assert.equal(packet.toString(), "far");
  assert.equal(readdirSync("/proc/self/fd").length, before);
  closeFd(listener);
  assert.throws(() => SeqpacketSocket.connect(join(folder, "none")), { code: "not-found" });
});

test("readiness of a socket wakes what awaits it", async () => {
  const listener = listen(folder);
  const client = SeqpacketSocket.connect(join(folder, "s"));
  await new Promise<void>((resolve) => {
    const watch = watchReadable(listener, () => {
      watch.close();
      resolve();
    });
  });
  closeFd(accept(listener));
  client.close();
  closeFd(listener);
});
