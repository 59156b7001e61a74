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
