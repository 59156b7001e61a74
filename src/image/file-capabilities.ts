/** Where the kernel keeps a file's capabilities (linux/capability.h, vfs_cap_data). */
export const capabilityXattr = "security.capability";

const revisionMask = 0xff000000;
const revision2 = 0x02000000;
const revision3 = 0x03000000;
const length2 = 20;
const length3 = 24;

const hasRevision = (value: Buffer, revision: number, length: number): boolean =>
  value.length === length && (value.readUInt32LE(0) & revisionMask) >>> 0 === revision;

function revised(value: Buffer, revision: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  value.copy(out, 0, 0, length2);
  out.writeUInt32LE(((value.readUInt32LE(0) & ~revisionMask) | revision) >>> 0, 0);
  return out;
}

/** Capabilities that hold in the user namespace whose root is `rootId` outside, for a file of that namespace. */
export function withRootId(value: Buffer, rootId: number): Buffer {
  if (!hasRevision(value, revision2, length2)) return value;
  const out = revised(value, revision3, length3);
  out.writeUInt32LE(rootId, length2);
  return out;
}

/** The reverse: as an image has them, good for whoever runs it. Others' stay as they are. */
export function withoutRootId(value: Buffer, rootId: number): Buffer {
  if (!hasRevision(value, revision3, length3) || value.readUInt32LE(length2) !== rootId) return value;
  return revised(value, revision2, length2);
}
