import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { constants, deflateSync } from "node:zlib";
import fc from "fast-check";
import { headerDictionary } from "./dictionary.ts";
import {
  encodeDataHead,
  encodePing,
  encodeReset,
  encodeSynReply,
  encodeSynStream,
  encodeWindowUpdate,
  type Frame,
  FrameReader,
  SpdyProtocolError,
} from "./frames.ts";
import { HeaderBlockReader, HeaderBlockWriter } from "./header-block.ts";
import { SpdySession } from "./session.ts";
import type { SpdyStream } from "./stream.ts";

/** Two ends of one connection in memory. */
function connection(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  for (const other of [1, 0]) {
    ends.push(
      new Duplex({
        allowHalfOpen: true,
        read: () => {},
        write: (chunk: Buffer, _encoding, done) => {
          setImmediate(() => {
            const peer = ends[other] as Duplex;
            if (!peer.destroyed) peer.push(chunk);
            done();
          });
        },
        final: (done) => {
          ends[other]?.push(null);
          done();
        },
      }),
    );
  }
  return ends as [Duplex, Duplex];
}

async function read(stream: SpdyStream): Promise<string> {
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  await new Promise((resolve) => stream.once("end", resolve));
  return text;
}

function frames(...bytes: Buffer[]): Frame[] {
  const reader = new FrameReader();
  return bytes.flatMap((chunk) => [...reader.push(chunk)]);
}

test("the dictionary is the protocol's", () => {
  // The checksum that every SPDY/3 header stream names: 0xe3c6a7c2.
  const packed = deflateSync(Buffer.from("x"), { dictionary: headerDictionary });
  assert.equal(packed.subarray(2, 6).toString("hex"), "e3c6a7c2");
});

test("headers go through one zlib stream, whoever compressed them", async () => {
  const reader = new HeaderBlockReader();
  const writer = new HeaderBlockWriter();
  const big = "x".repeat(100_000);
  assert.deepEqual(await reader.read(writer.write({ StreamType: "stdin", empty: "" })), {
    streamtype: "stdin",
    empty: "",
  });
  assert.deepEqual(await reader.read(writer.write({ big })), { big });
  assert.deepEqual(await reader.read(writer.write({})), {});
  reader.close();
  const foreign = new HeaderBlockReader();
  const plain = Buffer.concat([
    Buffer.from([0, 0, 0, 1, 0, 0, 0, 4]),
    Buffer.from("host"),
    Buffer.from([0, 0, 0, 1]),
    Buffer.from("a"),
  ]);
  const packed = deflateSync(plain, { dictionary: headerDictionary, finishFlush: constants.Z_SYNC_FLUSH });
  assert.deepEqual(await foreign.read(packed), { host: "a" });
  foreign.close();
});

test("broken headers and headers that unpack without end are refused", async () => {
  await assert.rejects(new HeaderBlockReader().read(Buffer.from("not zlib at all")), SpdyProtocolError);
  const bomb = deflateSync(Buffer.alloc(50_000_000), { finishFlush: constants.Z_SYNC_FLUSH });
  await assert.rejects(new HeaderBlockReader().read(bomb), SpdyProtocolError);
});

test("frames are found however the bytes are cut", () => {
  const block = new HeaderBlockWriter().write({ a: "b" });
  const bytes = Buffer.concat([
    encodeSynStream(1, false, block),
    encodeDataHead(1, true, 5),
    Buffer.from("hello"),
    encodePing(1),
    encodeReset(3, 5),
    encodeWindowUpdate(0, 10),
    encodeSynReply(1, true, block),
  ]);
  const merge = (list: Frame[]): unknown[] => {
    const out: Frame[] = [];
    for (const frame of list) {
      const last = out.at(-1);
      if (frame.kind === "data" && last?.kind === "data" && !last.fin) {
        out[out.length - 1] = { ...frame, chunk: Buffer.concat([last.chunk, frame.chunk]) };
      } else out.push(frame);
    }
    return out;
  };
  const whole = merge(frames(bytes));
  assert.equal(whole.length, 6);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (cuts) => {
      const pieces: Buffer[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = cuts[turn % cuts.length] as number;
        pieces.push(bytes.subarray(at, at + size));
        at += size;
      }
      assert.deepEqual(merge(frames(...pieces)), whole);
    }),
  );
});

test("no bytes crash the frame reader, and none make it hold more than a control frame", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (pieces) => {
      try {
        frames(...pieces.map((piece) => Buffer.from(piece)));
      } catch (error) {
        assert.ok(error instanceof SpdyProtocolError);
      }
    }),
    { numRuns: 500 },
  );
  assert.throws(() => frames(Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff])), SpdyProtocolError);
});

test("no bytes crash a session: it ends, and its streams with it", async () => {
  const valid = encodeSynStream(1, false, new HeaderBlockWriter().write({ a: "b" }));
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (noise, afterValid) => {
      const [client, server] = connection();
      const session = new SpdySession(server, { role: "server", onStream: (stream) => stream.reply() });
      client.resume();
      if (afterValid) client.write(valid);
      client.end(Buffer.from(noise));
      await session.closed;
      assert.equal(session.streams, 0);
    }),
    { numRuns: 100 },
  );
});

test("streams carry bytes both ways and end each way by themselves", async () => {
  const [left, right] = connection();
  const server = new SpdySession(right, {
    role: "server",
    onStream: (stream) => {
      stream.reply();
      void read(stream).then((text) => stream.end(`${stream.headers["name"]}:${text}`));
    },
  });
  const client = new SpdySession(left, { role: "client" });
  const answers = await Promise.all(
    ["a", "b"].map((name) => {
      const stream = client.open({ Name: name });
      stream.write("one ");
      stream.end("two");
      return read(stream);
    }),
  );
  assert.deepEqual(answers, ["a:one two", "b:one two"]);
  await client.close();
  await server.closed;
});

test("a megabyte passes between two peers that keep windows", async () => {
  const [left, right] = connection();
  const received = Promise.withResolvers<number>();
  new SpdySession(right, {
    role: "server",
    onStream: (stream) => {
      stream.reply();
      void read(stream).then((text) => received.resolve(text.length));
    },
  });
  const client = new SpdySession(left, { role: "client" });
  const stream = client.open({});
  stream.end(Buffer.alloc(1024 * 1024, "x"));
  assert.equal(await received.promise, 1024 * 1024);
  await client.close();
});

test("a slow reader holds the connection back", async () => {
  const [left, right] = connection();
  let slow: SpdyStream | undefined;
  new SpdySession(right, {
    role: "server",
    onStream: (stream) => {
      slow = stream;
      stream.reply();
    },
  });
  const client = new SpdySession(left, { role: "client" });
  const stream = client.open({});
  for (let sent = 0; sent < 200; sent++) stream.write(Buffer.alloc(64 * 1024));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok((slow?.readableLength ?? 0) < 1024 * 1024, `held ${slow?.readableLength}`);
  stream.destroy();
  slow?.destroy();
  client.destroy();
  right.destroy();
});

test("a reset of the peer ends the stream here", async () => {
  const [left, right] = connection();
  const opened = Promise.withResolvers<SpdyStream>();
  new SpdySession(right, { role: "server", onStream: (stream) => opened.resolve(stream) });
  const client = new SpdySession(left, { role: "client" });
  const mine = client.open({});
  const theirs = await opened.promise;
  mine.destroy();
  await new Promise((resolve) => theirs.once("close", resolve));
  await client.close();
});
