/** Loading and unpacking an image of many small files, and a save of it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Side, contest, present } from "./contest.ts";
import { type Bench, atEnd, command, row, timed } from "./kit.ts";

const files = 50_000;
const bytesEach = 10_000;
const filesInFolder = 500;
const runs = 2;
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

async function load(side: Side, archive: string): Promise<void> {
  await side.docker("load", "-i", archive);
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
      const first = sides.theirs ?? sides.ours;
      await first.docker("import", tar, image);
      await first.docker("save", "-o", archive, image);
      await first.docker("rmi", image);
      rmSync(tar);
      const loads = { ours: [] as number[], theirs: [] as number[] };
      const starts = { ours: [] as number[], theirs: [] as number[] };
      const saves = { ours: [] as number[], theirs: [] as number[] };
      const removals = { ours: [] as number[], theirs: [] as number[] };
      for (let run = 0; run < runs; run++) {
        for (const name of present(sides)) {
          const side = sides[name] as Side;
          loads[name].push((await timed(() => load(side, archive))) / 1000);
          starts[name].push((await timed(() => side.docker("create", "--name", "bench-loaded", image, "true"))) / 1000);
          await side.docker("rm", "bench-loaded");
          saves[name].push((await timed(() => side.docker("save", "-o", join(folder, "saved.tar"), image))) / 1000);
          removals[name].push((await timed(() => side.docker("rmi", image))) / 1000);
        }
      }
      await remove();
      return {
        rows: [
          row("`docker load`", "s", loads.ours, { peer: loads.theirs }),
          row("`docker create` from it, the first", "s", starts.ours, { peer: starts.theirs }),
          row("`docker save`", "s", saves.ours, { peer: saves.theirs }),
          row("`docker rmi`", "s", removals.ours, { peer: removals.theirs }),
        ],
        notes: [
          "One layer. The pages of the archive are warm. dockerd unpacks while it loads; whatever of the unpacking we leave for later is in the line of `docker create`.",
        ],
      };
    }),
};
