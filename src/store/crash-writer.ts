// Run by sqlite.test.ts as a process of its own, to be killed: writes, and prints each acknowledgement.
import { writeSync } from "node:fs";
import { openSqliteStore } from "./sqlite.ts";

const [path, round] = process.argv.slice(2) as [string, string];
const store = openSqliteStore({ path });
async function writeFor(writer: number): Promise<never> {
  for (let n = 0; ; n++) {
    const durability = n % 5 === 4 ? "lazy" : "sync";
    const key = `/${round}/${writer}/${n}`;
    const { modRevision } = await store.create(key, Buffer.alloc(500, "x"), { durability });
    writeSync(1, `${durability} ${key} ${modRevision}\n`);
    if (durability === "lazy") await new Promise((resolve) => setImmediate(resolve));
  }
}
await Promise.all(Array.from({ length: 8 }, (_, writer) => writeFor(writer)));
