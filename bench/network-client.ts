/** The client of `network.ts`: downloads from 127.0.0.1 at the port of its argument, prints one JSON line. */
import { connect } from "node:net";

const port = Number(process.argv[2]);
const connections = 2000;
const atOnce = 8;

/** Bytes that a GET on a connection of its own brings. */
function get(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write(`GET ${path} HTTP/1.0\r\n\r\n`));
    socket.on("data", (chunk) => (bytes += chunk.length));
    socket.once("end", () => resolve(bytes));
    socket.once("error", reject);
  });
}

let began = performance.now();
const bytes = await get("/big");
const megabytesPerSecond = bytes / 1e6 / ((performance.now() - began) / 1000);

let left = connections;
began = performance.now();
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    while (left-- > 0) if ((await get("/index.html")) === 0) throw new Error("An answer was empty.");
  }),
);
const requestsPerSecond = connections / ((performance.now() - began) / 1000);
process.stdout.write(JSON.stringify({ megabytesPerSecond, requestsPerSecond }));
