/** For the crash test: makes and removes images until it is killed, telling what was acknowledged. */
import { randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { commitImage, importImage } from "./image-import.ts";
import { ImageService } from "./image-service.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";

const service = new ImageService(process.argv[2] as string);
await service.start();
const tell = (line: string): void => void writeSync(1, `${line}\n`);
for (let n = 0; ; n++) {
  const name = `t${process.pid}-${n}`;
  const files = Array.from({ length: 20 }, (_, at) =>
    encodeEntry({ name: `d/f${at}`, type: "file" }, randomBytes(3000)),
  );
  const image = await importImage(
    service,
    (async function* () {
      yield Buffer.concat([...files, endOfArchive()]);
    })(),
    { tag: `docker.io/library/${name}:1` },
  );
  tell(`made ${image.id}`);
  await service.snapshots.prepare(name, image.chain);
  const top = await commitImage(service, { snapshotId: name, base: image, config: {}, createdBy: "x" });
  await service.snapshots.remove(name);
  tell(`made ${top.id}`);
  if (n % 2 === 0) {
    tell(`removing ${top.id}`);
    await service.images.remove(top.id);
    tell(`removing ${image.id}`);
    await service.images.remove(image.id);
  }
}
