/** Loading and unpacking an image of many small files, and a save of it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Side, contest, noNumbers, rowOf } from "./contest.ts";
import { type Bench, atEnd, command, timed } from "./kit.ts";

const files = 50_000;
const bytesEach = 10_000;
const filesInFolder = 500;
const runs = 3;
const image = "gantry-bench/many-files:1";

/** A tar of `files` small files, 500 MB in all, that do not compress to nothing. */
async function makeTree(folder: string): Promise<string> {
  const content = Buffer.alloc(bytesEach);
  for (let at = 0; at < bytesEach; at++) content[at] = (at * 2654435761) >>> 13;
  for (let index = 0; index < files; index++) {
    const within = join(folder, "tree", String(Math.floor(index / filesInFolder)));
    if (index % filesInFolder === 0) mkdirSync(within, { recursive: true });
    content.writeUInt32LE(index, 0);
    writeFileSync(join(within, `file-${index}`), content);
  }
  const tar = join(folder, "tree.tar");
  await command(["tar", "-C", join(folder, "tree"), "-cf", tar, "."]);
  rmSync(join(folder, "tree"), { recursive: true });
  return tar;
}

export const bench: Bench = {
  name: "image-load",
  title: `Images: load of ${files / 1000},000 files, ${(files * bytesEach) / 1e6} MB`,
  run: () =>
    contest("load", async (sides) => {
      const folder = mkdtempSync(join(tmpdir(), "gantry-bench-image-"));
      const remove = atEnd(() => rmSync(folder, { recursive: true, force: true }));
      const tar = await makeTree(folder);
      const archive = join(folder, "image.tar");
      // Whoever makes it: all get the same bytes.
      const first = sides.find(({ name }) => name === "dockerd") ?? (sides[0] as Side);
      await first.docker("import", tar, image);
      await first.docker("save", "-o", archive, image);
      await first.docker("rmi", image);
      rmSync(tar);
      const loads = noNumbers();
      const starts = noNumbers();
      const saves = noNumbers();
      const removals = noNumbers();
      for (let run = 0; run < runs; run++) {
        for (const side of sides) {
          const saved = join(folder, "saved.tar");
          const seconds = async (work: () => Promise<unknown>): Promise<number> => (await timed(work)) / 1000;
          loads[side.name].push(await seconds(() => side.docker("load", "-i", archive)));
          starts[side.name].push(await seconds(() => side.docker("create", "--name", "bench-loaded", image, "true")));
          await side.docker("rm", "bench-loaded");
          saves[side.name].push(await seconds(() => side.docker("save", "-o", saved, image)));
          removals[side.name].push(await seconds(() => side.docker("rmi", image)));
          rmSync(saved);
        }
      }
      await remove();
      return {
        rows: [
          rowOf("`docker load`", "s", loads),
          rowOf("`docker create` from it, the first", "s", starts),
          rowOf("`docker save`", "s", saves),
          rowOf("`docker rmi`", "s", removals),
        ],
        notes: [
          "One layer. The pages of the archive are warm. The peers unpack while they load; whatever of the unpacking we leave for later is in the line of `docker create`.",
        ],
      };
    }),
};
