import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { createWebSocketStream, WebSocket } from "ws";
import { silentLogger } from "#base/log.ts";
import { servePortForward } from "./port-forward.ts";
import { proxyRequest, proxyUpgrade } from "./proxy.ts";
import { acceptRemoteCommand, remoteCommandOptions } from "./remote-command.ts";
import { HttpServer } from "./server.ts";
import { SpdySession } from "./spdy/session.ts";
import type { SpdyStream } from "./spdy/stream.ts";

/** Echoes stdin to stdout, resizes to stderr or stdout, and exits with the query's `code`. */
const node = new HttpServer({
  name: "node",
  log: silentLogger,
  handler: async (request, response) => {
    if (request.path === "/portforward") {
      await servePortForward(request, response, {
        log: silentLogger,
        connect: async (port) => {
          if (port !== 7) throw new Error(`nobody listens on ${port}`);
          const { Duplex } = await import("node:stream");
          return new Duplex({
            read: () => {},
            write(chunk: Buffer, _encoding, done) {
              this.push(chunk.toString().toUpperCase());
              done();
            },
            final(done) {
              this.push(null);
              done();
            },
          });
        },
      });
      return;
    }
    if (request.path !== "/exec") {
      response.send(200, { "X-Path": request.target }, `${request.method} ${(await request.readBody()).toString()}`);
      return;
    }
    const session = await acceptRemoteCommand(request, response, remoteCommandOptions(request.query));
    if (session.resize !== undefined) {
      for await (const size of session.resize) {
        await session.stdout?.(Buffer.from(`${size.width}x${size.height}`));
        break;
      }
    }
    if (session.stdin !== undefined) for await (const chunk of session.stdin) await session.stdout?.(chunk as Buffer);
    await session.stderr?.(Buffer.from("to stderr"));
    const code = request.query.get("code");
    await session.finish(code === "no" ? { error: "no such command" } : { exitCode: Number(code) });
  },
});
const front = new HttpServer({
  name: "front",
  log: silentLogger,
  handler: (request, response) => {
    const target = { host: "127.0.0.1", port: nodePort, target: request.target };
    return request.upgrade === undefined
      ? proxyRequest(request, response, target)
      : proxyUpgrade(request, response, target);
  },
});
let nodePort = 0;
let frontPort = 0;
before(async () => {
  nodePort = await node.listen({ host: "127.0.0.1", port: 0 });
  frontPort = await front.listen({ host: "127.0.0.1", port: 0 });
});
after(async () => {
  await front.stop(500);
  await node.stop(500);
});

interface Heard {
  channels: Map<number, string>;
  protocol: string;
}

function overWebSocket(
  port: number,
  path: string,
  protocol: string,
  talk: (socket: WebSocket) => void,
): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocol === "" ? [] : [protocol]);
    const channels = new Map<number, string>();
    socket.on("open", () => talk(socket));
    socket.on("message", (message: Buffer) => {
      const base64 = protocol.includes("base64");
      const channel = (message[0] as number) - (base64 ? 48 : 0);
      const text = base64
        ? Buffer.from(message.toString().slice(1), "base64").toString()
        : message.subarray(1).toString();
      channels.set(channel, (channels.get(channel) ?? "") + text);
    });
    socket.on("close", () => resolve({ channels, protocol: socket.protocol }));
    socket.on("error", reject);
  });
}

function channelMessage(channel: number, text: string): Buffer {
  return Buffer.concat([Buffer.from([channel]), Buffer.from(text)]);
}

const query = "/exec?stdin=true&stdout=true&stderr=1";

test("exec over WebSocket v5: streams, closing stdin, and the exit code, also through a proxy", async () => {
  for (const port of [nodePort, frontPort]) {
    const heard = await overWebSocket(port, `${query}&code=3`, "v5.channel.k8s.io", (socket) => {
      socket.send(channelMessage(0, "hello"));
      socket.send(Buffer.from([255, 0]));
    });
    assert.equal(heard.protocol, "v5.channel.k8s.io");
    assert.equal(heard.channels.get(1), "hello");
    assert.equal(heard.channels.get(2), "to stderr");
    assert.deepEqual(JSON.parse(heard.channels.get(3) ?? ""), {
      metadata: {},
      status: "Failure",
      message: "command terminated with non-zero exit code: exit status 3",
      reason: "NonZeroExitCode",
      details: { causes: [{ reason: "ExitCode", message: "3" }] },
    });
  }
});

test("success and failure to run are told on the error channel", async () => {
  const quiet = "/exec?stdout=true";
  const good = await overWebSocket(nodePort, `${quiet}&code=0`, "v4.channel.k8s.io", () => {});
  assert.deepEqual(JSON.parse(good.channels.get(3) ?? ""), { metadata: {}, status: "Success" });
  const bad = await overWebSocket(nodePort, `${quiet}&code=no`, "v5.channel.k8s.io", () => {});
  assert.match(bad.channels.get(3) ?? "", /no such command/);
});

test("base64 channels and terminal sizes", async () => {
  const heard = await overWebSocket(
    nodePort,
    "/exec?stdout=true&tty=true&code=0",
    "v4.base64.channel.k8s.io",
    (socket) => {
      socket.send(`4${Buffer.from('{"Width":80,"Hei').toString("base64")}`);
      socket.send(`4${Buffer.from('ght":24}').toString("base64")}`);
    },
  );
  assert.equal(heard.channels.get(1), "80x24");
});

test("unknown subprotocols, no streams and no upgrade are refused", async () => {
  await assert.rejects(
    overWebSocket(nodePort, `${query}&code=0`, "v9.channel.k8s.io", () => {}),
    /400/,
  );
  await assert.rejects(
    overWebSocket(nodePort, "/exec?code=0", "v5.channel.k8s.io", () => {}),
    /400/,
  );
  const answer = await fetch(`http://127.0.0.1:${nodePort}${query}`);
  assert.equal(answer.status, 400);
  assert.match(await answer.text(), /Upgrade request required/);
});

async function spdyUpgrade(
  port: number,
  path: string,
  protocols: string,
): Promise<{ session: SpdySession; head: string }> {
  const socket: Socket = connect({ host: "127.0.0.1", port });
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n${protocols}\r\n`,
  );
  let head = "";
  await new Promise<void>((resolve) => {
    const take = (): void => {
      for (let byte = socket.read(1) as Buffer | null; byte !== null; byte = socket.read(1) as Buffer | null) {
        head += byte.toString();
        if (head.endsWith("\r\n\r\n")) {
          socket.off("readable", take);
          resolve();
          return;
        }
      }
    };
    socket.on("readable", take);
  });
  return { session: new SpdySession(socket, { role: "client" }), head };
}

function read(stream: SpdyStream): Promise<string> {
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  return new Promise((resolve) => {
    stream.once("end", () => resolve(text));
    stream.once("close", () => resolve(text));
  });
}

test("exec over SPDY, straight and through a proxy", async () => {
  for (const port of [nodePort, frontPort]) {
    const protocols =
      "X-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
    const { session, head } = await spdyUpgrade(port, `${query}&code=4`, protocols);
    assert.match(head, /^HTTP\/1.1 101 /);
    assert.match(head, /x-stream-protocol-version: v4.channel.k8s.io/i);
    const open = (streamType: string): SpdyStream => session.open({ streamType });
    const [error, stdin, stdout, stderr] = ["error", "stdin", "stdout", "stderr"].map(open) as [
      SpdyStream,
      SpdyStream,
      SpdyStream,
      SpdyStream,
    ];
    stdin.end("over spdy");
    const [report, out, err] = await Promise.all([read(error), read(stdout), read(stderr)]);
    assert.equal(out, "over spdy");
    assert.equal(err, "to stderr");
    assert.equal((JSON.parse(report) as { reason: string }).reason, "NonZeroExitCode");
    await session.close();
  }
});

test("port-forward over SPDY: bytes both ways, and the error of a port nobody listens on", async () => {
  const { session } = await spdyUpgrade(frontPort, "/portforward", "X-Stream-Protocol-Version: portforward.k8s.io\r\n");
  const pair = (port: number, requestID: string): [SpdyStream, SpdyStream] => [
    session.open({ streamType: "error", port: String(port), requestID }),
    session.open({ streamType: "data", port: String(port), requestID }),
  ];
  const [goodError, goodData] = pair(7, "0");
  goodData.end("shout");
  assert.equal(await read(goodData), "SHOUT");
  assert.equal(await read(goodError), "");
  const [badError] = pair(8, "1");
  assert.equal(await read(badError), "nobody listens on 8");
  await session.close();
});

test("port-forward over SPDY inside a WebSocket", async () => {
  // The ws client refuses this protocol's name as well: it is written into the request behind its back.
  const protocol = "SPDY/3.1+portforward.k8s.io";
  const socket = new WebSocket(`ws://127.0.0.1:${frontPort}/portforward`, ["x"], {
    finishRequest: (request) => {
      request.setHeader("Sec-WebSocket-Protocol", protocol);
      request.end();
    },
  });
  let answered = "";
  socket.on("upgrade", (message) => {
    answered = message.headers["sec-websocket-protocol"] ?? "";
    message.headers["sec-websocket-protocol"] = "x";
  });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  assert.equal(answered, protocol);
  const session = new SpdySession(createWebSocketStream(socket), { role: "client" });
  const headers = { port: "7", requestID: "0" };
  session.open({ ...headers, streamType: "error" });
  const data = session.open({ ...headers, streamType: "data" });
  data.end("tunnel");
  assert.equal(await read(data), "TUNNEL");
  session.destroy();
});

test("port-forward over WebSocket channels", async () => {
  const heard = await overWebSocket(nodePort, "/portforward?ports=7", "v4.channel.k8s.io", (socket) => {
    socket.send(channelMessage(0, "channel"));
    setTimeout(() => socket.close(), 100);
  });
  assert.equal(heard.channels.get(0), "\u0007\u0000CHANNEL");
  assert.equal(heard.channels.get(1), "\u0007\u0000");
});

test("an ordinary request passes the proxy with its body, and a dead target is unavailable", async () => {
  const answer = await fetch(`http://127.0.0.1:${frontPort}/logs?x=1`, { method: "POST", body: "b" });
  assert.equal(answer.headers.get("x-path"), "/logs?x=1");
  assert.equal(await answer.text(), "POST b");
  const kept = nodePort;
  nodePort = 1;
  try {
    assert.equal((await fetch(`http://127.0.0.1:${frontPort}/logs`)).status, 503);
  } finally {
    nodePort = kept;
  }
});
