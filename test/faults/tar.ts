import { createHash } from "node:crypto";

export interface Entry {
  name: string;
  content?: string | Buffer;
  /** "2" symbolic link, "1" hard link, "5" folder; a file when absent. */
  type?: "0" | "1" | "2" | "5";
  linkname?: string;
}

/** A ustar archive, whatever its names say. */
export function tar(entries: Entry[]): Buffer {
  const parts: Buffer[] = [];
  for (const { name, content = "", type = "0", linkname = "" } of entries) {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(512);
    header.write(name, 0, 100);
    header.write("0000755\0", 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0", 136);
    header.write("        ", 148);
    header.write(type, 156);
    header.write(linkname, 157, 100);
    header.write("ustar\0" + "00", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    parts.push(header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  parts.push(Buffer.alloc(1024));
  return Buffer.concat(parts);
}

export const sha256 = (bytes: Buffer | string): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** An image of one layer, as `docker load` takes it. */
export function dockerArchive(layer: Buffer, tag: string, options: { diffId?: string; cut?: number } = {}): Buffer {
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["/bin/true"] },
    rootfs: { type: "layers", diff_ids: [options.diffId ?? sha256(layer)] },
  });
  const archive = tar([
    { name: "config.json", content: config },
    { name: "layer.tar", content: layer },
    {
      name: "manifest.json",
      content: JSON.stringify([{ Config: "config.json", RepoTags: [tag], Layers: ["layer.tar"] }]),
    },
  ]);
  return options.cut === undefined ? archive : archive.subarray(0, options.cut);
}
