/**
 * One frame of docker's multiplexed stream: the stream's number (1 stdout, 2 stderr), three zeros, the length
 * in four bytes, then the bytes.
 */
export function stdcopyFrame(stream: "stdout" | "stderr", data: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(8 + data.length);
  frame.writeUInt32BE(stream === "stdout" ? 0x01000000 : 0x02000000, 0);
  frame.writeUInt32BE(data.length, 4);
  frame.set(data, 8);
  return frame;
}

/** One piece of a log: a stream's bytes, after `prefix`, which is ASCII. */
export interface LogPiece {
  stream: "stdout" | "stderr";
  prefix: string;
  data: Uint8Array;
}

/** Many pieces in one buffer, each in a frame of its own, as docker writes each line: clients take frames for lines. */
export function joinPieces(pieces: readonly LogPiece[], framed: boolean): Buffer {
  const head = framed ? 8 : 0;
  let length = 0;
  for (const { prefix, data } of pieces) length += head + prefix.length + data.length;
  const out = Buffer.allocUnsafe(length);
  let at = 0;
  for (const { stream, prefix, data } of pieces) {
    if (framed) {
      out.writeUInt32BE(stream === "stdout" ? 0x01000000 : 0x02000000, at);
      out.writeUInt32BE(prefix.length + data.length, at + 4);
      at += 8;
    }
    if (prefix !== "") at += out.write(prefix, at, "latin1");
    out.set(data, at);
    at += data.length;
  }
  return out;
}
